"""Images from a folder: PATH/CLASS/*.png|jpg|..., or a flat folder as one class."""

import concurrent.futures
import functools
import hashlib
import os
import pathlib
from collections.abc import Sequence

import numpy as np
from absl import logging

from maskgit_prompt.data.images import ImageSet, Reader
from maskgit_prompt.data.pixels import BROKEN, PREPROCESSING, decode_image, reason
from maskgit_prompt.errors import UsageError, UserError
from maskgit_prompt.progress import progress

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")

_CHUNK = 32  # files a thread takes at a time
_NAMED = 10  # skipped files a warning names


def _entries(folder: pathlib.Path) -> tuple[list[os.DirEntry], list[os.DirEntry]]:
    """(image files, subfolders) of a folder by name; hidden ones and other files left out."""
    try:
        with os.scandir(folder) as found:
            entries = sorted((e for e in found if not e.name.startswith(".")), key=lambda e: e.name)
    except OSError as error:
        raise UserError(
            f"folder {folder} cannot be read ({reason(error)}): check its permissions"
        ) from error
    folders = [entry for entry in entries if entry.is_dir()]
    files = [e for e in entries if e.name.lower().endswith(SUFFIXES) and not e.is_dir()]
    return files, folders


def _below(folder: pathlib.Path, prefix: str) -> list[str]:
    """Names, relative and with "/", of all images below a folder, sorted."""
    files, folders = _entries(folder)
    names = [prefix + entry.name for entry in files]
    for entry in folders:
        # A link to a folder may lead back up: only the class folders themselves may be links.
        if not entry.is_symlink():
            names += _below(folder / entry.name, f"{prefix}{entry.name}/")
    return sorted(names)


def _list(folder: pathlib.Path) -> tuple[tuple[str, ...], list[str], list[int]]:
    """(class names, relative names of all images, their labels), classes and names sorted."""
    if not folder.exists():
        raise UsageError(
            f"no folder {folder} (working folder {pathlib.Path.cwd()}): check the path"
        )
    if not folder.is_dir():
        raise UsageError(
            f"{folder} is a file: expected a folder of images, PATH/CLASS/*.png or PATH/*.png"
        )
    files, folders = _entries(folder)
    by_class = {entry.name: _below(folder / entry.name, f"{entry.name}/") for entry in folders}
    filled = [name for name, names in by_class.items() if names]
    if not files and not filled:
        raise UserError(
            f"no images in {folder}: expected PATH/CLASS/*.png or PATH/*.png"
            f" (or {', '.join(suffix[1:] for suffix in SUFFIXES[1:])})"
        )
    if files and filled:
        raise UserError(
            f"{folder} holds {len(files)} images ({files[0].name}, ...) beside class folders"
            f" ({filled[0]}, ...): move them into a class folder, or the folders away"
        )
    if files:
        by_class = {folder.resolve().name: [entry.name for entry in files]}
    for name, names in by_class.items():
        if not names:
            raise UserError(
                f"class {name!r} has no images ({folder / name}): add some or remove the folder"
            )
    labels = [label for label, names in enumerate(by_class.values()) for _ in names]
    return tuple(by_class), [name for names in by_class.values() for name in names], labels


def _scan(folder: pathlib.Path, names: Sequence[str], size: int, threads: int) -> list[bytes | str]:
    """For each file its digest or, as text, what is wrong with it."""

    def some(names: Sequence[str]) -> list[bytes | str]:
        results: list[bytes | str] = []
        for name in names:
            try:
                data = (folder / name).read_bytes()
                decode_image(data, size)
                results.append(hashlib.sha256(data).digest())
            except BROKEN as error:
                results.append(reason(error))
        return results

    chunks = [names[start : start + _CHUNK] for start in range(0, len(names), _CHUNK)]
    results: list[bytes | str] = []
    with (
        progress(len(names), f"scan {folder.name}", "image", delay=5.0) as bar,
        concurrent.futures.ThreadPoolExecutor(threads, "scan") as pool,
    ):
        for part in pool.map(some, chunks):
            results += part
            bar.update(len(part))
    return results


def _refuse_or_warn(folder: pathlib.Path, bad: list[tuple[str, str]], total: int, strict: bool):
    named = ", ".join(f"{name} ({reason})" for name, reason in bad[:_NAMED])
    more = f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
    if strict:
        raise UserError(
            f"{len(bad)} of {total} images in {folder} cannot be read: {named}{more};"
            " mend or remove them, or leave strict off to skip them"
        )
    logging.warning("skipped %d of %d images in %s: %s%s", len(bad), total, folder, named, more)


def image_folder(
    path: str | os.PathLike, size: int, strict: bool = False, threads: int | None = None
) -> ImageSet:
    """A folder of images: PATH/CLASS/*.png|jpg|jpeg|webp|bmp|gif|tif|tiff, or flat.

    Classes are the sorted names of the folders in PATH; images may lie in folders below them. A
    flat folder is one class with the folder's name. Hidden files and folders are left out.
    Every file is read and decoded once here; those that are no whole image are skipped with a
    warning that names and counts them. How pixels are made: `decode_image`.

    The fingerprint covers each file's name below PATH and bytes, the size and PREPROCESSING. A
    file that changes after that is an error when it is read.

    Args:
      path: the folder.
      size: S, side of the images in pixels.
      strict: refuse a folder with broken images instead of skipping them.
      threads: that read and decode; as many as there are cores when None.

    Raises:
      UsageError: no such folder, a file, or a size below 1.
      UserError: no images, an empty class, images beside class folders, a folder that cannot
        be read, or (strict) a broken image.
    """
    if size < 1:
        raise UsageError(f"image size {size}: expected at least 1 pixel")
    folder = pathlib.Path(path).expanduser()
    classes, names, labels = _list(folder)
    scanned = _scan(folder, names, size, threads or os.cpu_count() or 1)
    bad = [row for row, found in enumerate(scanned) if isinstance(found, str)]
    if bad:
        reasons = [(names[row], scanned[row]) for row in bad]
        _refuse_or_warn(folder, reasons, len(names), strict)
    good = [row for row, found in enumerate(scanned) if isinstance(found, bytes)]
    kept = np.array([labels[row] for row in good], np.int32)
    for label in np.flatnonzero(np.bincount(kept, minlength=len(classes)) == 0):
        row = labels.index(label)
        raise UserError(
            f"class {classes[label]!r} has no images left: all its files are broken, the first is"
            f" {names[row]} ({scanned[row]}); add whole images or remove the folder"
        )
    kept_names = tuple(names[row] for row in good)
    digest = hashlib.sha256(f"{PREPROCESSING}|{size}".encode())
    for row in good:
        # A name cannot hold a zero byte and a digest has 32: no two lists run together alike.
        digest.update(b"\0" + os.fsencode(names[row]) + b"\0" + scanned[row])

    def fetch(indices: np.ndarray) -> list[tuple[bytes, bytes]]:
        found = []
        for index in indices:
            path = folder / kept_names[index]
            try:
                data = path.read_bytes()
            except OSError as error:
                raise UserError(
                    f"{path} changed while in use ({reason(error)}): start the run again"
                ) from error
            found.append((data, data))
        return found

    digests = np.frombuffer(b"".join(scanned[row] for row in good), np.uint8).reshape(-1, 32)
    decode = functools.partial(decode_image, size=size)
    return ImageSet(
        name=folder.resolve().name,
        classes=classes,
        labels=kept,
        ids=kept_names,
        fingerprint=digest.hexdigest(),
        read=Reader(fetch, decode, [str(folder / n) for n in kept_names], digests, size, threads),
    )
