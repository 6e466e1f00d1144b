"""Arrays in a file that are read only when, and as far as, they are needed."""

import dataclasses
import math
import os

import numpy as np

from maskgit_prompt.errors import UserError


@dataclasses.dataclass(frozen=True)
class StoredArray:
    """An array inside an uncompressed file.

    Attributes:
      path: the file.
      offset: of the first element, in bytes.
      shape, dtype: of the array.
      strides: of each dimension, in bytes, none negative; None: C order.
    """

    path: str
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype
    strides: tuple[int, ...] | None = None

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def end(self) -> int:
        """The first byte after the last element."""
        if not self.size:
            return self.offset
        if self.strides is None:
            return self.offset + self.size * self.dtype.itemsize
        last = sum((n - 1) * step for n, step in zip(self.shape, self.strides, strict=True))
        return self.offset + last + self.dtype.itemsize

    def __getitem__(self, index) -> np.ndarray:
        """A copy of array[index]; reads only those pages of the file.

        Raises:
          UserError: the file cannot be read or is too short.
        """
        if not self.size:
            return np.empty(self.shape, self.dtype)[index]
        try:
            size = os.path.getsize(self.path)
            if size < self.end:
                raise UserError(
                    f"{self.path} has {size:,} bytes, expected at least {self.end:,}: it is cut "
                    "short; fetch it again"
                )
            span = np.memmap(self.path, np.uint8, "r", self.offset, (self.end - self.offset,))
        except OSError as error:
            raise UserError(f"cannot read {self.path}: {error.strerror or error}") from error
        # A view of the mapped file, which is unmapped after the copy.
        view = np.ndarray(self.shape, self.dtype, span, strides=self.strides)
        return np.array(view[index])

    def read(self) -> np.ndarray:
        """The whole array."""
        return self[...]

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return self.read().astype(dtype or self.dtype, copy=False)


def aligned(x: np.ndarray, dtype: str = "float32") -> np.ndarray:
    """A copy of x, in C order, that begins at a multiple of 64 bytes.

    JAX on a CPU uses such an array in place. It copies others (numpy aligns to 16), and a frozen
    model would then be in memory twice.
    """
    dtype = np.dtype(dtype)
    size = x.size * dtype.itemsize
    room = np.empty(size + 64, np.uint8)
    first = -room.ctypes.data % 64
    copy = room[first : first + size].view(dtype).reshape(x.shape)
    copy[...] = x
    return copy
