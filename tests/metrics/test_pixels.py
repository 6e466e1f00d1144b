"""Nearest training images, near-copies and diversity, on flat images whose distances are known."""

import numpy as np
import pytest

from maskgit_prompt.errors import UsageError, UserError
from maskgit_prompt.metrics import diversity, neighbors, pairwise


def flat(*values, size=4):
    """One image of each grey value: two of values a and b are |a - b| / 255 apart."""
    values = np.array(values, np.uint8)[:, None, None, None]
    return np.broadcast_to(values, (len(values), size, size, 3)).copy()


def test_nearest_by_hand():
    distance, index = neighbors.nearest(flat(0, 51, 255), flat(255, 0, 102))
    np.testing.assert_allclose(distance, [0.0, 0.2, 0.0])
    np.testing.assert_array_equal(index, [1, 1, 0])


def test_nearest_of_one_differing_pixel():
    image = flat(0)
    image[0, 0, 0, 0] = 255
    distance, _ = neighbors.nearest(image, flat(0))
    np.testing.assert_allclose(distance, [np.sqrt(1 / 48)])


def test_nearest_across_blocks_keeps_the_first_of_equals(monkeypatch):
    monkeypatch.setattr(pairwise, "_BLOCK_ROWS", 2)
    distance, index = neighbors.nearest(flat(9, 60, 200), flat(1, 200, 9, 9, 200, 61))
    np.testing.assert_allclose(distance, [0, 1 / 255, 0])
    np.testing.assert_array_equal(index, [2, 5, 1])


def test_near_copies_by_hand():
    # Distances over 255: held-out 10, 20, 30 (median 20); generated 0, 15, 30, 40 (median 22.5).
    found = neighbors.near_copies(
        flat(100, 115, 130, 140), flat(100), flat(110, 120, 130), quantile=0.5
    )
    assert found == {
        "fraction": 0.5,
        "count": 2,
        "threshold": pytest.approx(20 / 255),
        "quantile": 0.5,
        "median_distance": pytest.approx(22.5 / 255),
        "median_distance_heldout": pytest.approx(20 / 255),
    }


def test_an_exact_copy_counts_even_at_threshold_zero():
    found = neighbors.near_copies(flat(100, 101), flat(100), flat(100, 100), quantile=0.5)
    assert (found["threshold"], found["count"]) == (0.0, 1)


def test_near_copies_is_calibrated():
    """Unseen images of the same kind score about the quantile; copies score 1."""
    noise = np.random.default_rng(0)
    images = noise.integers(0, 256, (4050, 4, 4, 3), np.uint8)
    training, test, unseen = np.split(images, [50, 2050])
    assert neighbors.near_copies(unseen, training, test, 0.1)["fraction"] == pytest.approx(
        0.1, abs=0.03
    )
    assert neighbors.near_copies(training, training, test, 0.1)["fraction"] == 1


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
    with pytest.raises(UserError, match=r"given images are float64 \[1, 4, 4, 3\]: expected uint8"):
        neighbors.nearest(flat(0) / 255.0, flat(0))
    with pytest.raises(UserError, match="0 training images: at least 1 are needed"):
        neighbors.nearest(flat(0), flat())
    with pytest.raises(UserError, match="images of 4x4 and of 8x8 pixels: expected one size"):
        neighbors.nearest(flat(0), flat(0, size=8))
    with pytest.raises(UsageError, match="quantile 1.5: expected a share between 0 and 1"):
        neighbors.near_copies(flat(0), flat(0), flat(0), quantile=1.5)
    with pytest.raises(UserError, match="1 given images: at least 2 are needed"):
        diversity.pairwise_distance(flat(0))
    with pytest.raises(UserError, match="images of 4x4 and of 8x8 pixels"):
        diversity.distance_to(flat(0), flat(0, size=8))
    with pytest.raises(UserError, match=r"labels of shape \(1,\) for 2 images"):
        diversity.pairwise_distance_by_class(flat(0, 1), [0])
    with pytest.raises(UserError, match="no class has two images"):
        diversity.pairwise_distance_by_class(flat(0, 1), [0, 1])
    with pytest.raises(UserError, match="class 5 has images but no reference"):
        diversity.distance_to_by_class(flat(0, 1), [0, 5], flat(0), [0])
