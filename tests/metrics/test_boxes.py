"""Overlap of boxes, in digits."""

import numpy as np
import pytest

from maskgit_prompt.errors import UserError
from maskgit_prompt.metrics.boxes import overlap, share_found

NAN = float("nan")


@pytest.mark.parametrize(
    ("found", "meant", "expected"),
    [
        ((0, 0, 4, 2), (2, 0, 6, 2), 1 / 3),
        ((0, 0, 4, 2), (0, 0, 4, 2), 1),
        ((0, 0, 4, 4), (1, 1, 3, 3), 1 / 4),
        ((0, 0, 4, 2), (4, 0, 6, 2), 0),  # they touch
        ((0, 0, 2, 2), (5, 5, 6, 6), 0),
        ((4, 2, 0, 0), (0, 0, 4, 2), 0),  # corners exchanged
        ((1, 1, 1, 1), (1, 1, 1, 1), 0),
        ((NAN, NAN, NAN, NAN), (0, 0, 4, 2), 0),
        ((0, 0, 2, 4), (0, 0, 4, 2), 1 / 3),  # tall against wide
    ],
)
def test_overlap_by_hand(found, meant, expected):
    assert overlap([found], [meant])[0] == pytest.approx(expected)
    assert overlap([meant], [found])[0] == pytest.approx(expected)


def test_exactly_half_is_found():
    found, meant = [(0, 0, 2, 1), (0, 0, 4, 2)], [(0, 0, 4, 1), (2, 0, 6, 2)]
    np.testing.assert_allclose(overlap(found, meant), [1 / 2, 1 / 3])
    assert share_found(found, meant) == 0.5
    assert share_found(found, meant, enough=0.3) == 1


def test_what_cannot_be_judged():
    with pytest.raises(UserError, match=r"shapes \(1, 4\) and \(2, 4\): expected \[n, 4\] of both"):
        overlap([(0, 0, 1, 1)], [(0, 0, 1, 1)] * 2)
    with pytest.raises(UserError, match="no boxes to judge"):
        share_found(np.zeros((0, 4)), np.zeros((0, 4)))
