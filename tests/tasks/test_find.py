"""Tasks are found by their names."""

import pytest

from maskgit_prompt import tasks
from maskgit_prompt.errors import UsageError
from maskgit_prompt.tasks.generation import plan, transfer


def test_the_generation_task():
    found = tasks.find("generation")
    assert (found.make_plan, found.claim) == (plan.make_plan, plan.claim)
    assert found.PARTS == ("tokenizer", "transformer")
    assert found.carry_out is transfer.carry_out


@pytest.mark.parametrize("name", ["losses", "dream", ""])
def test_a_name_that_is_not_a_task(name):
    with pytest.raises(UsageError, match=f"config.task = '{name}', expected generation"):
        tasks.find(name)
