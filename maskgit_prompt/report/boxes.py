"""Pictures with boxes drawn in."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

SIDE = 256  # smaller pictures are enlarged to about this many pixels
COLOURS = {"right": (34, 139, 74), "answered": (196, 30, 120)}  # told in captions


def picture(pixels: np.ndarray, boxes: Mapping[str, Sequence[float]] | None = None) -> Image.Image:
    """An image [S, S, 3] large enough to be seen, with boxes in pixels of it by COLOURS' names.

    A box that is not finite is left out.
    """
    side = len(pixels)
    factor = max(1, SIDE // side)
    image = Image.fromarray(pixels).resize((factor * side,) * 2, Image.Resampling.NEAREST)
    pen = ImageDraw.Draw(image)
    for name, box in (boxes or {}).items():
        if np.isfinite(box).all():
            left, top, right, bottom = (factor * edge for edge in box)
            corners = (left, top, max(left, right - 1), max(top, bottom - 1))
            pen.rectangle(corners, outline=COLOURS[name], width=3)
    return image
