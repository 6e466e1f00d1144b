"""Files of records, as TFDS prepares them, read at random: TFRecord and ArrayRecord.

TFDS itself reads TFRecord files from front to back only. Where each record begins is found by
stepping once from length to length; then a few images of each class, or one host's share, cost what
they hold and not the whole data set.
"""

import collections
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
            raise _unreadable(path, error) from error
        self.starts[number] = np.array(starts, np.int64)
        self.lengths[number] = np.array(lengths, np.int64)

    def read(self, files: np.ndarray, places: np.ndarray) -> list[bytes]:
        """Records (files[i], places[i]) [k], in that order; neighbours are fetched together."""
        found: list[bytes] = [b""] * len(files)
        by_file = collections.defaultdict(list)
        for i, number in enumerate(files.tolist()):
            by_file[number].append(i)
        for number, wanted in by_file.items():
            starts, lengths = self.starts[number], self.lengths[number]
            wanted.sort(key=lambda i: places[i])
            try:
                with self.paths[number].open("rb") as file:
                    for group in _groups(wanted, starts[places], lengths[places]):
                        first = starts[places[group[0]]]
                        end = starts[places[group[-1]]] + lengths[places[group[-1]]]
                        span = _read(file, int(first), int(end - first))
                        for i in group:
                            begin = starts[places[i]] - first
                            found[i] = span[begin : begin + lengths[places[i]]]
            except OSError as error:
                raise _unreadable(self.paths[number], error) from error
        return found


class ArrayRecords:
    """As TFRecords; where records lie the files themselves tell, so `starts` are 0, 1, 2, …"""

    def __init__(self, paths: Sequence[str]):
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        self._sources = [ArrayRecordDataSource([str(path)]) for path in paths]
        self.starts: dict[int, np.ndarray] = {}
        self.lengths: dict[int, np.ndarray] = {}

    def scan(self, number: int) -> Iterator[bytes]:
        source, lengths = self._sources[number], []
        for first in range(0, len(source), 256):
            for record in source.__getitems__(range(first, min(first + 256, len(source)))):
                lengths.append(len(record))
                yield record
        self.starts[number] = np.arange(len(lengths))
        self.lengths[number] = np.array(lengths, np.int64)

    def read(self, files: np.ndarray, places: np.ndarray) -> list[bytes]:
        found: list[bytes] = [b""] * len(files)
        for number in np.unique(files):
            rows = np.flatnonzero(files == number)
            records = self._sources[number].__getitems__(places[rows].tolist())
            for row, record in zip(rows, records, strict=True):
                found[row] = record
        return found


def _groups(wanted: list[int], starts: np.ndarray, lengths: np.ndarray) -> Iterator[list[int]]:
    """Cuts indices, sorted by start, where the next is far away or the span would grow too long.

    Starts 0, 10, 99,999 of length 5: [0, 1], [2].
    """
    group: list[int] = []
    for i in wanted:
        if group:
            end = starts[group[-1]] + lengths[group[-1]]
            if starts[i] - end > _GAP or starts[i] + lengths[i] - starts[group[0]] > _SPAN:
                yield group
                group = []
        group.append(i)
    if group:
        yield group


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


def _unreadable(path, error: OSError) -> UserError:
    return UserError(
        f"cannot read {path}: {error.strerror or error}; was it moved while the run used it?"
    )
