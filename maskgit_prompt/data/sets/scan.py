"""Every image of a place read and decoded once: which are whole, and digests of their contents."""

import concurrent.futures
import dataclasses
import hashlib
import io
import json
import os
import pathlib
import zipfile
from collections.abc import Sequence

import numpy as np
from absl import logging

from maskgit_prompt.data.images import SMALL, SMALL_SIDE, one_at_a_time
from maskgit_prompt.data.pixels import BROKEN, Preprocessing, decode_image, reason
from maskgit_prompt.data.sets.places import UNSURE, Place
from maskgit_prompt.devices import distributed
from maskgit_prompt.errors import UserError
from maskgit_prompt.progress import progress
from maskgit_prompt.storage.files import write_whole

KEPT_FROM = 1000  # files: fewer are scanned in a moment

_CHUNK = 32  # files a thread takes at a time
_BLOCK = 64  # chunks a thread that are handed out at a time


@dataclasses.dataclass(frozen=True)
class Scan:
    """What was found of n files.

    Attributes:
      digests: uint8 [n, 32], sha256 of each file's bytes; of no use where it is broken.
      stamps: uint8 [n, 32], each file's Place.stamp from before it was read.
      broken: what is wrong with a file, by its number.
      read: how many files were read for this, and not known from an earlier scan.
    """

    digests: np.ndarray
    stamps: np.ndarray
    broken: dict[int, str]
    read: int

    def pack(self, names: Sequence[str] = ()) -> bytes:
        """The scan and the files' names as bytes."""
        words = json.dumps([list(self.broken.items()), self.read, list(names)]).encode()
        buffer = io.BytesIO()
        np.savez(
            buffer,
            digests=self.digests,
            stamps=self.stamps,
            words=np.frombuffer(words, np.uint8),
        )
        return buffer.getvalue()

    @classmethod
    def unpack(cls, data: bytes) -> tuple["Scan", list[str]]:
        """(the scan, the names) that `pack` got."""
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            broken, read, names = json.loads(file["words"].tobytes())
            return cls(file["digests"], file["stamps"], dict(broken), read), names


def scan(
    place: Place,
    names: Sequence[str],
    preprocessing: Preprocessing,
    threads: int,
    cache: pathlib.Path | None = None,
) -> Scan:
    """Reads, decodes and digests every file, each host a share of them; all get the same.

    1. Of n files host i of k takes those from n i / k to n (i + 1) / k.
    2. A file that the scan kept in `cache` knows by the same name and stamp is not read again.
    3. Every host gets all shares.
    4. The first host keeps the scan, if any file was read and there are KEPT_FROM.

    Args:
      place, names: the files.
      preprocessing: how the images will be read.
      threads: that read and decode.
      cache: folder of kept scans, a file for each place, size and fit; None: nothing is kept.

    Raises:
      UserError: hosts see different files, or the scan cannot be written.
    """
    _same_on_all_hosts(place, names)
    kept = None
    if cache is not None and len(names) >= KEPT_FROM:
        key = f"{os.path.abspath(place.path)}|{preprocessing.size}|{preprocessing.steps}"
        kept = cache / f"{hashlib.sha256(os.fsencode(key)).hexdigest()}.npz"
    host, hosts = distributed.index_and_count()
    first, end = (len(names) * i // hosts for i in (host, host + 1))
    share = _scan_share(place, names[first:end], preprocessing, threads, *_load(kept))
    shares = [Scan.unpack(data)[0] for data in distributed.gather(share.pack())]
    broken, start = {}, 0
    for part in shares:
        broken |= {start + row: why for row, why in part.broken.items()}
        start += len(part.digests)
    whole = Scan(
        np.concatenate([part.digests for part in shares]),
        np.concatenate([part.stamps for part in shares]),
        broken,
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
    rows: dict[str, int],
) -> Scan:
    """Step 2 of `scan`: old is the kept scan, rows the numbers of its files."""
    digests, stamps = (np.zeros([len(names), 32], np.uint8) for _ in range(2))
    broken: dict[int, str] = {}

    def check(row: int, data: bytes) -> None:
        digests[row] = memoryview(hashlib.sha256(data).digest())
        try:
            decode_image(data, preprocessing)
        except BROKEN as error:
            broken[row] = reason(error)

    def look(start: int) -> tuple[int, int]:
        """(files looked at, files read) of a chunk."""
        read, small = 0, []
        chunk = names[start : start + _CHUNK]
        for row, name in enumerate(chunk, start):
            stamp = place.stamp(name)
            stamps[row] = memoryview(stamp)
            known = rows.get(name)
            if known is not None and stamp != UNSURE and old.stamps[known].tobytes() == stamp:
                digests[row] = old.digests[known]
                if known in old.broken:
                    broken[row] = old.broken[known]
                continue
            read += 1
            try:
                data = place.read(name)
            except BROKEN as error:
                broken[row] = reason(error)
                stamps[row] = 0  # UNSURE: the disk or the network may do better another time
                continue
            if preprocessing.size <= SMALL_SIDE and len(data) < SMALL:
                small.append((row, data))
            else:
                check(row, data)
        with one_at_a_time:
            for row, data in small:
                check(row, data)
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
    return Scan(digests, stamps, dict(sorted(broken.items())), read)


def _load(file: pathlib.Path | None) -> tuple[Scan, dict[str, int]]:
    """The kept scan and the number of each file in it; empty where there is none."""
    if file is not None:
        try:
            old, names = Scan.unpack(file.read_bytes())
            if not old.digests.shape == old.stamps.shape == (len(names), 32):
                raise ValueError("sizes differ")
            return old, {name: row for row, name in enumerate(names)}
        except FileNotFoundError:
            pass
        except (*BROKEN, zipfile.BadZipFile) as error:
            logging.warning("%s is damaged (%s): all images are read again", file, reason(error))
    nothing = np.zeros([0, 32], np.uint8)
    return Scan(nothing, nothing, {}, 0), {}
