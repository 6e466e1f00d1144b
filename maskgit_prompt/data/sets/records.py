"""Files of records, as TFDS prepares them, read at random: TFRecord and ArrayRecord.

TFDS itself reads TFRecord files from front to back only. Where each record begins is found by
stepping once from length to length; then a few images of each class, or one host's share, cost what
they hold and not the whole data set.
"""

import contextlib
import struct
from collections.abc import Iterator, Sequence

import numpy as np
from etils import epath

from maskgit_prompt.errors import UserError

# A TFRecord: length (8 bytes), its checksum (4), the data, their checksum (4).
_HEADER, _FOOTER = 12, 4
_GAP, _SPAN = 2**16, 2**24  # records so near are fetched together, up to so much at once


class TFRecords:
    """Records of several files by (file, place in it).

    Attributes:
      starts, lengths: file number -> int64 [n], of the data, in bytes; filled by `scan` or given.
    """

    def __init__(self, paths: Sequence[str]):
        self.paths = [epath.Path(path) for path in paths]
        self.starts: dict[int, np.ndarray] = {}
        self.lengths: dict[int, np.ndarray] = {}

    def scan(self, number: int) -> Iterator[bytes]:
        """Every record of a file, in order; afterwards its starts and lengths are known.

        Raises:
          UserError: the file cannot be read, or ends inside a record.
        """
        path, starts, lengths, place = self.paths[number], [], [], 0
        try:
            whole = path.stat().length
            with path.open("rb") as file:
                while place < whole:
                    header = file.read(_HEADER).ljust(_HEADER, b"\xff")
                    (size,) = struct.unpack_from("<Q", header)
                    end = place + _HEADER + size + _FOOTER
                    if end > whole:  # asked first: a damaged length may be of any size
                        raise UserError(
                            f"{path} is cut short or damaged at byte {place:,}; prepare the data "
                            "set again"
                        )
                    yield file.read(size + _FOOTER)[:size]
                    starts.append(place + _HEADER)
                    lengths.append(size)
                    place = end
        except OSError as error:
            raise unreadable(path, error) from error
        self.starts[number] = np.array(starts, np.int64)
        self.lengths[number] = np.array(lengths, np.int64)

    def read(self, files: np.ndarray, places: np.ndarray) -> list[bytes]:
        """Records (files[i], places[i]) [k], in that order; neighbours are fetched together."""
        found: list[bytes] = [b""] * len(files)
        for number in np.unique(files):
            wanted = np.flatnonzero(files == number)
            wanted = wanted[np.argsort(places[wanted], kind="stable")]
            starts = self.starts[number][places[wanted]]
            ends = starts + self.lengths[number][places[wanted]]
            try:
                with self.paths[number].open("rb") as file:
                    for group in groups(starts, ends):
                        first, last = int(starts[group.start]), int(ends[group.stop - 1])
                        span = _read(file, first, last - first)
                        for i in range(group.start, group.stop):
                            found[wanted[i]] = span[starts[i] - first : ends[i] - first]
            except OSError as error:
                raise unreadable(self.paths[number], error) from error
        return found


class ArrayRecords:
    """As TFRecords; where records lie the files themselves tell, so `starts` are 0, 1, 2, …"""

    def __init__(self, paths: Sequence[str]):
        try:
            from array_record.python.array_record_data_source import ArrayRecordDataSource
        except ImportError as error:
            raise UserError(
                f"{paths[0]} is an ArrayRecord file, which this machine cannot read ({error}): "
                "pip install array_record, or prepare the data set as TFRecord files"
            ) from error

        self.paths = [str(path) for path in paths]
        self._readers = []
        for path in self.paths:
            with _damaged(path):
                self._readers.append(ArrayRecordDataSource([path]))
        self.starts: dict[int, np.ndarray] = {}
        self.lengths: dict[int, np.ndarray] = {}

    def scan(self, number: int) -> Iterator[bytes]:
        reader, lengths = self._readers[number], []
        for first in range(0, len(reader), 256):
            for record in self._get(number, range(first, min(first + 256, len(reader)))):
                lengths.append(len(record))
                yield record
        self.starts[number] = np.arange(len(lengths))
        self.lengths[number] = np.array(lengths, np.int64)

    def _get(self, number: int, places: Sequence[int]) -> list[bytes]:
        with _damaged(self.paths[number]):
            return self._readers[number].__getitems__(places)

    def read(self, files: np.ndarray, places: np.ndarray) -> list[bytes]:
        found: list[bytes] = [b""] * len(files)
        for number in np.unique(files):
            rows = np.flatnonzero(files == number)
            for row, record in zip(rows, self._get(number, places[rows].tolist()), strict=True):
                found[row] = record
        return found


@contextlib.contextmanager
def _damaged(path: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the library says RuntimeError, ValueError, IndexError and more
        reason = " ".join(str(error).split())
        raise UserError(
            f"{path} is missing, cut short or damaged ({reason[:200]}); prepare the data set again"
        ) from error


def groups(starts: np.ndarray, ends: np.ndarray) -> Iterator[slice]:
    """Cuts records, sorted by start, where the next is far away or a span would grow too long.

    Starts 0, 10, 999,999 and ends 5, 15, 1,000,004: the first two together, then the third.
    """
    begin = 0
    for i in range(1, len(starts) + 1):
        if i == len(starts) or starts[i] - ends[i - 1] > _GAP or ends[i] - starts[begin] > _SPAN:
            yield slice(begin, i)
            begin = i


def _read(file, start: int, size: int) -> bytes:
    file.seek(start)
    parts = []
    while size:
        part = file.read(size)
        if not part:
            raise OSError("the file is shorter than it was")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def unreadable(path, error: OSError) -> UserError:
    return UserError(
        f"cannot read {path}: {error.strerror or error}; prepare the data set again, or give the "
        "folder where it lies whole"
    )
