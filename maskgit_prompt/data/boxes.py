"""Boxes of images as bins: four numbers of a vocabulary in place of coordinates.

A box is (left, top, right, bottom) in pixels of the image's file. The image is resized straight to
side x side pixels, and a coordinate there is round(coordinate / 512 · 999): 512 stays whatever the
side is. In an image of 640 x 480 the box (64, 48, 480, 240) is

    resized to 512      51.2   51.2   384    256       bins   100  100  749  500
    resized to 256      25.6   25.6   192    128       bins    50   50  375  250

Source: OFA's data/mm_data/refcoco_dataset.py (rounding to even as numpy and PyTorch do).
"""

import re

import numpy as np
from numpy.typing import ArrayLike

from maskgit_prompt.data.examples import Examples
from maskgit_prompt.data.names import legible
from maskgit_prompt.errors import UsageError, UserError

FRAME, BINS = 512, 1000
_SLACK = 1.0  # pixels that annotations may reach beyond their image; they are cut off
_NUMBER = r"\s*([-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)\s*"
_BOX = re.compile(",".join([_NUMBER] * 4))
_MARKS = re.compile(r"\s*".join([""] + [r"<bin_(\d+)>"] * 4 + [""]))


def of_examples(examples: Examples) -> np.ndarray:
    """The boxes [n, 4] of examples whose only target is one, written "left,top,right,bottom".

    Raises:
      UserError: another target, or a box that does not lie in its image; with the row.
    """
    boxes = np.empty((len(examples), 4))
    for i, (row, targets) in enumerate(zip(examples.rows, examples.targets, strict=True)):
        width, height = examples.sizes[i]
        match = _BOX.fullmatch(targets[0]) if len(targets) == 1 else None
        if not match:
            raise UserError(
                f"{row}: {legible(' and '.join(targets))[:80]!r} is not a box: expected "
                '"left,top,right,bottom" in pixels'
            )
        size = np.array([width, height, width, height])
        box = np.array([float(number) for number in match.groups()])
        if (box < -_SLACK).any() or (box > size + _SLACK).any():
            raise UserError(
                f"{row}: the box {legible(targets[0])} is outside the image of {width} x {height} "
                "pixels: expected coordinates of the image's file; correct or remove the line"
            )
        boxes[i] = left, top, right, bottom = np.clip(box, 0, size)
        if left >= right or top >= bottom:
            raise UserError(
                f"{row}: the box {legible(targets[0])} is empty: expected left < right and "
                "top < bottom, not a corner with width and height"
            )
    return boxes


def to_bins(
    boxes: ArrayLike, sizes: ArrayLike, side: int, bins: int = BINS, frame: int = FRAME
) -> np.ndarray:
    """Bins int [n, 4] of boxes [n, 4] in images of sizes [n, 2] (width, height).

    Raises:
      UsageError: images are resized to more than the frame, for which there are no bins.
    """
    factor, sizes = _factor(side, bins, frame), np.tile(np.asarray(sizes), 2)
    # In this order halves stay halves, which are rounded to even.
    return np.round(np.asarray(boxes) * side / sizes * factor).astype(np.int64)


def from_bins(
    found: ArrayLike, sizes: ArrayLike, side: int, bins: int = BINS, frame: int = FRAME
) -> np.ndarray:
    """Boxes [n, 4] in pixels of the images' files, of bins [n, 4]."""
    factor, sizes = _factor(side, bins, frame), np.tile(np.asarray(sizes), 2)
    return np.asarray(found) / factor / side * sizes


def _factor(side: int, bins: int, frame: int) -> float:
    """Bins per pixel of the resized image."""
    if side > frame:
        raise UsageError(
            f"images of {side} pixels: bins reach to {frame} pixels only; resize images to {frame} "
            "or less"
        )
    return (bins - 1) / frame


def to_text(bins: ArrayLike) -> str:
    """(1, 2, 3, 4) is "<bin_1> <bin_2> <bin_3> <bin_4>"."""
    return " ".join(f"<bin_{bin_}>" for bin_ in bins)


def from_text(text: str) -> tuple[int, ...] | None:
    """The four bins of a text; None: it is anything else."""
    match = _MARKS.fullmatch(text)
    return match and tuple(map(int, match.groups()))
