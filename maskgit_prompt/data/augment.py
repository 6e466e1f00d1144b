"""Augmented views of an image, stored as further codes of it."""

import dataclasses
from collections.abc import Callable

import numpy as np
from PIL import Image

from maskgit_prompt.errors import UsageError

ViewFn = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Views:
    """What is stored of each image: view 0 is the image itself, views 1, 2, … are made of it.

    Attributes:
      count: of views, the image itself among them.
      view_fn: (pixels [S, S, 3], generator) -> pixels [S, S, 3], makes views 1, 2, …; a pure
        function of the two, whose repr tells all its settings: `random_crop_flip`.
      seed: a view depends on (seed, index, view) only.

    Raises:
      UsageError: a count below 1, or above 1 without a view_fn that can stand in a key.
    """

    count: int = 1
    view_fn: ViewFn | None = None
    seed: int = 0

    def __post_init__(self):
        if self.count < 1:
            raise UsageError(f"views {self.count}: expected at least 1")
        if self.count > 1 and self.view_fn is None:
            raise UsageError(
                f"views {self.count} without view_fn: give one, such as random_crop_flip(), or 1"
            )
        if self.count > 1 and " at 0x" in repr(self.view_fn):
            raise UsageError(
                f"view_fn {self.view_fn!r} does not tell its settings: pass a dataclass with"
                " __call__, such as random_crop_flip(), whose repr can stand in the key"
            )

    @property
    def key(self) -> list:
        """What codes of these views depend on, as JSON."""
        return [self.count, repr(self.view_fn), self.seed] if self.count > 1 else [1]


PLAIN = Views()  # the image itself and nothing else


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
