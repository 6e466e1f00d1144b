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


def test_the_classification_task():
    found = tasks.find("classification")
    assert found.PARTS == ("encoder",)
    assert found.make_plan.__module__ == "maskgit_prompt.tasks.classification.plan"


@pytest.mark.parametrize("name", ["losses", "dream", ""])
def test_a_name_that_is_not_a_task(name):
    expected = f"config.task = '{name}', expected classification, generation"
    with pytest.raises(UsageError, match=expected):
        tasks.find(name)
