"""Distances of tuned prompts, in digits."""

import numpy as np
import pytest

from maskgit_prompt.metrics import prompt_space


def test_distances_are_root_mean_squares():
    found = prompt_space.distances(np.float32([[0, 0], [3, 3], [0, 4]]))
    np.testing.assert_allclose(found, [[0, 3, 8**0.5], [3, 0, 5**0.5], [8**0.5, 5**0.5, 0]])


def test_the_nearest_is_another():
    apart = np.float64([[0, 2, 5], [2, 0, 4], [5, 4, 0]])
    assert prompt_space.nearest(apart).tolist() == [1, 0, 1]
    assert prompt_space.nearest(np.zeros((2, 2))).tolist() == [1, 0]


def test_neighbours_of_the_same_class_beside_chance():
    """On a line 0, 1, 10, 12, 14: those at 0 and 1 are neighbours, those at 10 and 12, and 12 is
    the nearest to 14."""
    apart = prompt_space.distances(np.float64([[0], [1], [10], [12], [14]]))
    share, chance = prompt_space.neighbours_of_class(apart, np.array([0, 0, 1, 1, 0]))
    assert share == pytest.approx(4 / 5)
    assert chance == pytest.approx((3 * 2 + 2 * 1) / (5 * 4))


@pytest.mark.parametrize("classes", [[0, 1, 2], [1, 1, 1]])
def test_nothing_to_say_of_lone_prompts_or_one_class(classes):
    assert prompt_space.neighbours_of_class(np.zeros((3, 3)), np.array(classes)) is None
