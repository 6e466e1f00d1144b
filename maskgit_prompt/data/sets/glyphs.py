"""Ink masks of characters: any font that matplotlib ships, in any weight, bent as if by hand."""

import functools
import importlib.util
import pathlib

import numpy as np
from fontTools.ttLib import TTFont
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from maskgit_prompt.errors import UserError

# The fonts that every matplotlib ships. The Computer Modern files keep only ASCII where Unicode
# has it, so they serve Latin letters alone.
UNICODE_FONTS = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSansMono-Oblique",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralItalic",
)
LATIN_FONTS = (*UNICODE_FONTS, "cmb10", "cmr10", "cmss10", "cmtt10", "cmti10", "cmmi10")

_FIELD = 64  # width of a glyph's distance field
_REACH = 22  # a glyph fills +-22 pixels of it; what is left is room for thicker strokes
_LEVELS = 11.0  # grey levels per pixel of distance in the stored field


@functools.cache
def _font_folder() -> pathlib.Path:
    # find_spec alone: importing matplotlib takes a second and writes a font cache.
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise UserError("matplotlib is not installed, and its fonts are needed: pip install it")
    return pathlib.Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"


@functools.cache
def _code_points(font: str) -> frozenset[int]:
    with TTFont(_font_folder() / f"{font}.ttf", lazy=True) as file:
        return frozenset(file.getBestCmap())


@functools.cache
def fonts_with(char: str) -> tuple[str, ...]:
    """The fonts that hold a character, in a fixed order.

    Raises:
      UserError: no font has it.
    """
    fonts = LATIN_FONTS if char.isascii() and char.isalpha() else UNICODE_FONTS
    found = tuple(font for font in fonts if ord(char) in _code_points(font))
    if not found:
        raise UserError(f"no font in {_font_folder()} has {char!r}; expected one of {fonts}")
    return found


@functools.lru_cache(maxsize=8192)
def _glyph_field(font: str, char: str) -> tuple[Image.Image, float]:
    """Signed distance to a glyph's edge, and half the width of its thickest stroke in pixels.

    The field is 128 at the edge, higher inside. Any stroke weight is then a threshold of the
    same 4 KiB, and it may be warped before the threshold without the edge getting blurred.
    """
    face = ImageFont.truetype(
        str(_font_folder() / f"{font}.ttf"), 160, layout_engine=ImageFont.Layout.BASIC
    )
    left, top, right, bottom = face.getbbox(char)
    glyph = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(glyph).text((-left, -top), char, fill=255, font=face)
    shrink = 4 * _REACH / max(glyph.size)
    width, height = (max(1, round(side * shrink)) for side in glyph.size)
    canvas = Image.new("L", (2 * _FIELD, 2 * _FIELD))
    canvas.paste(glyph.resize((width, height)), (_FIELD - width // 2, _FIELD - height // 2))
    inside = np.asarray(canvas) > 127
    distance = ndimage.distance_transform_edt(inside) - ndimage.distance_transform_edt(~inside)
    half_width = float(distance.max()) / 2
    field = np.clip(128 + _LEVELS / 2 * distance, 0, 255).astype(np.uint8)
    return Image.fromarray(field).reduce(2), half_width


def glyph(rng: np.random.Generator, canvas: int, weight: float, char: str) -> Image.Image:
    """A character in a random font, slant and size, bent as if by hand.

    Args:
      rng: consumed.
      canvas: width and height of the mask in pixels.
      weight: of the strokes, 0 (thin) to 1 (broad).
      char: one character.

    Returns:
      A Pillow "L" image, 255 where there is ink.

    Raises:
      UserError: no font has the character.
    """
    fonts = fonts_with(char)
    field, half_width = _glyph_field(fonts[rng.integers(len(fonts))], char)
    turn, shear, bend, blend = rng.random(4).tolist()
    stretch = rng.uniform(0.75, 1.1, size=2)
    angle = 0.5 * (turn - 0.5)
    cos, sin = np.cos(angle) / stretch, np.sin(angle) / stretch
    back = np.array([[cos[0], sin[0]], [-sin[1], cos[1]]])
    back = np.array([[1.0, 0.7 * (shear - 0.5)], [0.0, 1.0]]) @ back
    centre = rng.uniform(-0.08, 0.08, size=2)
    # A quadratic sheet through 3 x 3 random displacements, on the 5 x 5 corners of the mesh.
    sheet = np.einsum("pi,qj,ijc->pqc", _SHEET, _SHEET, rng.standard_normal((3, 3, 2)))
    corners = (_MESH - centre) @ back.T + (0.04 + 0.14 * bend) * sheet  # [5, 5, 2]
    corners = (_FIELD / 2 + 1.2 * _REACH * corners).tolist()
    step = canvas / 4
    quads = [
        (
            (round(j * step), round(i * step), round((j + 1) * step), round((i + 1) * step)),
            (*corners[i][j], *corners[i + 1][j], *corners[i + 1][j + 1], *corners[i][j + 1]),
        )
        for i in range(4)
        for j in range(4)
    ]
    field = field.transform(
        (canvas, canvas), Image.Transform.MESH, quads, Image.Resampling.BILINEAR
    )
    # Hairlines of the serif fonts vanish if more than a fifth of the stem is taken away.
    grow = max(1.6 + 4.6 * weight - half_width, -0.2 * half_width)
    edge = 1.0 + 1.5 * blend
    return field.point(
        np.clip((_GREYS + _LEVELS * grow) * (255 / _LEVELS / edge) + 127, 0, 255)
        .astype(np.uint8)
        .tolist()
    )


_GREYS = np.arange(256) - 128.0
_MESH = np.stack(np.meshgrid(np.linspace(-1, 1, 5), np.linspace(-1, 1, 5)), axis=-1)
_AT = np.linspace(-1, 1, 5)
_SHEET = np.stack([_AT * (_AT - 1) / 2, 1 - _AT**2, _AT * (_AT + 1) / 2], axis=1)  # [5, 3]
