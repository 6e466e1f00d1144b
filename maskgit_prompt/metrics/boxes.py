"""How well boxes (left, top, right, bottom) meet those that were meant."""

import numpy as np
from numpy.typing import ArrayLike

from maskgit_prompt.errors import UserError

ENOUGH = 0.5


def overlap(found: ArrayLike, meant: ArrayLike) -> np.ndarray:
    """Intersection over union [n] of boxes [n, 4] and [n, 4].

    (0, 0, 4, 2) and (2, 0, 6, 2) share 2 x 2 of 12: 1/3. A box without an area, or that is NaN for
    want of an answer, meets nothing.
    """
    found, meant = np.asarray(found, np.float64), np.asarray(meant, np.float64)
    if found.shape != meant.shape or found.ndim != 2 or found.shape[1] != 4:
        raise UserError(
            f"boxes of shapes {found.shape} and {meant.shape}: expected [n, 4] of both kinds"
        )
    low, high = np.maximum(found[:, :2], meant[:, :2]), np.minimum(found[:, 2:], meant[:, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=1)
    area = lambda box: np.prod(np.clip(box[:, 2:] - box[:, :2], 0, None), axis=1)
    union = area(found) + area(meant) - shared
    return np.where(shared > 0, shared / np.where(union > 0, union, 1), 0.0)


def share_found(found: ArrayLike, meant: ArrayLike, enough: float = ENOUGH) -> float:
    """The share of boxes that overlap by at least `enough`: RefCOCO's accuracy.

    Raises:
      UserError: no boxes, or other shapes than [n, 4].
    """
    overlaps = overlap(found, meant)
    if not len(overlaps):
        raise UserError("no boxes to judge: expected at least one")
    return float(np.mean(overlaps >= enough))
