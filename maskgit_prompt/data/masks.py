"""Images whose every pixel has a class."""

import dataclasses
import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from maskgit_prompt.counts import counted
from maskgit_prompt.data import batches

IGNORED = 255  # in a mask: a pixel that is neither learned nor counted
MOST = 255  # classes


@dataclasses.dataclass(frozen=True)
class MaskedImages:
    """n images of S x S pixels and their masks.

    Attributes:
      name: for messages and reports.
      classes: class c is called classes[c].
      ids: [n] a name for each image.
      digests: uint8 [n, 32], of each image and its mask, as they are read.
      read: rows [k] -> uint8 pixels [k, S, S, 3].
      masks: rows [k] -> uint8 classes [k, S, S], or IGNORED.
      colours: uint8 [C, 3], of the classes in pictures; None: any.
    """

    name: str
    classes: tuple[str, ...]
    ids: Sequence[str]
    digests: np.ndarray
    read: Callable[[np.ndarray], np.ndarray]
    masks: Callable[[np.ndarray], np.ndarray]
    colours: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)


@dataclasses.dataclass(frozen=True)
class MaskedSplits:
    """Images to tune on and held-out ones: rows of a set, none in both."""

    images: MaskedImages
    tune: np.ndarray
    test: np.ndarray

    def digest(self, rows: np.ndarray) -> str:
        """Sixteen hexadecimal digits of images and masks."""
        return hashlib.sha256(self.images.digests[rows].tobytes()).hexdigest()[:16]

    def summary(self) -> str:
        """What was found and what it is for, in a few lines."""
        images = self.images
        shown = ", ".join(images.classes[:10]) + ", …" * (len(images.classes) > 10)
        return (
            f"found {counted(len(images), 'image')} with masks in {images.name}\n"
            f"  {counted(len(images.classes), 'class')}: {shown}\n"
            f"  parts: {counted(len(self.tune), 'image')} to tune on, {len(self.test):,} held out"
        )


def split(images: MaskedImages, share: float, seed: int) -> MaskedSplits:
    """Holds out a share of the images, at least one, drawn at random; one is left to tune on."""
    count = len(images)
    order = batches.generator(seed, (batches.STREAM_SPLIT,)).permutation(count)
    held = min(max(1, round(share * count)), count - 1)
    return MaskedSplits(images, np.sort(order[held:]), np.sort(order[:held]))
