"""Warnings of images whose white looks wrong, and of a full scale that none of them takes."""

from collections.abc import Sequence

import numpy as np
from absl import logging

from maskgit_prompt.counts import counted, share
from maskgit_prompt.data import depth
from maskgit_prompt.data.names import legible
from maskgit_prompt.data.pixels import Preprocessing

_NAMED = 10  # files a warning names
_HALVED = "16 bits in colour or with transparency, of which the upper 8 are read"


def warn(path: str, names: Sequence[str], rows: np.ndarray, preprocessing: Preprocessing) -> None:
    """Warns of nearly black and of nearly white images, as a wrong full scale makes them.

    Args:
      rows: [n] of what `scan` found, for the files `names`.
      preprocessing: with the folder's own scale.
    """
    dark, bright = rows["dark"].copy(), rows["bright"].copy()
    if scale := preprocessing.unstated_scale:  # the scan had another for each image
        unstated = ~np.isnan(rows["range"][:, 0])
        dark[unstated] = rows["range"][unstated, 0] / scale * 255 < depth.DARK
        bright[unstated] = rows["low"][unstated] / scale * 255 > 255 - depth.DARK
    ways_out = []
    if (dark & rows["scalable"]).any():
        ways_out.append(
            "if they should not be, give the value that is white, as "
            "--config.data.full_scale=4095 for 12 bits"
        )
    if halved := int((dark & rows["halved"]).sum()):
        ways_out.append(f"{halved:,} with {_HALVED}: scale their values up to 65535")
    _tell("black", path, names, dark, ways_out)
    ways_out = []
    scale = preprocessing.full_scale or preprocessing.unstated_scale
    if scale and (bright & rows["scalable"]).any():
        ways_out.append(
            f"if they should not be, {scale:g} is too low for white: give a higher "
            "--config.data.full_scale"
        )
    _tell("white", path, names, bright, ways_out)


def _tell(
    what: str, path: str, names: Sequence[str], which: np.ndarray, ways_out: Sequence[str]
) -> None:
    if not which.any():
        return
    first = [legible(names[row]) for row in np.flatnonzero(which)[:_NAMED]]
    more = ", ..." * int(which.sum() > len(first))
    few = share(int(which.sum()), len(names), "image")
    shown = f"nearly {what}: {few} in {legible(path)} ({', '.join(first)}{more})"
    logging.warning("%s", "; ".join([shown, *ways_out]))


def warn_unused(path: str, rows: np.ndarray, full_scale: float) -> None:
    """Warns where a full scale is given and no image of the folder takes it."""
    if not full_scale or rows["scalable"].any():
        return
    why = ["it is for greyscale of more than 8 bits in PNG and TIFF"]
    if halved := int(rows["halved"].sum()):
        why.append(f"images with {_HALVED}: {halved:,}; scale their values up to 65535")
    if stated := int(rows["deep"].sum()):
        why.append(f"PGM and JPEG 2000, which state their own white: {stated:,}")
    logging.warning(
        "config.data.full_scale = %g changes nothing in %s (%s): %s",
        full_scale,
        legible(path),
        counted(len(rows), "image"),
        "; ".join(why),
    )
