"""What every source of images hands over: labels now, pixels when asked."""

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import os
import threading
from collections.abc import Callable, Sequence

import numpy as np

from maskgit_prompt.counts import counted
from maskgit_prompt.data.found import Found, of_classes
from maskgit_prompt.data.pixels import BROKEN, reason
from maskgit_prompt.errors import UserError

_CHUNK = 32  # images a thread takes at a time

# Threads that decode images of so few bytes spend more time on handing the interpreter lock to
# each other, several times an image, than they win: they take turns instead, a chunk each. Two
# threads decode PNGs of 2 kB at half the speed of one; from about 5 kB on turns win nothing.
# Resizing large results needs no lock, and is most of their work.
SMALL, SMALL_SIDE = 2**12, 64
one_at_a_time = threading.Lock()


@dataclasses.dataclass(frozen=True)
class ImageSet:
    """A labelled set of n images of size S x S, with C = 3 channels, or 4 if alpha is kept.

    Attributes:
      name: for messages and reports, e.g. "digits".
      classes: class names; label c is called classes[c].
      labels: [n] int32.
      ids: [n] a name for each image, for messages ("cat/017.png").
      fingerprint: hex digest of contents and preprocessing, not of labels; two sets with the same
        fingerprint have the same pixels in the same order.
      read: indices [k] -> uint8 pixels [k, S, S, C]. A pure function of the indices.
      recipe: how pixels are made of contents, where `digests` are given.
      digests: uint8 [n, 32], of each image's contents, or None. With them the fingerprint of a
        subset depends on its own images alone, whatever set it was taken from.
      looks: uint8 [n, 32], equal for images that must not be told apart: copies. None: the digests.
      found: what was found where the images were looked for, or None.
      read_windows: (indices [k], places [k, 2] of 0 to 1) -> pixels as of `read`, each of another
        window of its image, see Preprocessing.square; None for a set that cannot.
    """

    name: str
    classes: tuple[str, ...]
    labels: np.ndarray
    ids: Sequence[str]
    fingerprint: str
    read: Callable[[np.ndarray], np.ndarray]
    recipe: str = ""
    digests: np.ndarray | None = None
    looks: np.ndarray | None = None
    found: Found | None = None
    read_windows: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def copies(self) -> np.ndarray | None:
        """[n] ints, equal where images are copies of each other; None where that is not known."""
        looks = self.digests if self.looks is None else self.looks
        if looks is None:
            return None
        return np.unique(np.ascontiguousarray(looks).view("S32"), return_inverse=True)[1].ravel()

    def pixels(self) -> np.ndarray:
        """All images, uint8 [n, S, S, C]; for sets that fit in memory."""
        return self.read(np.arange(len(self)))

    def summary(self, parts: str) -> str:
        """What was found, in a few lines; parts: what the images are for."""
        used = self.labels[self.labels >= 0]
        where = self.name if self.found is None else self.found.where
        lines = [f"found {counted(len(used), 'image')} in {where}", of_classes(self.classes, used)]
        lines += [] if self.found is None else self.found.lines()
        return "\n  ".join([*lines, f"parts: {parts}"])

    def subset(self, rows: np.ndarray) -> "ImageSet":
        """The images of some rows, in their order: image i of the result is image rows[i]."""
        rows = np.asarray(rows, np.int64)
        if self.digests is None:
            found = hashlib.sha256(f"{self.fingerprint}|".encode() + rows.tobytes()).hexdigest()
        else:
            found = fingerprint(self.recipe, self.digests[rows])
        return dataclasses.replace(
            self,
            labels=self.labels[rows],
            ids=tuple(self.ids[row] for row in rows),
            fingerprint=found,
            read=lambda indices: self.read(rows[np.asarray(indices)]),
            read_windows=self.read_windows
            and (lambda indices, places: self.read_windows(rows[np.asarray(indices)], places)),
            digests=None if self.digests is None else self.digests[rows],
            looks=None if self.looks is None else self.looks[rows],
        )


def fingerprint(recipe: str, digests: np.ndarray) -> str:
    """The fingerprint of images whose contents have digests uint8 [n, 32], in this order."""
    return hashlib.sha256(f"{recipe}|".encode() + digests.tobytes()).hexdigest()


class Reader:
    """Fetches, checks and decodes images in threads: an ImageSet's `read`.

    Args:
      fetch: indices [k], as many as a thread takes -> the bytes of each image, and those that
        `digests` are of.
      decode: the bytes of an image, and with windows its place -> uint8 pixels [S, S, C].
      names: [n] for messages.
      digests: uint8 [n, 32], sha256 of what was there when the set was looked at.
      shape: (S, S, C). threads: as many as there are cores when None.
    """

    def __init__(
        self,
        fetch: Callable[[np.ndarray], list[tuple[bytes, bytes]]],
        decode: Callable[..., np.ndarray],
        names: Sequence[str],
        digests: np.ndarray,
        shape: tuple[int, int, int],
        threads: int | None = None,
    ):
        self._fetch, self._decode, self._names = fetch, decode, names
        self._digests, self._shape = digests, shape
        self._threads = threads or os.cpu_count() or 1
        # Pillow lets go of the interpreter lock while it decodes and resizes.
        self._pool = concurrent.futures.ThreadPoolExecutor(self._threads, "images")

    def __call__(self, indices: np.ndarray, places: np.ndarray | None = None) -> np.ndarray:
        indices = np.asarray(indices)
        pixels = np.empty([len(indices), *self._shape], np.uint8)
        # Small batches are shared out among all threads, too.
        chunk = max(1, min(_CHUNK, -(-len(indices) // self._threads)))

        def fill(start: int) -> None:
            here = indices[start : start + chunk]
            fetched = self._fetch(here)
            small = self._shape[0] <= SMALL_SIDE and all(len(image) < SMALL for image, _ in fetched)
            with one_at_a_time if small else contextlib.nullcontext():
                for row, (image, whole) in enumerate(fetched, start):
                    if hashlib.sha256(whole).digest() != self._digests[indices[row]].tobytes():
                        raise UserError(
                            f"{self._names[indices[row]]} changed while in use (other contents): "
                            "start the run again"
                        )
                    try:
                        window = {} if places is None else {"place": tuple(places[row])}
                        pixels[row] = self._decode(image, **window)
                    except BROKEN as error:
                        raise UserError(
                            f"{self._names[indices[row]]} is damaged ({reason(error)}): mend or "
                            "remove the image, or prepare the data set again"
                        ) from error

        # list() so that an error in a thread is raised here.
        list(self._pool.map(fill, range(0, len(indices), chunk)))
        return pixels
