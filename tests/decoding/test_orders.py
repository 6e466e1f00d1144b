"""Unmasking orders: the docstring's digits, permutations, and even spread."""

import jax
import numpy as np
import pytest

from maskgit_prompt.decoding import orders


def test_halton_by_hand():
    np.testing.assert_array_equal(orders.halton(2, 3), [4, 2, 3, 1, 5, 0])
    np.testing.assert_array_equal(orders.places(orders.halton(2, 3)), [5, 3, 1, 2, 0, 4])


@pytest.mark.parametrize("grid", [(1, 1), (1, 7), (5, 1), (8, 8), (16, 16), (9, 27), (32, 32)])
def test_halton_visits_every_position_once(grid):
    order = orders.halton(*grid)
    assert order.dtype == np.int32
    np.testing.assert_array_equal(np.sort(order), np.arange(grid[0] * grid[1]))


def test_halton_spreads_over_the_picture():
    # Every quarter of the picture gets 4 of the first 16 of 256 visits, give or take one.
    row, column = np.divmod(orders.halton(16, 16)[:16], 16)
    quarters = np.bincount(2 * (row // 8) + column // 8, minlength=4)
    assert quarters.min() >= 3 and quarters.max() <= 5


def test_rolled_is_the_same_circle_begun_elsewhere():
    order = orders.halton(4, 4)
    found = np.asarray(orders.rolled(jax.random.key(0), order, 8))
    assert found.shape == (8, 16)
    for row in found:
        np.testing.assert_array_equal(row, np.roll(order, -list(order).index(row[0])))
    assert len({row[0] for row in found}) > 1


def test_random_differs_by_image_and_key():
    one, two = (np.asarray(orders.random(jax.random.key(k), 3, 20)) for k in (0, 1))
    np.testing.assert_array_equal(np.sort(one), np.tile(np.arange(20), (3, 1)))
    assert (one[0] != one[1]).any() and (one != two).any()
    np.testing.assert_array_equal(one, orders.random(jax.random.key(0), 3, 20))
    places = np.asarray(orders.places(one))
    np.testing.assert_array_equal(np.take_along_axis(places, one, 1)[0], np.arange(20))
