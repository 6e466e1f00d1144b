"""How a codes file is made: once, by any number of hosts, resumable at any point."""

import collections
import concurrent.futures
import contextlib
import dataclasses
import hashlib
import io
import json
import os
import pathlib
import shutil
import time
from collections.abc import Callable, Iterator

import numpy as np
import PIL
from absl import logging

import maskgit_prompt
from maskgit_prompt.counts import counted
from maskgit_prompt.data import batches, codes
from maskgit_prompt.data.augment import PLAIN, Views
from maskgit_prompt.data.images import ImageSet
from maskgit_prompt.errors import UsageError, UserError
from maskgit_prompt.progress import progress
from maskgit_prompt.storage.files import write_whole
from maskgit_prompt.storage.lock import hold

MAX_CODE = np.iinfo(np.uint16).max
SHARD_SIZE = 2048  # images: what a kill can cost, and what hosts share out
READ_AHEAD = 256  # images read at once, while those before are encoded


@dataclasses.dataclass(frozen=True)
class Encoding:
    """How pixels become codes.

    Attributes:
      encode: uint8 [batch_size, S, S, 3] -> ints [batch_size, L], always of this batch size.
      batch_size: images encoded at once.
      key: what the codes depend on besides the images and their views, as JSON: the tokenizer's
        fingerprint, the image size.

    Raises:
      UsageError: batches of none.
    """

    encode: Callable[[np.ndarray], np.ndarray]
    batch_size: int
    key: dict

    def __post_init__(self):
        if self.batch_size < 1:
            raise UsageError(f"batch_size {self.batch_size}: expected at least 1")

    def codes(self, pixels: np.ndarray) -> np.ndarray:
        """Codes [b, L] uint16 of pixels [b, S, S, 3]; a short batch is padded with its last image.

        Raises:
          UsageError: codes of a wrong shape or type, negative or above 65535.
        """
        count, size = len(pixels), self.batch_size
        if count < size:
            pixels = np.concatenate([pixels, np.repeat(pixels[-1:], size - count, axis=0)])
        found = np.asarray(self.encode(pixels))
        if found.ndim != 2 or len(found) != size or found.dtype.kind not in "iu":
            raise UsageError(
                f"the encoder gave {found.dtype} {list(found.shape)} for {counted(size, 'image')}:"
                f" expected integer codes [{size}, L]"
            )
        low, high = found.min(), found.max()
        if low < 0 or high > MAX_CODE:
            raise UsageError(
                f"the encoder gave code {low if low < 0 else high}: a codes file holds 0 to"
                f" {MAX_CODE}; use a tokenizer with a smaller codebook"
            )
        return found[:count].astype(np.uint16)


@dataclasses.dataclass(frozen=True)
class Host:
    """Which of how many processes this is; meet(name) waits for all of them."""

    index: int = 0
    count: int = 1
    meet: Callable[[str], None] = lambda name: None


ALONE = Host()


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def load_ahead(
    images: ImageSet,
    items: np.ndarray,
    batch_size: int,
    views: Views = PLAIN,
) -> Iterator[np.ndarray]:
    """Yields pixels [b, S, S, 3] of items, the next being read meanwhile.

    Of image i in n views, view v is item i n + v: with one view, items are indices of images.

    READ_AHEAD items are read at once, or a batch if that is larger, so that reading threads are
    not stopped and started for every small batch.
    """
    block = max(1, READ_AHEAD // batch_size) * batch_size

    def load(start: int) -> np.ndarray:
        indices, which = np.divmod(items[start : start + block], views.count)
        unique, position = np.unique(indices, return_inverse=True)
        pixels = images.read(unique)[position]

        def augment(row: int) -> None:
            index, view = int(indices[row]), int(which[row])
            rng = batches.generator(views.seed, (batches.STREAM_AUGMENT, index, view))
            pixels[row] = views.view_fn(pixels[row], rng)

        list(augmenting.map(augment, np.flatnonzero(which)))
        return pixels

    starts = range(0, len(items), block)
    if not starts:
        return
    with (
        concurrent.futures.ThreadPoolExecutor(1, "codes") as ahead,
        concurrent.futures.ThreadPoolExecutor(os.cpu_count(), "views") as augmenting,
    ):
        pending = ahead.submit(load, 0)
        for start in starts:
            pixels = pending.result()
            if start != starts[-1]:
                pending = ahead.submit(load, start + block)
            for first in range(0, len(pixels), batch_size):
                yield pixels[first : first + batch_size]


def build(
    directory: str | os.PathLike,
    images: ImageSet,
    encoding: Encoding,
    views: Views = PLAIN,
    *,
    shard_size: int = SHARD_SIZE,
    host: Host = ALONE,
) -> codes.CodesFile:
    """Encodes all images once, or finds that this was done.

    1. The first host looks for a whole folder of this key; what a stopped or damaged build left
       that is whole is taken up. The others wait for it.
    2. Every host encodes the images of its missing shards, the next being read meanwhile, and
       writes each shard whole.
    3. When all are there, the first host writes the index and renames the folder.

    Args:
      directory: holds one folder for each key; all hosts see the same.
      images: what is encoded.
      encoding: how. Its key, the images' fingerprint and the views' key name the folder; labels
        are not part of it, so that two tasks on one set of images share its codes.
      views: what is stored of each image.
      shard_size: images a shard; shard s is of host s % host.count.
      host: this one.

    Raises:
      UsageError: no images, shards of none, or codes that a codes file cannot hold.
      UserError: the disk is full or the folder cannot be written; finished shards are kept and
        the next call goes on from there.
    """
    if shard_size < 1:
        raise UsageError(f"shard_size {shard_size}: expected at least 1")
    if not len(images):
        raise UsageError(f"no images in {images.name}: nothing to encode")

    # 1. The key, a whole folder of that key, or what is whole already.
    key = {
        **encoding.key,
        "format": codes.FORMAT,
        "images": images.fingerprint,
        "views": views.key,
    }
    # Through JSON, so that it equals the key read back: tuples become lists.
    key = json.loads(json.dumps(key))
    final = pathlib.Path(directory) / codes.key_hash(key)
    partial = final.with_name(final.name + ".partial")
    index = {
        "format": codes.FORMAT,
        "key": key,
        "n": len(images),
        "views": views.count,
        "shard_size": shard_size,
        "versions": {
            "maskgit_prompt": maskgit_prompt.__version__,
            "numpy": np.__version__,
            "pillow": PIL.__version__,
        },
    }
    # Only the first host looks, so that all go the same way.
    needed = host.index == 0 and not _is_whole(final, index)
    with _alone(final) if needed else contextlib.nullcontext():
        if needed and not _is_whole(final, index):  # another run may have made it meanwhile
            with _writing(partial):
                _prepare(final, partial, index)
        host.meet("codes: prepared")
        if final.exists():
            return codes.open_unchecked(final, codes.read_index(final))

        # 2. This host's shards.
        missing = [
            (name, np.arange(shard * shard_size, min((shard + 1) * shard_size, len(images))))
            for shard, name in enumerate(codes.shard_names(len(images), shard_size))
            if shard % host.count == host.index and not _digest_path(partial, name).exists()
        ]
        began = time.perf_counter()
        count = _fill(partial, missing, images, encoding, views)
        rate = count / (time.perf_counter() - began) if count else None
        host.meet("codes: encoded")

        # 3. The index and the final name.
        if host.index == 0:
            _finish(partial, final, index)
        host.meet("codes: finished")
    return codes.open_unchecked(final, codes.read_index(final), rate)


@contextlib.contextmanager
def _alone(final: pathlib.Path) -> Iterator[None]:
    """The first of several runs that lack the same codes makes them; the others wait for it."""
    path = final.with_name(final.name + ".lock")
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)

    def waiting(owner: str) -> None:
        logging.warning("%s is encoding %s: waiting for it", owner, final)

    with contextlib.ExitStack() as stack:
        with _writing(path):
            stack.enter_context(hold(path, waiting))
        yield


def _is_whole(final: pathlib.Path, index: dict) -> bool:
    """Whether a folder is there with this index's key and checksums that hold."""
    return final.exists() and not _wrong(final, index)


def _wrong(final: pathlib.Path, index: dict) -> list[str]:
    """Files of a folder that are missing or damaged, or its index, if that is of other images."""
    found = codes.read_index(final)
    if not found or (found["key"], found["n"]) != (index["key"], index["n"]):
        return ["index.json"]
    return codes.broken(final, found)


@contextlib.contextmanager
def _writing(partial: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"codes folder {partial} cannot be made ({error.strerror or error}): check permissions"
            " and room, or choose another folder"
        ) from error


def _digest_path(partial: pathlib.Path, shard: str) -> pathlib.Path:
    return (partial / shard).with_suffix(".sha256")


def _prepare(final: pathlib.Path, partial: pathlib.Path, index: dict) -> None:
    """Makes the .partial folder ready to be filled: it holds whole shards and their digests."""
    names = codes.shard_names(index["n"], index["shard_size"])
    same = lambda found: (
        found and all(found.get(k) == v for k, v in index.items() if k != "versions")
    )
    if final.exists():
        wrong = ", ".join(_wrong(final, index))
        logging.warning("codes file %s: %s broken, encoding again", final, wrong)
        found = codes.read_index(final)
        shutil.rmtree(partial, ignore_errors=True)
        os.rename(final, partial)
        if same(found):
            for name in found.get("files", {}).keys() & set(names):
                write_whole(_digest_path(partial, name), found["files"][name].encode())
    elif not same(codes.read_index(partial)):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    for path in partial.glob(".*.tmp"):  # of a killed build
        path.unlink()
    for name in names:
        path = _digest_path(partial, name)
        if path.exists() and path.read_bytes() != (codes.sha256(partial / name) or "").encode():
            path.unlink()
    _write_index(partial, index)


def _fill(
    partial: pathlib.Path,
    missing: list[tuple[str, np.ndarray]],
    images: ImageSet,
    encoding: Encoding,
    views: Views,
) -> int:
    """Writes shards, given as (file name, image indices); returns how many codes it made."""
    items = [(rows[:, None] * views.count + np.arange(views.count)).ravel() for _, rows in missing]
    items = np.concatenate([np.zeros(0, np.int64), *items])
    shards = collections.deque(missing)
    waiting: list[np.ndarray] = []  # codes [b, L] of the first of shards, and of later ones
    with progress(len(items), "encode", "image") as bar:
        # Batches run on from one shard into the next: only the very last one is padded.
        for pixels in load_ahead(images, items, encoding.batch_size, views):
            waiting.append(encoding.codes(pixels))
            bar.update(len(pixels))
            while shards and sum(map(len, waiting)) >= len(shards[0][1]) * views.count:
                name, rows = shards.popleft()
                ready = np.concatenate(waiting)
                count = len(rows) * views.count
                data = _npy(ready[:count].reshape(len(rows), views.count, -1))  # [m, views, L]
                write_whole(partial / name, data, any_host=True)
                digest = hashlib.sha256(data).hexdigest()
                write_whole(_digest_path(partial, name), digest.encode(), any_host=True)
                waiting = [ready[count:]]
    return len(items)


def _finish(partial: pathlib.Path, final: pathlib.Path, index: dict) -> None:
    """Index and rename, once every shard is there."""
    names = codes.shard_names(index["n"], index["shard_size"])
    lengths = {name: np.load(partial / name, mmap_mode="r").shape[2] for name in names}
    if len(set(lengths.values())) > 1:
        first, other = names[0], next(n for n in names if lengths[n] != lengths[names[0]])
        raise UsageError(
            f"{partial} holds {lengths[first]} codes per image in {first} and {lengths[other]} in "
            f"{other}: put what changed into the key"
        )
    files = {name: _digest_path(partial, name).read_text() for name in names}
    _write_index(partial, index | {"L": lengths[names[0]], "files": files})
    for name in names:
        _digest_path(partial, name).unlink()
    try:
        os.rename(partial, final)
    except OSError as error:
        raise UserError(
            f"codes folder {partial} cannot be renamed to {final.name} ({error.strerror or error}):"
            " is another run encoding the same images? wait for it and start again"
        ) from error


def _write_index(folder: pathlib.Path, index: dict) -> None:
    write_whole(folder / "index.json", json.dumps(index, indent=1).encode())
