"""One image file's bytes to pixels: what Pillow reads, upright, on white, square, resized."""

import contextlib
import dataclasses
import struct
import threading
import zlib

import numpy as np
from PIL import Image, ImageOps

from maskgit_prompt.data import depth
from maskgit_prompt.data.formats import open_image, overheard
from maskgit_prompt.data.names import legible
from maskgit_prompt.errors import UsageError

# How an image becomes square, and what recipes call it.
FITS = {
    "crop": "centre crop",
    "resize": "resized straight",
    "pad": "padded with its edge",
    "inside": "centre of 8/7",
}
Place = tuple[float, float]  # from the left and from the top, 0 to 1
MAX_PIXELS = 300_000_000  # phones make 200 million; a scan of 20,000 x 15,000
_FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
}

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
    MemoryError,
    struct.error,
    zlib.error,
)

# Images that are decoded to more pixels than this take turns, so that a machine of many cores does
# not hold one for each: 2**26 pixels of RGB take 256 MB.
_HUGE = 2**26
_one_huge_at_a_time = threading.Lock()

_ORIENTATION, _TURNED = 0x0112, (5, 6, 7, 8)  # EXIF: width and height are exchanged


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """How pixels are made of an image; a parameter of every data set.

    Attributes:
      size: S, the side of the result in pixels.
      fit: how an image becomes square. "crop" cuts out the middle square; "resize" resizes the
        whole image straight to S x S, whatever its sides are; "pad" resizes it until it fits and
        fills the rest with the median colour of the outermost pixels; "inside" resizes the shorter
        side to 8/7 of S, rounded down, and cuts out the middle: 256 for 224.
      gain: what 8-bit values are multiplied by, cut at 255; 255 makes black and white of 0 and 1.
      resample: the antialiased filter that resizes: "lanczos", "bicubic" or "bilinear".
      full_scale: which value is white in images of more than 8 bits; 0: what the format states.
      unstated_scale: the same where the format does not state it; 0: found for each image.
      stated_depths: whether some of the images state another depth than 16 bits.
      max_pixels: images of more are not decoded.
      alpha: keep transparency as a fourth channel, 255 where opaque, rather than lay the image on
        white.

    Raises:
      UsageError: a size or max_pixels below 1, a full_scale below 0, or a fit that is not of FITS.
    """

    size: int
    fit: str = "crop"
    gain: int = 1
    resample: str = "lanczos"
    full_scale: float = 0.0
    unstated_scale: float = 0.0
    stated_depths: bool = False
    max_pixels: int = MAX_PIXELS
    alpha: bool = False

    def __post_init__(self):
        if self.size < 1:
            raise UsageError(f"image size {self.size}: expected at least 1 pixel")
        if self.fit not in FITS:
            raise UsageError(f"fit {self.fit!r}: expected {' or '.join(FITS)}")
        if not 0 <= self.full_scale < float("inf"):
            raise UsageError(
                f"config.data.full_scale = {self.full_scale}, expected the value that is white, or "
                "0 to take what the files state"
            )
        if self.max_pixels < 1:
            raise UsageError(f"config.data.max_pixels = {self.max_pixels}, expected at least 1")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(S, S, C): red, green, blue, and alpha if it is kept."""
        return self.size, self.size, 4 if self.alpha else 3

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
        255 adds "|255", and so do rules that came later, for the images that they concern.
        """
        later = {
            f"{self.gain}": self.gain != 1,
            f"full scale {self.full_scale:g}": self.full_scale,
            f"where none is stated {self.unstated_scale:g}": self.unstated_scale,
            "stated depths": self.stated_depths,
            "alpha": self.alpha,
        }
        words = [word for word, holds in later.items() if holds]
        return "|".join([self.steps, str(self.size), *words])

    def square(self, image: Image.Image, place: Place = (0.5, 0.5)) -> Image.Image:
        """An image of 8 bits a channel, of any size, as S x S.

        place: with "inside", where the square is cut out: of 5 columns and S = 3, 0 begins at
        column 0, 0.5 at column 1, and just below 1 at column 2.
        """
        if self.gain != 1:
            image = image.point(lambda value: value * self.gain)
        if self.fit == "crop":
            side = min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            image = image.crop((left, top, left + side, top + side))
        if self.fit == "inside":
            return self._inside(image, place)
        if self.fit == "pad" and image.width != image.height:
            return self._padded(image)
        return self._resized(image, (self.size, self.size))

    def _resized(self, image: Image.Image, size: tuple[int, int]) -> Image.Image:
        if image.size == size:
            return image
        return image.resize(size, _FILTERS[self.resample], reducing_gap=3.0)

    def _inside(self, image: Image.Image, place: Place) -> Image.Image:
        shorter, side = self.size * 8 // 7, min(image.size)
        image = self._resized(image, tuple(length * shorter // side for length in image.size))
        room = [length - self.size + 1 for length in image.size]
        left, top = (min(n - 1, int(n * p)) for n, p in zip(room, place, strict=True))
        return image.crop((left, top, left + self.size, top + self.size))

    def _padded(self, image: Image.Image) -> Image.Image:
        longer = max(image.size)
        fitting = tuple(max(1, round(side * self.size / longer)) for side in image.size)
        image = self._resized(image, fitting)
        pixels = np.asarray(image)
        edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        colour = np.round(np.median(edge, axis=0)).astype(int)
        padded = Image.new(
            image.mode, (self.size, self.size), tuple(np.atleast_1d(colour).tolist())
        )
        padded.paste(image, ((self.size - image.width) // 2, (self.size - image.height) // 2))
        return padded


@dataclasses.dataclass(frozen=True)
class Examined:
    """A decoded image and what was seen of its file.

    Attributes:
      pixels: uint8 [S, S, C], see Preprocessing.shape.
      size: (width, height) of the upright image in the file.
      deep: more than 8 bits a channel.
      stated: the full scale that the format states; None where it states none, or for 8 bits.
      value_range: (what nearly all values do not exceed, the largest) where it states none.
      darkest: what nearly all values are not below, where it states none.
      scalable: whether a full scale that is given holds for it.
      halved: 16 bits a channel of which the upper 8 were read.
      notes: what libraries warned of, and what of its values is lost.
    """

    pixels: np.ndarray
    size: tuple[int, int]
    deep: bool
    stated: float | None
    value_range: tuple[float, float] | None
    darkest: float | None
    scalable: bool
    halved: bool
    notes: tuple[str, ...]

    @property
    def dark(self) -> bool:
        """Nearly black: what a wrong full scale makes of an image."""
        # The mean is known sooner, and of few images it is so low.
        shown = self.pixels[..., :3]
        if self.pixels.shape[-1] == 4:  # as on white
            shown = np.maximum(shown, 255 - self.pixels[..., 3:])
        low = shown.mean() < 2 * depth.DARK
        return bool(low) and depth.value_range(shown)[0] < depth.DARK

    @property
    def bright(self) -> bool:
        """Nearly white, and opaque where alpha is kept."""
        high = self.pixels.mean() > 255 - 2 * depth.DARK
        return bool(high) and depth.value_range(255 - self.pixels)[0] < depth.DARK


def _in_colour(image: Image.Image, alpha: bool) -> Image.Image:
    """An image of 8 bits a channel in mode RGBA, or on white in mode RGB."""
    if alpha:
        return image.convert("RGBA")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def decode_image(
    data: bytes, preprocessing: Preprocessing, place: Place = (0.5, 0.5)
) -> np.ndarray:
    """Pixels of one image file, uint8 [S, S, C]: see `examine`."""
    return examine(data, preprocessing, place).pixels


def examine(data: bytes, preprocessing: Preprocessing, place: Place = (0.5, 0.5)) -> Examined:
    """Decodes one image file.

    Turned upright by its EXIF orientation; greyscale of more than 8 bits scaled as `depth` says;
    palette, greyscale and CMYK made RGB (colour profiles are not applied); transparent images are
    laid on white, unless alpha is kept; animations: the first frame. Then made square as
    `preprocessing` says.

    Args:
      data: the file's bytes, in any format that formats.open_image opens.
      place: see Preprocessing.square.

    Raises:
      any of BROKEN: the bytes are not a whole image, or one of more pixels than max_pixels or than
        fit into memory.
    """
    if not data:
        raise ValueError("the file is empty")
    side = preprocessing.size
    with overheard() as notes, open_image(data) as image:
        width, height = image.size
        if width * height > preprocessing.max_pixels:
            raise ValueError(
                f"{width:,} x {height:,} pixels, more than config.data.max_pixels = "
                f"{preprocessing.max_pixels:,}"
            )
        # JPEG only: decodes at 1/2, 1/4 or 1/8 when that still leaves twice the size asked for.
        image.draft(None, (2 * side, 2 * side))
        halved = depth.is_halved(image)
        huge = image.width * image.height > _HUGE
        with _one_huge_at_a_time if huge else contextlib.nullcontext():
            try:
                image.load()
                if image.getexif().get(_ORIENTATION) in _TURNED:
                    width, height = height, width
                ImageOps.exif_transpose(image, in_place=True)
                deep, stated, found, darkest = depth.is_deep(image), None, None, None
                scalable = deep and not depth.is_rescaled(image)
                upright = image
                if deep:
                    values = np.asarray(image)
                    if told := depth.lost(values):
                        notes.append(told)
                    stated = depth.stated_scale(image)
                    if stated is None:
                        found, darkest = depth.value_range(values), depth.darkest(values)
                    given = preprocessing.full_scale if scalable else 0.0
                    scale = (
                        given
                        or stated
                        or preprocessing.unstated_scale
                        or depth.found_scale([found])
                    )
                    upright = depth.eight_bit(values, scale)
                coloured = _in_colour(upright, preprocessing.alpha)
                pixels = np.asarray(preprocessing.square(coloured, place))
            except MemoryError as error:
                raise MemoryError(
                    f"{width:,} x {height:,} pixels do not fit into memory"
                ) from error
    return Examined(
        pixels, (width, height), deep, stated, found, darkest, scalable, halved, tuple(notes)
    )


def reason(error: Exception) -> str:
    """One short line: why a file is not an image."""
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if isinstance(error, MemoryError) and not str(error):
        return "it does not fit into memory"
    text = str(error).strip() or type(error).__name__
    return legible(text.splitlines()[0])
