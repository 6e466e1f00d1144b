"""Configs of earlier versions under today's names."""

from maskgit_prompt.renamed import as_today


def test_names_of_today_and_what_was_added_since():
    found = as_today({"source": "mini", "job": "transfer", "seed": 7}, {"backbone", "task", "seed"})
    assert found == {"task": "generation", "backbone": "mini", "job": "run", "seed": 7}


def test_what_is_there_stays():
    """A key that is still known keeps its name, and a value is not replaced by an added one."""
    found = as_today({"source": "a.npz", "task": "classification", "job": "x"}, {"source", "task"})
    assert found == {"source": "a.npz", "task": "classification", "job": "x"}
