"""A picture as it is kept: cut to what is drawn, small, transparent where it was, without loss."""

import io

import numpy as np
from PIL import Image

from maskgit_prompt.data.formats import open_image

LARGEST = 20_000_000  # pixels; drawings of more take seconds and a gigabyte each
LEAST = 24  # pixels a side of what is drawn: less would be blown up
NARROW = 5  # times as long as wide, at most: a square of less is mostly ground
FAINT = 0.02  # share of the picture that must be covered
PLAIN = 3.0  # standard deviation, of 255, that an opaque picture must exceed


class Unfit(Exception):
    """A picture that is left out; the message is the reason."""


def opened(data: bytes) -> Image.Image:
    """The picture in a file, RGBA.

    Raises:
      Unfit: of more than LARGEST pixels; it is not decoded.
    """
    with open_image(data) as image:
        if image.width * image.height > LARGEST:
            raise Unfit(f"more than {LARGEST:,} pixels")
        return image.convert("RGBA")


def trimmed(image: Image.Image) -> Image.Image:
    """An RGBA picture without the page around the drawing, be it transparent or of one colour.

    Raises:
      Unfit: nothing is drawn, less than LEAST pixels a side, or a strip.
    """
    pixels = np.asarray(image)  # [H, W, 4]
    corners = pixels[[0, 0, -1, -1], [0, -1, 0, -1]]  # [4, 4]
    drawn = pixels[..., 3] > 0
    if (corners == corners[0]).all():
        drawn &= (pixels != corners[0]).any(-1)
    rows, columns = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
    if not len(rows):
        raise Unfit("blank")
    image = image.crop((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    if max(image.size) < LEAST:
        raise Unfit(f"less than {LEAST} pixels a side")
    if max(image.size) > NARROW * min(image.size):
        raise Unfit(f"more than {NARROW} times as long as wide")
    return image


def shrunk(image: Image.Image, side: int) -> Image.Image:
    """An RGBA picture of at most `side` pixels a side; never enlarged.

    Colours are weighted by their opacity, so that what hides under transparent pixels does not
    shine through; hidden colours become 0.

    Raises:
      Unfit: blank or faint.
    """
    image = image.copy()
    # Pillow weighs RGBA by opacity when it resizes.
    image.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=None)
    pixels = np.array(image)  # [H, W, 4]
    opacity = pixels[..., 3]
    pixels[opacity == 0] = 0
    if opacity.mean() < FAINT * 255:
        raise Unfit("faint")
    if opacity.min() == 255 and pixels[..., :3].std(axis=(0, 1)).max() < PLAIN:
        raise Unfit("blank")
    return Image.fromarray(pixels)


def encoded(image: Image.Image) -> bytes:
    """An RGBA picture as lossless WebP, without an alpha channel where nothing is transparent."""
    if image.getchannel("A").getextrema()[0] == 255:
        image = image.convert("RGB")
    file = io.BytesIO()
    image.save(file, "WEBP", lossless=True, quality=80, method=4)
    return file.getvalue()
