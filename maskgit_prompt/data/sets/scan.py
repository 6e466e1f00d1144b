"""Every image of a place read and decoded once: which are whole, and digests of their contents."""

import concurrent.futures
import dataclasses
import functools
import hashlib
import io
import json
import os
import pathlib
import zipfile
from collections.abc import Sequence

import numpy as np
from absl import logging

from maskgit_prompt.data import depth
from maskgit_prompt.data.formats import readers
from maskgit_prompt.data.images import SMALL, SMALL_SIDE, Reader, one_at_a_time
from maskgit_prompt.data.names import legible
from maskgit_prompt.data.pixels import (
    BROKEN,
    Examined,
    Preprocessing,
    decode_image,
    examine,
    reason,
)
from maskgit_prompt.data.sets.places import UNSURE, Place
from maskgit_prompt.devices import distributed
from maskgit_prompt.errors import UserError
from maskgit_prompt.progress import progress
from maskgit_prompt.storage.files import write_whole

KEPT_FROM = 1000  # files: fewer are scanned in a moment

_CHUNK = 32  # files a thread takes at a time
_BLOCK = 64  # chunks a thread that are handed out at a time


# What is kept of each file. digest: sha256 of its bytes; stamp: Place.stamp from before it was
# read; look: sha256 of its pixels; size: width and height; range: pixels.Examined.value_range, NaN
# where there is none; low: pixels.Examined.darkest, the same; the flags: see there and `_fill`.
_ROW = np.dtype(
    [
        *(("digest", "u1", 32), ("stamp", "u1", 32), ("look", "u1", 32)),
        *(("size", "<i4", 2), ("range", "<f8", 2), ("low", "<f8")),
        *(("deep", "?"), ("odd_depth", "?"), ("scalable", "?"), ("halved", "?")),
        *(("dark", "?"), ("bright", "?")),
    ]
)


@dataclasses.dataclass(frozen=True)
class Scan:
    """What was found of n files.

    Attributes:
      rows: [n] of _ROW; of no use where a file is broken, but for its stamp.
      broken: what is wrong with a file, by its number.
      notes: what libraries warned of, by its number.
      read: how many files were read for this, and not known from an earlier scan.
    """

    rows: np.ndarray
    broken: dict[int, str]
    notes: dict[int, str]
    read: int

    def pack(self, names: Sequence[str] = ()) -> bytes:
        """The scan and the files' names as bytes."""
        words = [list(self.broken.items()), list(self.notes.items()), self.read, list(names)]
        buffer = io.BytesIO()
        text = np.frombuffer(json.dumps(words).encode(), np.uint8)
        np.savez(buffer, rows=self.rows, words=text)
        return buffer.getvalue()

    @classmethod
    def unpack(cls, data: bytes) -> tuple["Scan", list[str]]:
        """(the scan, the names) that `pack` got."""
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            broken, notes, read, names = json.loads(file["words"].tobytes())
            return cls(file["rows"], dict(broken), dict(notes), read), names


def scan(
    place: Place,
    names: Sequence[str],
    preprocessing: Preprocessing,
    threads: int,
    cache: pathlib.Path | None = None,
) -> Scan:
    """Reads, decodes and digests every file, each host a share of them; all get the same.

    1. Host i of k takes the files from n i / k to n (i + 1) / k, of n.
    2. A file that the scan kept in `cache` knows by the same name and stamp is not read again.
    3. Every host gets all shares.
    4. The first host keeps the scan, if any file was read and there are KEPT_FROM.

    Args:
      place, names: the files.
      preprocessing: how the images will be read.
      threads: that read and decode.
      cache: folder of kept scans, a file for each place and preprocessing; None: nothing is kept.

    Raises:
      UserError: hosts see different files, or the scan cannot be written.
    """
    _same_on_all_hosts(place, names)
    kept = None
    if cache is not None and len(names) >= KEPT_FROM:
        # What reads the images, too: another version may read what this one cannot. And what is
        # kept of each: a scan of before is not damaged, but another one.
        how = f"{preprocessing.recipe}|{preprocessing.max_pixels}|{readers()}|{_ROW.names}"
        key = f"{os.path.abspath(place.path)}|{how}"
        kept = cache / f"{hashlib.sha256(os.fsencode(key)).hexdigest()}.npz"
    host, hosts = distributed.index_and_count()
    first, end = (len(names) * i // hosts for i in (host, host + 1))
    share = _scan_share(place, names[first:end], preprocessing, threads, *_load(kept))
    shares = [Scan.unpack(data)[0] for data in distributed.gather(share.pack())]
    broken, notes, start = {}, {}, 0
    for part in shares:
        broken |= {start + row: why for row, why in part.broken.items()}
        notes |= {start + row: note for row, note in part.notes.items()}
        start += len(part.rows)
    whole = Scan(
        np.concatenate([part.rows for part in shares]),
        broken,
        notes,
        sum(part.read for part in shares),
    )
    if kept is not None and whole.read:
        write_whole(kept, whole.pack(names))
    return whole


def _same_on_all_hosts(place: Place, names: Sequence[str]) -> None:
    digest = hashlib.sha256(os.fsencode("\0".join(names))).hexdigest()
    seen = [
        tuple(json.loads(s)) for s in distributed.gather(json.dumps([len(names), digest]).encode())
    ]
    if len(set(seen)) > 1:
        raise UserError(
            f"hosts see different images in {place.path}: {', '.join(str(n) for n, _ in seen)} by "
            "host; expected the same names on all: put them on a disk that all hosts share"
        )


def _scan_share(
    place: Place,
    names: Sequence[str],
    preprocessing: Preprocessing,
    threads: int,
    old: Scan,
    numbers: dict[str, int],
) -> Scan:
    """Step 2 of `scan`: old is the kept scan, numbers those of its files."""
    rows = np.zeros(len(names), _ROW)
    broken: dict[int, str] = {}
    notes: dict[int, str] = {}

    def check(number: int, data: bytes) -> None:
        rows[number]["digest"] = memoryview(hashlib.sha256(data).digest())
        try:
            seen = examine(data, preprocessing)
        except BROKEN as error:
            broken[number] = reason(error)
            return
        _fill(rows[number], seen)
        if seen.notes:
            notes[number] = "; ".join(seen.notes)

    def look(start: int) -> tuple[int, int]:
        """(files looked at, files read) of a chunk."""
        read, small = 0, []
        chunk = names[start : start + _CHUNK]
        for number, name in enumerate(chunk, start):
            stamp = place.stamp(name)
            known = numbers.get(name)
            same = known is not None and old.rows[known]["stamp"].tobytes() == stamp
            if same and stamp != UNSURE:
                rows[number] = old.rows[known]
                for kept, found in ((old.broken, broken), (old.notes, notes)):
                    if known in kept:
                        found[number] = kept[known]
                continue
            read += 1
            try:
                data = place.read(name)
            except BROKEN as error:
                # The stamp stays UNSURE: the disk or the network may do better another time.
                broken[number] = reason(error)
                continue
            rows[number]["stamp"] = memoryview(stamp)
            if preprocessing.size <= SMALL_SIDE and len(data) < SMALL:
                small.append((number, data))
            else:
                check(number, data)
        with one_at_a_time:
            for number, data in small:
                check(number, data)
        return len(chunk), read

    read, block = 0, _CHUNK * _BLOCK * threads
    with (
        progress(len(names), f"scan {place.name}", "image", delay=5.0) as bar,
        concurrent.futures.ThreadPoolExecutor(threads, "scan") as pool,
    ):
        # In blocks, so that a million files are not a million waiting calls.
        for first in range(0, len(names), block):
            starts = range(first, min(first + block, len(names)), _CHUNK)
            for looked, more in pool.map(look, starts):
                read += more
                bar.update(looked)
    return Scan(rows, dict(sorted(broken.items())), dict(sorted(notes.items())), read)


def _fill(row: np.void, seen: Examined) -> None:
    row["look"] = memoryview(hashlib.sha256(seen.pixels).digest())
    row["size"] = seen.size
    row["range"] = np.nan if seen.value_range is None else seen.value_range
    row["low"] = np.nan if seen.darkest is None else seen.darkest
    row["dark"], row["bright"] = seen.dark, seen.bright
    row["deep"], row["scalable"], row["halved"] = seen.deep, seen.scalable, seen.halved
    row["odd_depth"] = seen.stated not in (None, depth.SIXTEEN)


def _load(file: pathlib.Path | None) -> tuple[Scan, dict[str, int]]:
    """The kept scan and the number of each file in it; empty where there is none."""
    if file is not None:
        try:
            old, names = Scan.unpack(file.read_bytes())
            if old.rows.dtype != _ROW or old.rows.shape != (len(names),):
                raise ValueError("its table is another one")
            return old, {name: number for number, name in enumerate(names)}
        except FileNotFoundError:
            pass
        except (*BROKEN, zipfile.BadZipFile) as error:
            logging.warning("%s is damaged (%s): all images are read again", file, reason(error))
    return Scan(np.zeros(0, _ROW), {}, {}, 0), {}


def reader(
    place: Place,
    names: Sequence[str],
    digests: np.ndarray,
    preprocessing: Preprocessing,
    threads: int | None = None,
) -> Reader:
    """What reads the files of a place with these names; digests: of their contents, from a scan.

    It raises UserError for a file that is not what it was when it was scanned.
    """

    def fetch(indices: np.ndarray) -> list[tuple[bytes, bytes]]:
        read = []
        for index in indices:
            try:
                data = place.read(names[index])
            except BROKEN as error:
                raise UserError(
                    f"{place.path}/{legible(names[index])} changed while in use "
                    f"({reason(error)}): start the run again"
                ) from error
            read.append((data, data))
        return read

    return Reader(
        fetch,
        functools.partial(decode_image, preprocessing=preprocessing),
        [f"{place.path}/{name}" for name in names],
        digests,
        preprocessing.shape,
        threads,
    )
