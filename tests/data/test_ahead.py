"""Batches made ahead are those of their steps, whatever step is asked for first."""

import pytest

from maskgit_prompt.data import ahead
from maskgit_prompt.data.ahead import Ahead


def test_each_step_has_its_own_batch_and_each_is_made_once():
    made = []

    def make(step):
        made.append(step)
        return {"step": step}

    batches = Ahead(make, 9)
    assert [batches(step)["step"] for step in range(2, 9)] == [*range(2, 9)]
    assert made == [*range(2, 9)]  # from the step a run goes on at, to its last


def test_a_few_are_made_before_they_are_asked_for():
    made = []
    batches = Ahead(made.append)
    batches(0)
    batches._pool.shutdown()
    assert made == [*range(ahead.AHEAD)]


def test_an_error_is_raised_at_its_step():
    def make(step):
        if step == 1:
            raise ValueError("broken")
        return {"step": step}

    batches = Ahead(make, 3)
    assert batches(0)["step"] == 0
    with pytest.raises(ValueError, match="broken"):
        batches(1)
