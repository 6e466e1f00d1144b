"""Images from a folder: PATH/CLASS/*.png|jpg|..., or a flat folder as one class."""

import concurrent.futures
import hashlib
import io
import os
import pathlib
import struct
import zlib
from collections.abc import Sequence

import numpy as np
from absl import logging
from PIL import Image, ImageOps

from maskgit_prompt.data.images import ImageSet
from maskgit_prompt.errors import UsageError, UserError
from maskgit_prompt.progress import progress

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")

# Part of every fingerprint: raise the number when `decode_image` gives other pixels.
PREPROCESSING = "folder-1: exif, 8 bit, on white, centre crop, lanczos"

# What Pillow's readers raise on damaged files, besides OSError, which UnidentifiedImageError is.
BROKEN = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    NotImplementedError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)

_CHUNK = 32  # files a thread takes at a time
_NAMED = 10  # skipped files a warning names


def _eight_bit(image: Image.Image) -> Image.Image:
    """Scales 16-bit, 32-bit and float greyscale to mode L.

    Full scale is the smallest of the usual ones that holds the brightest pixel: 65535 for 16-bit
    modes; 65535 or 2147483647 for mode I; 1, 255, 65535 or the brightest pixel itself for mode F.
    Of 16 bits, 0, 257, 32896 and 65535 become 0, 1, 128 and 255. Below 0 and NaN is black.
    """
    values = np.nan_to_num(np.asarray(image).astype(np.float64), nan=0.0, posinf=0.0)
    top = float(values.max())
    if image.mode == "F":
        scales = (1.0, 255.0, 65535.0, top)
    elif image.mode == "I":
        scales = (65535.0, 2147483647.0)
    else:
        scales = (65535.0,)
    scale = next(scale for scale in scales if top <= scale)
    values = np.clip(values / scale, 0.0, 1.0) * 255.0
    return Image.fromarray(np.round(values).astype(np.uint8))


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return _eight_bit(image).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def decode_image(data: bytes, size: int) -> np.ndarray:
    """Pixels of one image file.

    Turned upright by its EXIF orientation; 16-bit and float greyscale scaled to 8 bits;
    palette, greyscale and CMYK made RGB (colour profiles are not applied); transparent images are
    laid on white; of an animation the first frame. Then the middle square is cut out and resized
    with an antialiased Lanczos filter.

    Args:
      data: the file's bytes, in any format Pillow reads.
      size: S, the side of the result in pixels.

    Returns:
      uint8 [S, S, 3].

    Raises:
      any of BROKEN: the bytes are no whole image.
    """
    if not data:
        raise ValueError("the file is empty")
    with Image.open(io.BytesIO(data)) as image:
        # JPEG only: decodes at 1/2, 1/4 or 1/8 when that still leaves twice the size asked for.
        image.draft(None, (2 * size, 2 * size))
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        upright = _rgb(image)
    side = min(upright.size)
    left, top = (upright.width - side) // 2, (upright.height - side) // 2
    square = upright.crop((left, top, left + side, top + side))
    if side != size:
        square = square.resize((size, size), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return np.asarray(square)  # [S, S, 3]


def _reason(error: Exception) -> str:
    """One short line: why a file is no image."""
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]


def _entries(folder: pathlib.Path) -> tuple[list[os.DirEntry], list[os.DirEntry]]:
    """(image files, subfolders) of a folder by name; hidden ones and other files left out."""
    try:
        with os.scandir(folder) as found:
            entries = sorted((e for e in found if not e.name.startswith(".")), key=lambda e: e.name)
    except OSError as error:
        raise UserError(
            f"folder {folder} cannot be read ({_reason(error)}): check its permissions"
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


class _Reader:
    """Reads and decodes files of one folder in threads."""

    def __init__(self, folder: pathlib.Path, size: int, threads: int):
        self.folder = folder
        self.size = size
        self.threads = threads
        self.names: Sequence[str] = ()
        self.digests: Sequence[bytes] = ()
        # Pillow lets go of the interpreter lock while it decodes and resizes.
        self._pool = concurrent.futures.ThreadPoolExecutor(threads, "images")

    def _load(self, name: str) -> tuple[bytes, np.ndarray]:
        data = (self.folder / name).read_bytes()
        return hashlib.sha256(data).digest(), decode_image(data, self.size)

    def _scan_some(self, names: Sequence[str]) -> list[bytes | str]:
        results: list[bytes | str] = []
        for name in names:
            try:
                results.append(self._load(name)[0])
            except BROKEN as error:
                results.append(_reason(error))
        return results

    def scan(self, names: Sequence[str]) -> list[bytes | str]:
        """For each file its digest or, as text, what is wrong with it."""
        chunks = [names[start : start + _CHUNK] for start in range(0, len(names), _CHUNK)]
        results: list[bytes | str] = []
        with progress(len(names), f"scan {self.folder.name}", "image", delay=5.0) as bar:
            for part in self._pool.map(self._scan_some, chunks):
                results += part
                bar.update(len(part))
        return results

    def __call__(self, indices: np.ndarray) -> np.ndarray:
        indices = np.asarray(indices)
        pixels = np.empty([len(indices), self.size, self.size, 3], np.uint8)
        # Small batches are shared out among all threads, too.
        chunk = max(1, min(_CHUNK, -(-len(indices) // self.threads)))

        def fill(start: int) -> None:
            for row in range(start, min(start + chunk, len(indices))):
                index = indices[row]
                try:
                    digest, pixels[row] = self._load(self.names[index])
                except BROKEN as error:
                    raise self._changed(index, _reason(error)) from error
                if digest != self.digests[index]:
                    raise self._changed(index, "other contents")

        # list() so that an error in a thread is raised here.
        list(self._pool.map(fill, range(0, len(indices), chunk)))
        return pixels

    def _changed(self, index: int, reason: str) -> UserError:
        path = self.folder / self.names[index]
        return UserError(f"{path} changed while in use ({reason}): start the run again")


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
    reader = _Reader(folder, size, threads or os.cpu_count() or 1)
    scanned = reader.scan(names)
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
    reader.names = tuple(names[row] for row in good)
    reader.digests = tuple(scanned[row] for row in good)
    digest = hashlib.sha256(f"{PREPROCESSING}|{size}".encode())
    for name, content in zip(reader.names, reader.digests, strict=True):
        # A name cannot hold a zero byte and a digest has 32: no two lists run together alike.
        digest.update(b"\0" + os.fsencode(name) + b"\0" + content)
    return ImageSet(
        name=folder.resolve().name,
        classes=classes,
        labels=kept,
        ids=reader.names,
        fingerprint=digest.hexdigest(),
        read=reader,
    )
