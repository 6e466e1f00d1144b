"""Intersections over unions, by hand."""

import numpy as np
import pytest

from maskgit_prompt.metrics.segmentation import counts, judge


def test_a_pixel_counts_for_its_class_and_its_answer():
    masks = np.uint8([[[0, 0], [1, 255]]])
    answers = np.uint8([[[0, 1], [1, 1]]])
    assert counts(masks, answers, 2, 255).tolist() == [[1, 1], [0, 1]]


def test_shares_of_two_batches():
    # Class 0: 3 right of 4; class 1: 1 right, 2 taken for class 3; class 2 is nowhere.
    first = np.array([[3, 1, 0, 0], [0, 0, 0, 2], [0, 0, 0, 0], [0, 0, 0, 0]])
    second = np.array([[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    found = judge([first, second])
    assert found.accuracy == 4 / 7
    assert found.iou == (3 / 4, 1 / 4, None, 0.0)
    assert found.mean_iou == pytest.approx((3 / 4 + 1 / 4 + 0) / 3)
