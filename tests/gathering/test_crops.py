"""Squares of photographs."""

import numpy as np
import pytest

from benchmarks.gathering import crops


def test_a_grid_covers_with_as_few_squares_as_that_takes():
    assert list(crops._grid(100, 60, 50)) == [(0, 0), (50, 0), (0, 10), (50, 10)]
    assert list(crops._grid(50, 50, 50)) == [(0, 0)]


@pytest.mark.parametrize("size", [(512, 512), (600, 400), (512, 230)])
def test_held_out_squares_share_no_pixel_with_others(size):
    width, height = size
    seen = {held_out: np.zeros((height, width), bool) for held_out in (False, True)}
    for left, top, side, held_out in crops.squares(width, height):
        assert left >= 0 and top >= 0 and left + side <= width and top + side <= height
        assert side >= 64
        seen[held_out][top : top + side, left : left + side] = True
    assert not (seen[False] & seen[True]).any()
    corner = max(64, min(size) // 4)
    assert seen[True].sum() == pytest.approx(corner**2, rel=0.02)
    assert seen[False].sum() > 0.8 * width * height


def test_scales_go_from_the_whole_to_an_eighth():
    found = [(side, held_out) for *_, side, held_out in crops.squares(768, 512)]
    assert sorted({side for side, held_out in found if not held_out}) == [
        *(64, 85, 128, 171, 256, 341, 512)
    ]
    assert sorted({side for side, held_out in found if held_out}) == [64, 128]
