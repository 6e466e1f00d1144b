"""Which squares of a photograph are pictures: at many scales, beside each other."""

from collections.abc import Iterator

import numpy as np

PARTS = (1, 1.5, 2, 3, 4, 6, 8)  # a crop's side is the photograph's shorter side divided by these
LEAST = 64  # pixels a side; smaller crops would be blown up
HELD_OUT = 0.25  # side of the corner that is held out, of the shorter side


def _grid(width: int, height: int, side: int) -> Iterator[tuple[int, int]]:
    """Places of squares that cover a rectangle, as few as that takes: 100 x 60 by 50 -> columns
    0 and 50, rows 0 and 10."""
    along = lambda length: np.linspace(0, length - side, -(-length // side)).round().astype(int)
    for top in along(height):
        for left in along(width):
            yield int(left), int(top)


def squares(width: int, height: int) -> Iterator[tuple[int, int, int, bool]]:
    """Yields (left, top, side, held out) of all crops.

    The lower right corner is held out: its crops share no pixel with the others.
    """
    shorter = min(width, height)
    corner = max(LEAST, round(HELD_OUT * shorter))
    sides = [round(shorter / part) for part in PARTS]
    for side in (side for side in sides if side >= LEAST):
        for left, top in _grid(width, height, side):
            if left + side <= width - corner or top + side <= height - corner:
                yield left, top, side, False
    for side in (side for side in dict.fromkeys((corner, LEAST)) if side <= corner):
        for left, top in _grid(corner, corner, side):
            yield width - corner + left, height - corner + top, side, True
