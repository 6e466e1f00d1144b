"""Which numbers answers are scored by, and which examples count as right."""

import numpy as np
import pytest

from maskgit_prompt.metrics import answered


def test_answers_are_worth_what_their_targets_are():
    found = answered.of_texts(
        "answers",
        ["yes", "two", "left"],
        [("no",), ("2", "3"), ("left",)],
        [(1.0,), (0.6, 1.0), (1,)],
    )
    assert found.right.tolist() == [0.0, 0.6, 1.0]
    assert found.values == {"accuracy": pytest.approx(1.6 / 3)}
    low, high = found.intervals["accuracy"]
    assert 0 < low < 1.6 / 3 < high < 1


def test_captions_lead_with_cider():
    known = [("a red star",), ("two blue circles", "a blue circle twice")]
    found = answered.of_texts("captions", ["a red star", "two blue circles"], known, [(1,), (1, 1)])
    assert list(found.values) == ["cider", "bleu4", "accuracy"] and not found.notes
    assert found.values["accuracy"] == 1.0
    worse = answered.of_texts("captions", ["a star", "blue"], known, [(1,), (1, 1)])
    assert worse.values["cider"] < found.values["cider"]
    assert set(found.intervals) == {"accuracy"}


def test_boxes_count_from_half():
    meant = np.array([(0, 0, 4, 2)] * 3, float)
    found = answered.of_boxes(np.array([(0, 0, 4, 2), (2, 0, 6, 2), (np.nan,) * 4]), meant)
    assert found.right.tolist() == [True, False, False]
    assert found.values == {"found": pytest.approx(1 / 3), "overlap": pytest.approx(4 / 9)}
