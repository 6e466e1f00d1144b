"""The codes file: every image encoded once, kept by what made it, read by memory map.

    DIRECTORY/KEY/index.json         key, counts, sha256 of each file; KEY = sha256 of the key
    DIRECTORY/KEY/codes-00000.npy    [m, views, L] uint16, m images a shard
    DIRECTORY/KEY.partial/           the same while it is being written, and
        codes-00000.sha256           of each shard that is finished

With n hosts, each encodes and writes every n-th shard; the result does not depend on n. The
folder takes its final name only when it is whole, by a rename. A build that was stopped goes on
from the shards whose checksums hold, on any number of hosts; a whole folder with a broken shard
goes back to .partial and is mended the same way.
"""

import dataclasses
import hashlib
import json
import pathlib

import numpy as np

FORMAT = 2


class Codes:
    """Codes [n, views, L] uint16 that lie in several memory-mapped shards.

    Indexed like an array, with an int, slice, mask or 1-D array in front: codes[indices] is
    [k, views, L], codes[indices, views] with two arrays of k is [k, L]. Only what the first
    index asks for is read. `take` gives some of the rows, and reads nothing.
    """

    dtype = np.dtype(np.uint16)
    ndim = 3

    def __init__(self, shards: list[np.ndarray], rows: np.ndarray | None = None):
        self._shards = shards
        self._rows = np.arange(sum(map(len, shards))) if rows is None else rows
        self.shape = (len(self._rows), *shards[0].shape[1:])

    def take(self, rows: np.ndarray) -> "Codes":
        """Codes of some images in the order asked for: image i of the result is image rows[i]."""
        return Codes(self._shards, self._rows[np.asarray(rows, np.int64)])

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        if copy is False:
            raise ValueError("codes lie in several files: an array of them is always a copy")
        return self._gather(self._rows).astype(dtype or self.dtype, copy=False)

    def __getitem__(self, key) -> np.ndarray:
        first, *rest = key if isinstance(key, tuple) else (key,)
        if first is None or first is Ellipsis:
            raise TypeError("the first index of codes is an int, slice, mask or array of images")
        rows = self._rows[first]
        gathered = self._gather(np.atleast_1d(rows))  # [k, views, L]
        if rows.ndim == 0:
            return gathered[(0, *rest)]
        if isinstance(first, slice):
            return gathered[(slice(None), *rest)]
        return gathered[(np.arange(len(rows)), *rest)]

    def _gather(self, rows: np.ndarray) -> np.ndarray:
        out = np.empty([len(rows), *self.shape[1:]], self.dtype)
        shard_of, local = np.divmod(rows, len(self._shards[0]))
        for shard in np.unique(shard_of):
            here = shard_of == shard
            out[here] = self._shards[shard][local[here]]
        return out


@dataclasses.dataclass(frozen=True)
class CodesFile:
    """A codes file, open for reading.

    Attributes:
      folder: where it lies.
      codes: [n, views, L] uint16, memory-mapped; view 0 is the plain image.
      key: what made it.
      images_per_second: that this host read and encoded; None where it found them encoded.
    """

    folder: pathlib.Path
    codes: Codes
    key: dict
    images_per_second: float | None = None

    def __len__(self) -> int:
        return len(self.codes)


def key_hash(key: dict) -> str:
    """sha256 of the key as canonical JSON: the order of its entries does not matter."""
    return hashlib.sha256(
        json.dumps(key, sort_keys=True, separators=(",", ":")).encode()
    ).hexdigest()


def sha256(path: pathlib.Path) -> str | None:
    """Hex digest of a file, None when there is no such file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def read_index(folder: pathlib.Path) -> dict | None:
    """index.json of a folder, None when it is missing or damaged."""
    try:
        index = json.loads((folder / "index.json").read_text())
        # While the folder is being written there are no files in it.
        files = index.get("files", {})
        sound = (
            index["format"] == FORMAT
            and isinstance(index["key"], dict)
            and all(type(index[name]) is int and index[name] > 0 for name in ("n", "shard_size"))
            and all(isinstance(digest, str) for digest in files.values())
        )
    except (AttributeError, FileNotFoundError, KeyError, TypeError, ValueError):
        return None
    return index if sound else None


def shard_names(n: int, shard_size: int) -> list[str]:
    return [f"codes-{shard:05d}.npy" for shard in range(-(-n // shard_size))]


def broken(folder: pathlib.Path, index: dict) -> list[str]:
    """Files of a whole folder that are missing or do not match their checksum."""
    files = index.get("files", {})
    names = shard_names(index["n"], index["shard_size"])
    return [name for name in names if name not in files or sha256(folder / name) != files[name]]


def open_unchecked(folder: pathlib.Path, index: dict, rate: float | None = None) -> CodesFile:
    names = shard_names(index["n"], index["shard_size"])
    shards = [np.load(folder / name, mmap_mode="r") for name in names]
    return CodesFile(folder, Codes(shards), index["key"], rate)
