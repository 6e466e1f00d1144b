"""Points of many dimensions on a plane."""

import numpy as np
import pytest

from maskgit_prompt.metrics import planes


def test_principal_axes():
    x = np.float64([[0, 0, 0], [4, 0, 0], [0, 1, 0], [4, 1, 0]])
    found = planes.principal(x)
    np.testing.assert_allclose(found, [[-2, -0.5], [2, -0.5], [-2, 0.5], [2, 0.5]], atol=1e-9)
    np.testing.assert_allclose(planes.principal(-x), -found, atol=1e-9)
    np.testing.assert_allclose(planes.principal(x[:, :1])[:, 1], 0, atol=1e-9)
    assert planes.principal(x[:1]).tolist() == [[0, 0]]


def test_more_dimensions_than_points():
    line = np.zeros((3, 1000))
    line[:, 7] = [10, 11, 15]
    np.testing.assert_allclose(planes.principal(line)[:, 0], [-2, -1, 3], atol=1e-9)


def test_neighbours_stay_neighbours():
    """Two far groups, each in a place of its own whatever the scale; the same at every call."""
    groups = np.repeat([[0.0, 0.0, 0.0], [50.0, 0.0, 0.0]], 15, axis=0)
    points = groups + np.random.default_rng(0).normal(size=groups.shape)
    found = planes.neighbour_embedding(points, 3)
    for i, place in enumerate(found):
        apart = np.linalg.norm(found - place, axis=1)
        apart[i] = np.inf
        assert apart.argmin() // 15 == i // 15
    np.testing.assert_array_equal(planes.neighbour_embedding(points, 3), found)


@pytest.mark.parametrize("count", [1, 9])
def test_a_few_points_have_no_neighbourhoods(count):
    assert planes.neighbour_embedding(np.eye(count), 0) is None
