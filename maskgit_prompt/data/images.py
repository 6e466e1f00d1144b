"""What every source of images hands over: labels now, pixels when asked."""

import dataclasses
from collections.abc import Callable

import numpy as np


@dataclasses.dataclass(frozen=True)
class ImageSet:
    """A labelled set of n images of size S x S.

    Attributes:
      name: for messages and reports, e.g. "digits".
      classes: class names; label c is called classes[c].
      labels: [n] int32.
      ids: [n] a name for each image, for messages ("cat/017.png").
      fingerprint: hex digest of contents and preprocessing; two sets with the same
        fingerprint have the same pixels in the same order.
      read: indices [k] -> uint8 pixels [k, S, S, 3]. A pure function of the indices.
    """

    name: str
    classes: tuple[str, ...]
    labels: np.ndarray
    ids: tuple[str, ...]
    fingerprint: str
    read: Callable[[np.ndarray], np.ndarray]

    def __len__(self) -> int:
        return len(self.labels)

    def pixels(self) -> np.ndarray:
        """All images, uint8 [n, S, S, 3]; for sets that fit in memory."""
        return self.read(np.arange(len(self)))
