"""Formats of image files: their endings, who opens them, and where libraries' warnings go."""

import contextlib
import ctypes
import functools
import importlib.util
import io
import logging
import os
import pathlib
import threading
import warnings
from collections.abc import Iterator

import PIL
from PIL import Image

SUFFIXES = (
    (".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo", ".webp", ".bmp", ".dib")
    + (".gif", ".tif", ".tiff", ".heic", ".heif", ".hif", ".avif", ".jp2", ".j2k", ".jpx")
    + (".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".tga", ".ico", ".pcx", ".qoi")
)
ENDINGS = ", ".join(suffix[1:] for suffix in SUFFIXES)

_RAW = "camera raw (export it as JPEG or TIFF)"
_DRAWING = "a drawing or a page (export it as PNG)"
_FILM = "a film (export its frames as PNG)"
_LAYERS = "layers (export them as PNG)"
_ARRAY = "measured values (save them as PNG or TIFF)"
_ARCHIVE = "an archive (unpack it, or name it as config.data.path)"
# Endings of pictures that are not read, and the way out.
NOTES = {
    **dict.fromkeys((".nef", ".cr2", ".cr3", ".arw", ".dng", ".orf", ".rw2", ".raf"), _RAW),
    **dict.fromkeys((".svg", ".svgz", ".eps", ".ai", ".pdf", ".wmf", ".emf"), _DRAWING),
    **dict.fromkeys((".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg"), _FILM),
    **dict.fromkeys((".psd", ".psb", ".xcf", ".kra"), _LAYERS),
    **dict.fromkeys((".npy", ".npz", ".mat", ".h5", ".dcm", ".nii", ".fits", ".exr"), _ARRAY),
    **dict.fromkeys((".zip", ".tar", ".gz", ".tgz", ".rar", ".7z"), _ARCHIVE),
    ".jxl": "JPEG XL (convert it to PNG)",
    ".csv": "a table (--config.data.csv takes classes from it)",
}

_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}


def is_image(name: str) -> bool:
    """Whether a name ends like an image's: "a.PNG" does, "notes.txt" does not."""
    return name.lower().endswith(SUFFIXES)


def readers() -> str:
    """What reads images here: a file that one of them cannot read another may."""
    heif = importlib.util.find_spec("pillow_heif") is not None
    return f"pillow {PIL.__version__}, {'with' if heif else 'without'} heif"


def open_image(data: bytes) -> Image.Image:
    """An image that is not decoded yet.

    Raises:
      NotImplementedError: it is HEIC, and the package that reads it is not installed.
      any of pixels.BROKEN: the bytes do not begin like an image.
    """
    _silence_libtiff()
    # Ours is the limit that messages name and a setting raises: pixels.Preprocessing.max_pixels.
    Image.MAX_IMAGE_PIXELS = None
    try:
        return Image.open(io.BytesIO(data))
    except Image.UnidentifiedImageError:
        if data[4:8] != b"ftyp" or data[8:12] not in _BRANDS:
            raise
    _read_heif()
    return Image.open(io.BytesIO(data))


@functools.cache
def _read_heif() -> None:
    try:
        import pillow_heif
    except ImportError as error:
        raise NotImplementedError(
            "HEIC, which pillow-heif reads: pip install -e '.[heic]'"
        ) from error
    pillow_heif.register_heif_opener()


@functools.cache
def _silence_libtiff() -> None:
    """libtiff writes to stderr what Pillow raises, too, without the file's name."""
    package = pathlib.Path(PIL.__file__).parent
    folders = (package.with_name("pillow.libs"), package / ".dylibs")  # of wheels
    for path in (path for folder in folders for path in folder.glob("libtiff*")):
        library = ctypes.CDLL(os.fspath(path))  # the one that Pillow has loaded
        library.TIFFSetErrorHandler(None)
        library.TIFFSetWarningHandler(None)


# --- Warnings ------------------------------------------------------------------------------------

_listening = threading.local()
_installing = threading.Lock()


@contextlib.contextmanager
def overheard() -> Iterator[list[str]]:
    """What image libraries warn of in this thread, a line each, in place of stderr."""
    _install()
    before, _listening.lines = getattr(_listening, "lines", None), []
    try:
        yield _listening.lines
    finally:
        _listening.lines = before


def _install() -> None:
    # Once and for good: warnings.catch_warnings changes what all threads see, and undoes in one
    # what another has just done.
    with _installing:
        if not isinstance(warnings.showwarning, _Show):
            warnings.showwarning = _Show(warnings.showwarning)
            # Else a warning is shown for the first file alone.
            warnings.filterwarnings("always", module=r"(PIL|pillow_heif|maskgit_prompt\.data)\b")
        pillow = logging.getLogger("PIL")
        if not any(isinstance(handler, _Log) for handler in pillow.handlers):
            pillow.addHandler(_Log(logging.WARNING))
            pillow.propagate = False


class _Show:
    """warnings.showwarning: to the thread that listens, else as before."""

    def __init__(self, before):
        self._before = before

    def __call__(self, message, category, filename, lineno, file=None, line=None):
        if not _heard(str(message)):
            self._before(message, category, filename, lineno, file, line)


class _Log(logging.Handler):
    """What Pillow logs: to the thread that listens, else as before."""

    def emit(self, record: logging.LogRecord) -> None:
        if not _heard(record.getMessage()):
            logging.getLogger().handle(record)


def _heard(text: str) -> bool:
    """Whether this thread listens; then it has the text as one line, once."""
    lines = getattr(_listening, "lines", None)
    line = " ".join(text.split())
    if lines is not None and line not in lines:
        lines.append(line)
    return lines is not None
