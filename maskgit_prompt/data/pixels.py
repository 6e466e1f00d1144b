"""One image file's bytes to pixels: what Pillow reads, upright, on white, square, resized."""

import io
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps

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


def decode_image(data: bytes, size: int, gain: int = 1) -> np.ndarray:
    """Pixels of one image file.

    Turned upright by its EXIF orientation; 16-bit and float greyscale scaled to 8 bits;
    palette, greyscale and CMYK made RGB (colour profiles are not applied); transparent images are
    laid on white; of an animation the first frame. Then the middle square is cut out and resized
    with an antialiased Lanczos filter.

    Args:
      data: the file's bytes, in any format Pillow reads.
      size: S, the side of the result in pixels.
      gain: what 8-bit values are multiplied by, cut at 255; 255 makes black and white of 0 and 1.

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
    if gain != 1:
        upright = upright.point(lambda value: value * gain)
    side = min(upright.size)
    left, top = (upright.width - side) // 2, (upright.height - side) // 2
    square = upright.crop((left, top, left + side, top + side))
    if side != size:
        square = square.resize((size, size), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return np.asarray(square)  # [S, S, 3]


def reason(error: Exception) -> str:
    """One short line: why a file is no image."""
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]
