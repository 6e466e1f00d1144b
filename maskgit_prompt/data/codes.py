"""The codes file: every image encoded once, kept by what made it, read by memory map.

    DIRECTORY/KEY/index.json         key, counts, sha256 of each file; KEY = sha256 of the key
    DIRECTORY/KEY/labels.npy         [n] int32
    DIRECTORY/KEY/codes-00000.npy    [m, views, L] uint16, m images a shard
    DIRECTORY/KEY.partial/           the same while it is being written

The folder takes its final name only when it is whole, by a rename. A build that was stopped goes
on from the shards whose checksums hold; a whole folder with a broken shard goes back to .partial
and is mended the same way.
"""

import collections
import concurrent.futures
import dataclasses
import hashlib
import io
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator

import numpy as np
import PIL
from absl import logging

import maskgit_prompt
from maskgit_prompt.data import batches
from maskgit_prompt.data.images import ImageSet
from maskgit_prompt.errors import UsageError, UserError
from maskgit_prompt.files import write_whole
from maskgit_prompt.progress import progress

FORMAT = 1
MAX_CODE = np.iinfo(np.uint16).max
SHARD_SIZE = 8192  # images

Encode = Callable[[np.ndarray], np.ndarray]
ViewFn = Callable[[np.ndarray, np.random.Generator], np.ndarray]


class Codes:
    """Codes [n, views, L] uint16 that lie in several memory-mapped shards.

    Indexed like an array, with an int, slice, mask or 1-D array in front: codes[indices] is
    [k, views, L], codes[indices, views] with two arrays of k is [k, L]. Only what the first
    index asks for is read.
    """

    dtype = np.dtype(np.uint16)
    ndim = 3

    def __init__(self, shards: list[np.ndarray]):
        self._shards = shards
        self._rows = np.arange(sum(len(shard) for shard in shards))
        self.shape = (len(self._rows), *shards[0].shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        if copy is False:
            raise ValueError("codes lie in several files: an array of them is always a copy")
        return np.concatenate(self._shards).astype(dtype or self.dtype, copy=False)

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
      labels: [n] int32.
      key: what made it.
    """

    folder: pathlib.Path
    codes: Codes
    labels: np.ndarray
    key: dict

    def __len__(self) -> int:
        return len(self.labels)


def key_hash(key: dict) -> str:
    """sha256 of the key as canonical JSON: the order of its entries does not matter."""
    return hashlib.sha256(
        json.dumps(key, sort_keys=True, separators=(",", ":")).encode()
    ).hexdigest()


def _sha256(path: pathlib.Path) -> str | None:
    """Hex digest of a file, None when there is no such file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def _write(path: pathlib.Path, data: bytes) -> str:
    """Writes a file whole or not at all; returns its sha256."""
    write_whole(path, data)
    return hashlib.sha256(data).hexdigest()


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _read_index(folder: pathlib.Path) -> dict | None:
    """index.json of a folder, None when it is missing or broken."""
    try:
        index = json.loads((folder / "index.json").read_text())
    except (FileNotFoundError, ValueError):
        return None
    return index if isinstance(index, dict) and index.get("format") == FORMAT else None


def _shard_names(n: int, shard_size: int) -> list[str]:
    return [f"codes-{shard:05d}.npy" for shard in range(-(-n // shard_size))]


def _broken(folder: pathlib.Path, index: dict) -> list[str]:
    """Files of a folder that are missing or do not match their checksum."""
    names = [*_shard_names(index["n"], index["shard_size"]), "labels.npy"]
    files = index["files"]
    return [name for name in names if name not in files or _sha256(folder / name) != files[name]]


def open_codes(folder: str | os.PathLike) -> CodesFile:
    """Opens a codes file, its checksums verified.

    Raises:
      UserError: no codes file, an index of another format, or broken files, which are named.
    """
    folder = pathlib.Path(folder)
    index = _read_index(folder)
    if index is None:
        raise UserError(f"{folder} is no codes file (no index.json of format {FORMAT}): encode")
    if broken := _broken(folder, index):
        raise UserError(f"codes file {folder} is broken ({', '.join(broken)}): encode again")
    return _open(folder, index)


def _open(folder: pathlib.Path, index: dict) -> CodesFile:
    names = _shard_names(index["n"], index["shard_size"])
    return CodesFile(
        folder=folder,
        codes=Codes([np.load(folder / name, mmap_mode="r") for name in names]),
        labels=np.load(folder / "labels.npy"),
        key=index["key"],
    )


def _loaded(
    images: ImageSet, items: np.ndarray, batch_size: int, views: int, view_fn: ViewFn | None, seed
) -> Iterator[np.ndarray]:
    """Yields pixels [b, S, S, 3] of items (image · views + view), loading one batch ahead."""

    def load(start: int) -> np.ndarray:
        indices, which = np.divmod(items[start : start + batch_size], views)
        unique, position = np.unique(indices, return_inverse=True)
        pixels = images.read(unique)[position]
        for row, (index, view) in enumerate(zip(indices.tolist(), which.tolist(), strict=True)):
            if view > 0:
                rng = batches.generator(seed, batches.STREAM_AUGMENT, index, view)
                pixels[row] = view_fn(pixels[row], rng)
        return pixels

    starts = range(0, len(items), batch_size)
    if not starts:
        return
    with concurrent.futures.ThreadPoolExecutor(1, "codes") as ahead:
        pending = ahead.submit(load, 0)
        for start in starts:
            pixels = pending.result()
            if start != starts[-1]:
                pending = ahead.submit(load, start + batch_size)
            yield pixels


def _encode(encode: Encode, pixels: np.ndarray, batch_size: int) -> np.ndarray:
    """Codes [b, L] uint16 of pixels [b, S, S, 3]; a short batch is padded with its last image."""
    count = len(pixels)
    if count < batch_size:
        pixels = np.concatenate([pixels, np.repeat(pixels[-1:], batch_size - count, axis=0)])
    codes = np.asarray(encode(pixels))
    if codes.ndim != 2 or len(codes) != batch_size or codes.dtype.kind not in "iu":
        raise UsageError(
            f"the encoder gave {codes.dtype} {list(codes.shape)} for {batch_size} images:"
            f" expected integer codes [{batch_size}, L]"
        )
    low, high = codes.min(), codes.max()
    if low < 0 or high > MAX_CODE:
        raise UsageError(
            f"the encoder gave code {low if low < 0 else high}: a codes file holds 0 to {MAX_CODE};"
            " use a tokenizer with a smaller codebook"
        )
    return codes[:count].astype(np.uint16)


def _prepare(final: pathlib.Path, partial: pathlib.Path, index: dict) -> dict:
    """Makes the .partial folder ready to be filled; returns the index of what it holds."""
    if final.exists():
        shutil.rmtree(partial, ignore_errors=True)
        os.rename(final, partial)
    found = _read_index(partial)
    same = found is not None and all(found[k] == index[k] for k in ("key", "shard_size", "n"))
    if not same:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        return index
    broken = set(_broken(partial, found))
    good = {name: digest for name, digest in found["files"].items() if name not in broken}
    return {**found, "files": good}


def build(
    directory: str | os.PathLike,
    images: ImageSet,
    encode: Encode,
    key: dict,
    batch_size: int,
    views: int = 1,
    view_fn: ViewFn | None = None,
    seed: int = 0,
    shard_size: int = SHARD_SIZE,
) -> CodesFile:
    """Encodes all images once, or finds that this was done.

    1. Complete the key; a folder of that name whose key and checksums hold is returned.
    2. Otherwise take up what a stopped or damaged build left that is whole.
    3. Encode the images of missing shards, the next batch being read meanwhile.
    4. Write each shard whole, then the index; rename the folder when nothing is missing.

    Args:
      directory: holds one folder for each key; on a local disk.
      images: what is encoded.
      encode: uint8 [batch_size, S, S, 3] -> ints [batch_size, L], always of this batch size.
      key: what the codes depend on besides the images, as JSON: the tokenizer's fingerprint,
        the image size. The fingerprint and labels of the images, views, view_fn and seed
        are added here.
      batch_size: images encoded at once.
      views: codes kept of each image; view 0 is the plain image.
      view_fn: (pixels [S, S, 3], generator) -> pixels [S, S, 3], makes views 1, 2, ...; a pure
        function of the two, whose repr tells all its settings: `augment.random_crop_flip`.
      seed: of the views; a view depends on (seed, index, view) only.
      shard_size: images a shard.

    Raises:
      UsageError: no images, sizes below 1, views without view_fn, codes of a wrong shape or
        type, negative or above 65535.
      UserError: the disk is full or the folder cannot be written; finished shards are kept and
        the next call goes on from there.
    """
    for name, value in dict(batch_size=batch_size, views=views, shard_size=shard_size).items():
        if value < 1:
            raise UsageError(f"{name} {value}: expected at least 1")
    if not len(images):
        raise UsageError(f"no images in {images.name}: nothing to encode")
    if views > 1 and view_fn is None:
        raise UsageError(
            f"views {views} without view_fn: give one, such as random_crop_flip(), or 1"
        )

    if views > 1 and " at 0x" in repr(view_fn):
        raise UsageError(
            f"view_fn {view_fn!r} does not tell its settings: pass a dataclass with __call__,"
            " such as random_crop_flip(), whose repr can stand in the key"
        )

    # 1. The key, and a whole file of that key.
    key = {
        **key,
        "format": FORMAT,
        "images": images.fingerprint,
        "labels": hashlib.sha256(np.asarray(images.labels, np.int32).tobytes()).hexdigest(),
        "views": [views, repr(view_fn), seed] if views > 1 else [1],
    }
    # Through JSON, so that it equals the key read back: tuples become lists.
    key = json.loads(json.dumps(key))
    final = pathlib.Path(directory) / key_hash(key)
    if final.exists():
        found = _read_index(final)
        broken = _broken(final, found) if found and found["key"] == key else ["index.json"]
        if not broken:
            return _open(final, found)
        logging.warning("codes file %s: %s broken, encoding again", final, ", ".join(broken))

    # 2. What is whole already.
    partial = final.with_name(final.name + ".partial")
    index = {
        "format": FORMAT,
        "key": key,
        "n": len(images),
        "views": views,
        "L": None,
        "classes": len(images.classes),
        "shard_size": shard_size,
        "files": {},
        "versions": {
            "maskgit_prompt": maskgit_prompt.__version__,
            "numpy": np.__version__,
            "pillow": PIL.__version__,
        },
    }
    try:
        index = _prepare(final, partial, index)
    except OSError as error:
        raise UserError(
            f"codes folder {partial} cannot be made ({error.strerror or error}): check permissions"
            " and room, or choose another folder"
        ) from error
    files = index["files"]
    files["labels.npy"] = _write(partial / "labels.npy", _npy(np.asarray(images.labels, np.int32)))
    missing = [
        (name, np.arange(shard * shard_size, min((shard + 1) * shard_size, len(images))))
        for shard, name in enumerate(_shard_names(len(images), shard_size))
        if name not in files
    ]
    _fill(partial, index, missing, images, encode, batch_size, view_fn, seed)
    try:
        os.rename(partial, final)
    except OSError as error:
        raise UserError(
            f"codes folder {partial} cannot be renamed to {final.name} ({error.strerror or error}):"
            " is another run encoding the same images? wait for it and start again"
        ) from error
    return _open(final, index)


def _fill(
    partial: pathlib.Path,
    index: dict,
    missing: list[tuple[str, np.ndarray]],
    images: ImageSet,
    encode: Encode,
    batch_size: int,
    view_fn: ViewFn | None,
    seed: int,
) -> None:
    """Steps 3 and 4 of `build`: missing shards as (file name, image indices) into partial."""
    views = index["views"]
    items = [(rows[:, None] * views + np.arange(views)).ravel() for _, rows in missing]
    items = np.concatenate([np.zeros(0, np.int64), *items])
    shards = collections.deque(missing)
    waiting: list[np.ndarray] = []  # codes [b, L] of the first of shards, and of later ones
    total = len(images) * views
    with progress(total, "encode", "image", initial=total - len(items)) as bar:
        # Batches run on from one shard into the next: only the very last one is padded.
        for pixels in _loaded(images, items, batch_size, views, view_fn, seed):
            codes = _encode(encode, pixels, batch_size)
            if index["L"] not in (None, codes.shape[1]):
                raise UsageError(
                    f"the encoder gave {codes.shape[1]} codes an image, finished shards in"
                    f" {partial} hold {index['L']}: put what changed into the key"
                )
            index["L"] = codes.shape[1]
            waiting.append(codes)
            bar.update(len(codes))
            while shards and sum(map(len, waiting)) >= len(shards[0][1]) * views:
                name, rows = shards.popleft()
                ready = np.concatenate(waiting)
                count = len(rows) * views
                shard = ready[:count].reshape(len(rows), views, -1)  # [m, views, L]
                index["files"][name] = _write(partial / name, _npy(shard))
                _write_index(partial, index)
                waiting = [ready[count:]]
    _write_index(partial, index)


def _write_index(folder: pathlib.Path, index: dict) -> None:
    # Sorted, so that a mended folder has the same bytes as one made in one go.
    index = {**index, "files": dict(sorted(index["files"].items()))}
    _write(folder / "index.json", json.dumps(index, indent=1).encode())
