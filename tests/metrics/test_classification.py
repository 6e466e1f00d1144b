"""How right a classifier is, by hand."""

import numpy as np
import pytest

from maskgit_prompt.metrics.classification import confused, judge

# Answers 0, 0, 1, 2, 1 for classes 0, 1, 1, 1, 2.
LOGITS = np.float64([[2, 0, 0], [9, 0, 0], [0, 3, 0], [0, 0, 1], [0, 4, 0]])
LABELS = np.array([0, 1, 1, 1, 2])


def test_shares_and_confusion():
    found = judge(LOGITS, LABELS)
    assert found.accuracy == 2 / 5
    assert found.by_class == pytest.approx((1 + 1 / 3 + 0) / 3)
    assert found.confusion.tolist() == [[1, 0, 0], [1, 1, 1], [0, 1, 0]]
    assert found.top5 is None
    low, high = found.interval
    assert 0.1 < low < 0.4 < high < 0.8


def test_the_surest_wrong_answers_come_first():
    found = judge(LOGITS, LABELS)
    assert found.surest_wrong.tolist() == [1, 4, 3]
    assert found.confidence[3] == pytest.approx(np.e / (np.e + 2))


def test_the_class_among_five():
    logits = np.zeros((2, 7))
    logits[:, :5] = [5, 4, 3, 2, 1]
    assert judge(logits, np.array([4, 6])).top5 == 0.5


def test_the_most_frequent_confusions():
    confusion = np.array([[5, 2, 0], [7, 1, 0], [0, 2, 9]])
    assert confused(confusion) == [(1, 0, 7), (0, 1, 2), (2, 1, 2)]
    assert confused(confusion, most=1) == [(1, 0, 7)]
