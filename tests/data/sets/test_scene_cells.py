"""Which thing each cell of a scene's picture shows."""

import numpy as np

from maskgit_prompt.data.sets.scene_cells import ATTRIBUTES, cells_of
from maskgit_prompt.data.sets.scenes import Scene, Thing


def named(names: np.ndarray) -> tuple[str, ...]:
    return tuple(known[i - 1] if i else "" for known, i in zip(ATTRIBUTES, names, strict=True))


def test_a_cell_shows_what_covers_most_of_it():
    # Cells of 16 pixels. The star covers 16 x 12 of the cell in the first row and third column, and
    # 6 x 12 of its right neighbour; the circle 10 x 8 of that neighbour, and all below it is of
    # neither.
    star = Thing("small", "red", "star", (32, 2, 54, 14))
    circle = Thing("big", "blue", "circle", (54, 8, 64, 28))
    names, edges = cells_of(Scene((star, circle)), 4)
    shown = {
        (row, column): named(names[row, column])
        for row, column in np.argwhere(names[..., 0]).tolist()
    }
    assert shown == {
        (0, 2): ("small", "red", "star"),
        (0, 3): ("big", "blue", "circle"),
        (1, 3): ("big", "blue", "circle"),
    }
    np.testing.assert_allclose(edges[0, 2], np.array([32, 2, 54, 14]) / 64)
    np.testing.assert_allclose(edges[1, 3], np.array([54, 8, 64, 28]) / 64)
    assert not edges[2:].any() and not edges[:, :2].any()


def test_less_than_a_fifth_of_a_cell_is_not_what_it_shows():
    wide = 6.5  # 6.5 x 8 of 256 pixels; 51.2 are a fifth
    for width, found in ((wide, True), (wide - 0.2, False)):
        thing = Thing("small", "red", "star", (0, 0, width, 8))
        assert cells_of(Scene((thing,)), 4)[0].any() == found


def test_shares_are_the_same_at_every_size_of_the_picture():
    thing = Thing("big", "white", "cross", (8, 20, 30, 44))
    double = Thing("big", "white", "cross", (16, 40, 60, 88))
    for one, other in zip(
        cells_of(Scene((thing,)), 4), cells_of(Scene((double,), 128), 4), strict=True
    ):
        np.testing.assert_array_equal(one, other)
