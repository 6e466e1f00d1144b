"""Rows of a set that are kept in memory once they are made."""

import threading
from collections.abc import Callable

import numpy as np

MOST_BYTES = 2**31  # of pixels that are kept


class Kept:
    """Rows of a set -> an array [k, …]; a row is made when it is first asked for, and kept.

    Threads may share it: two that ask for the same new row at once both make it, to no harm.

    Args:
      number: how many rows the set has.
      make: rows -> an array [k, …]; a pure function.
    """

    def __init__(self, number: int, make: Callable[[np.ndarray], np.ndarray]):
        self._make, self._there = make, np.zeros(number, bool)
        self._array: np.ndarray | None = None  # takes memory only where rows are written
        self._allocating = threading.Lock()

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        rows = np.asarray(rows)
        new = np.unique(rows[~self._there[rows]])
        if len(new):
            made = self._make(new)
            with self._allocating:  # a second array would lose the first one's rows
                if self._array is None:
                    self._array = np.empty((len(self._there), *made.shape[1:]), made.dtype)
            self._array[new] = made
            self._there[new] = True
        return self._array[rows]


def if_few(
    number: int, side: int, read: Callable[[np.ndarray], np.ndarray]
) -> Callable[[np.ndarray], np.ndarray]:
    """`read`; its rows are kept if the pixels of `number` images fit in MOST_BYTES.

    side: of an image, in pixels.
    """
    return Kept(number, read) if number * side**2 * 3 <= MOST_BYTES else read
