"""One image file's bytes to pixels: what Pillow reads, upright, on white, square, resized."""

import dataclasses
import io
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps

from maskgit_prompt.errors import UsageError

# How an image becomes square, and what recipes call it.
FITS = {"crop": "centre crop", "resize": "resized straight"}
_FILTERS = {"lanczos": Image.Resampling.LANCZOS, "bicubic": Image.Resampling.BICUBIC}

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


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """How pixels are made of an image; a parameter of every data set.

    Attributes:
      size: S, the side of the result in pixels.
      fit: how an image becomes square. "crop" cuts out the middle square; "resize" resizes the
        whole image straight to S x S, whatever its sides are.
      gain: what 8-bit values are multiplied by, cut at 255; 255 makes black and white of 0 and 1.
      resample: the antialiased filter that resizes: "lanczos" or "bicubic".

    Raises:
      UsageError: a size below 1, or a fit that is not of FITS.
    """

    size: int
    fit: str = "crop"
    gain: int = 1
    resample: str = "lanczos"

    def __post_init__(self):
        if self.size < 1:
            raise UsageError(f"image size {self.size}: expected at least 1 pixel")
        if self.fit not in FITS:
            raise UsageError(f"fit {self.fit!r}: expected {' or '.join(FITS)}")

    @property
    def steps(self) -> str:
        """What `decode_image` does to a file, without the numbers.

        Part of every fingerprint: raise its number when the same steps give other pixels.
        """
        return f"folder-1: exif, 8 bit, on white, {FITS[self.fit]}, {self.resample}"

    @property
    def recipe(self) -> str:
        """The steps and their numbers: equal recipes make equal pixels of equal files.

        Preprocessing(32) is "folder-1: exif, 8 bit, on white, centre crop, lanczos|32"; a gain of
        255 adds "|255".
        """
        return f"{self.steps}|{self.size}" + (f"|{self.gain}" if self.gain != 1 else "")

    def square(self, image: Image.Image) -> Image.Image:
        """An image of 8 bits a channel, of any size, as S x S."""
        if self.gain != 1:
            image = image.point(lambda value: value * self.gain)
        if self.fit == "crop":
            side = min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            image = image.crop((left, top, left + side, top + side))
        if image.size != (self.size, self.size):
            filter_ = _FILTERS[self.resample]
            image = image.resize((self.size, self.size), filter_, reducing_gap=3.0)
        return image


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


def decode_image(data: bytes, preprocessing: Preprocessing) -> np.ndarray:
    """Pixels of one image file.

    Turned upright by its EXIF orientation; 16-bit and float greyscale scaled to 8 bits;
    palette, greyscale and CMYK made RGB (colour profiles are not applied); transparent images are
    laid on white; animations: the first frame. Then made square as `preprocessing` says.

    Args:
      data: the file's bytes, in any format Pillow reads.

    Returns:
      uint8 [S, S, 3].

    Raises:
      any of BROKEN: the bytes are not a whole image.
    """
    if not data:
        raise ValueError("the file is empty")
    size = preprocessing.size
    with Image.open(io.BytesIO(data)) as image:
        # JPEG only: decodes at 1/2, 1/4 or 1/8 when that still leaves twice the size asked for.
        image.draft(None, (2 * size, 2 * size))
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        upright = _rgb(image)
    return np.asarray(preprocessing.square(upright))  # [S, S, 3]


def reason(error: Exception) -> str:
    """One short line: why a file is not an image."""
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]
