"""Augmented views of an image, stored as further codes of it."""

import dataclasses

import numpy as np
from PIL import Image

from maskgit_prompt.errors import UsageError


@dataclasses.dataclass(frozen=True)
class RandomCropFlip:
    """A view: a random square out of the image, back to full size, mirrored half of the time.

    With max_crop 0.125 and 32 pixels the square has a side of 28, 29, 30, 31 or 32.
    Its repr, settings and all, is part of the codes file's key.
    """

    max_crop: float
    flip: bool

    def __call__(self, pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """uint8 [S, S, 3] -> uint8 [S, S, 3]."""
        size = pixels.shape[0]
        side = size - int(rng.integers(round(self.max_crop * size) + 1))
        left, top = (int(offset) for offset in rng.integers(size - side + 1, size=2))
        if side < size:
            square = Image.fromarray(pixels[top : top + side, left : left + side])
            pixels = np.asarray(square.resize((size, size), Image.Resampling.BICUBIC))
        if self.flip and rng.integers(2):
            pixels = pixels[:, ::-1]
        return pixels


def random_crop_flip(max_crop: float = 0.125, flip: bool = True) -> RandomCropFlip:
    """The view function that cuts off at most `max_crop` of the side and may mirror.

    Raises:
      UsageError: max_crop outside 0 <= max_crop < 1.
    """
    if not 0 <= max_crop < 1:
        raise UsageError(f"max_crop {max_crop}: expected a share of the side, 0 <= max_crop < 1")
    return RandomCropFlip(max_crop, flip)
