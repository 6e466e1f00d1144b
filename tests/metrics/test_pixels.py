"""Diversity, on flat images whose distances are known."""

import numpy as np
import pytest

from maskgit_prompt.errors import UserError
from maskgit_prompt.metrics import diversity, pairwise


def flat(*values, size=4):
    """One image of each grey value: two of values a and b are |a - b| / 255 apart."""
    values = np.array(values, np.uint8)[:, None, None, None]
    return np.broadcast_to(values, (len(values), size, size, 3)).copy()


def test_pairwise_distance_by_hand(monkeypatch):
    assert diversity.pairwise_distance(flat(0, 51, 255)) == pytest.approx((0.2 + 1.0 + 0.8) / 3)
    monkeypatch.setattr(pairwise, "_BLOCK_ROWS", 2)
    assert diversity.pairwise_distance(flat(0, 51, 255)) == pytest.approx(2 / 3)
    assert diversity.pairwise_distance(flat(7, 7)) == 0


def test_distance_to_by_hand():
    assert diversity.distance_to(flat(0, 102), flat(51)[0]) == pytest.approx(0.2)
    # Pairs 0-0, 0-255, 51-0, 51-255: 0, 1, 0.2, 0.8.
    assert diversity.distance_to(flat(0, 51), flat(0, 255)) == pytest.approx(0.5)


def test_by_class_is_a_mean_over_classes():
    images, labels = flat(0, 51, 0, 255, 0, 77), [0, 0, 1, 1, 1, 2]
    # Class 0: 0.2. Class 1: pairs 1, 0, 1. Class 2 has one image and no pair.
    got = diversity.pairwise_distance_by_class(images, labels)
    assert got == pytest.approx((0.2 + 2 / 3) / 2)
    # Class 0: 0 and 0.2 from black; class 1: 1, 0, 1 from white; class 2: 0 from itself.
    got = diversity.distance_to_by_class(images, labels, flat(255, 0, 77), [1, 0, 2])
    assert got == pytest.approx((0.1 + 2 / 3 + 0) / 3)


def test_bad_images():
    with pytest.raises(UserError, match="1 given image: at least 2 are needed"):
        diversity.pairwise_distance(flat(0))
    with pytest.raises(UserError, match="images of 4x4 and of 8x8 pixels"):
        diversity.distance_to(flat(0), flat(0, size=8))
    with pytest.raises(UserError, match=r"labels of shape \(1,\) for 2 images"):
        diversity.pairwise_distance_by_class(flat(0, 1), [0])
    with pytest.raises(UserError, match="no class has two images"):
        diversity.pairwise_distance_by_class(flat(0, 1), [0, 1])
    with pytest.raises(UserError, match="class 5 has images but no reference"):
        diversity.distance_to_by_class(flat(0, 1), [0, 5], flat(0), [0])
