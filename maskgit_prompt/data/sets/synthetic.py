"""What `mini` was trained on: drawn letters, strokes, shapes, textures and scenes, no download.

Half of all images are in scan style (bright ink on black after a round trip through 8 to 16
pixels), the rest in colour. The ten digits are not among the classes, nor are characters that
look like 0, 1, 3, 6 or 9 (O, o, sigma; I, l; Cyrillic Ze; be, delta; q). What only comes near a
digit is there: S, Z, B, b, g, Cyrillic Be, Che and E, a loop with a tail or two loops turned at
random, and a lying eight (infinity).
Small letters whose shape is that of the capital are left out (c, k, o, p, s, u, v, w, x, z).
"""

import colorsys
import functools
import hashlib
import importlib.metadata
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, features

from maskgit_prompt.data.images import ImageSet
from maskgit_prompt.data.sets import drawing, glyphs
from maskgit_prompt.data.sets.drawing import Rng
from maskgit_prompt.errors import UsageError

# Change it with every change of the pixels: codes files are kept by the fingerprint it enters.
VERSION = "synthetic-1"

CAPITALS = "ABCDEFGHJKLMNPQRSTUVWXYZ"
SMALL = "abdefghijmnrty"
GREEK = "ΓΔΘΛΞΠΣΦΨΩαβγεζηθλμξπτφχψω"
CYRILLIC = "БДЖИЛЦЧШЩЪЫЭЮЯЊЋ"
SYMBOLS = "&@#?!%$€£§+~{]<*=∞∫√∇∈∀"


# --- Colour, blur and noise -----------------------------------------------------------------


@functools.cache
def _grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """x and y of the pixel centres in [-1, 1], each [S, S] float32."""
    axis = ((np.arange(size, dtype=np.float32) + 0.5) / size) * 2 - 1
    return np.broadcast_to(axis, (size, size)), np.broadcast_to(axis[:, None], (size, size))


def _colour(rng: Rng, bright: bool) -> np.ndarray:
    hue, saturation, value = rng.random(3).tolist()
    value = 0.7 + 0.3 * value if bright else 0.45 * value
    return np.array(colorsys.hsv_to_rgb(hue, 0.9 * saturation, value), np.float32) * 255


def _ramp(rng: Rng, size: int, kind: int) -> np.ndarray:
    """A field in [0, 1], [S, S]: straight (0), radial (1) or cloudy (2)."""
    x, y = _grid(size)
    a, b, c = rng.uniform(-1, 1, size=3).tolist()
    if kind == 0:
        angle = np.pi * a
        return np.clip(0.5 + 0.4 * (np.cos(angle) * x + np.sin(angle) * y), 0, 1)
    if kind == 1:
        return np.clip(((x - a) ** 2 + (y - b) ** 2) * (0.45 + 0.2 * c), 0, 1)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 4), dtype=np.uint8))
    cloud = coarse.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(cloud, np.float32) / 255


def _paint(rng: Rng, size: int, bright: bool) -> np.ndarray:
    """One colour [3], or two blended [S, S, 3]; all bright or all dark."""
    first = _colour(rng, bright)
    kind = int(rng.integers(6))
    if kind > 2:
        return first
    return first + _ramp(rng, size, kind)[..., None] * (_colour(rng, bright) - first)


def _finish(rng: Rng, image: np.ndarray) -> np.ndarray:
    """Some images get noise; float [S, S, 3] in 0..255 to uint8."""
    if rng.random() < 0.25:
        image = image + rng.uniform(3, 14) * rng.standard_normal(image.shape, np.float32)
    return np.clip(image + 0.5, 0, 255).astype(np.uint8)


# --- The two styles of a mask -----------------------------------------------------------------

_ENLARGE = (Image.Resampling.BICUBIC, Image.Resampling.LANCZOS, Image.Resampling.BILINEAR)


def _scanned(rng: Rng, mask: Image.Image, size: int) -> np.ndarray:
    """The way scikit-learn's digits were made: crop to the ink, count it in few cells, enlarge."""
    left, top, right, bottom = mask.getbbox() or (0, 0, *mask.size)
    cells_draw, margin, shift_x, shift_y, peak, levels, filter_draw = rng.random(7).tolist()
    cells = 8 if cells_draw < 0.55 else 8 + int(20 * (cells_draw - 0.55))
    side = max(right - left, bottom - top) * (1 + 0.15 * margin)
    x = (left + right - side) / 2 + 0.4 * (shift_x - 0.5) * (side - (right - left))
    y = (top + bottom - side) / 2 + 0.8 * (shift_y - 0.5) * (side - (bottom - top))
    frame = mask.crop((round(x), round(y), round(x + side), round(y + side)))
    small = frame.resize((cells, cells), Image.Resampling.BOX)
    # Thin strokes do not fill a cell; in the real scans the brightest cell is always full.
    gain = (1.0 if peak < 0.7 else peak) / max(small.getextrema()[1], 1)
    grey = np.minimum(_BYTES * gain, 1)
    if levels < 0.75:
        grey = np.round(grey * 16) / 16
    small = small.point((grey * 255).astype(np.uint8).tolist())
    enlarge = _ENLARGE[0 if filter_draw < 0.6 else 1 if filter_draw < 0.9 else 2]
    large = small.resize((size, size), enlarge)
    return np.asarray(large.convert("RGB"))


_BYTES = np.arange(256.0)


def _coloured(rng: Rng, mask: Image.Image, size: int) -> np.ndarray:
    """Coloured ink on a coloured ground, either of them the brighter, edges sharp or soft."""
    light_ink, soft, radius = rng.random(3).tolist()
    if soft < 0.35:
        small = max(8, round(size * (0.35 + 0.45 * radius)))
        mask = mask.resize((small, small), Image.Resampling.BOX)
    mask = mask.resize((size, size), Image.Resampling.BICUBIC)
    alpha = np.asarray(mask, np.float32)[..., None] * (1 / 255)
    ink = _paint(rng, size, light_ink < 0.65)
    ground = _paint(rng, size, light_ink >= 0.65)
    return _finish(rng, ground + alpha * (ink - ground))


# --- Textures: two colours blended by a field in [0, 1] -----------------------------------------


def _waves(rng: Rng, size: int, turned: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Two perpendicular phases [S, S], about 2 to 6 periods across."""
    x, y = _grid(size)
    angle, first, second, periods = rng.uniform(0, [np.pi * turned, 6.3, 6.3, 1]).tolist()
    rate = np.pi * (2 + 4 * periods)
    cos, sin = np.cos(angle), np.sin(angle)
    return rate * (cos * x + sin * y) + first, rate * (cos * y - sin * x) + second


def _sharp(rng: Rng, field: np.ndarray) -> np.ndarray:
    """A field in about [-1, 1] to [0, 1], its edge at 0 hard or soft."""
    return np.clip(0.5 + rng.uniform(0.5, 3.0) * field, 0, 1)


def _stripes(rng: Rng, size: int) -> np.ndarray:
    return _sharp(rng, np.sin(_waves(rng, size)[0]))


def _checks(rng: Rng, size: int) -> np.ndarray:
    a, b = _waves(rng, size)
    return _sharp(rng, 1.4 * np.sin(a) * np.sin(b))


def _dots(rng: Rng, size: int) -> np.ndarray:
    a, b = _waves(rng, size)
    return _sharp(rng, np.sin(a) + np.sin(b) - rng.uniform(0.1, 1.0))


def _mesh(rng: Rng, size: int) -> np.ndarray:
    a, b = _waves(rng, size)
    return _sharp(rng, np.maximum(np.sin(a), np.sin(b)) - rng.uniform(0.2, 0.8))


def _plaid(rng: Rng, size: int) -> np.ndarray:
    a, b = _waves(rng, size, turned=False)
    return 0.5 * (_sharp(rng, np.sin(a)) + _sharp(rng, np.sin(b)))


def _bricks(rng: Rng, size: int) -> np.ndarray:
    a, b = _waves(rng, size, turned=False)
    row = np.floor(b / np.pi)
    return _sharp(rng, np.minimum(np.abs(np.sin(b)), np.abs(np.sin(a / 2 + row * np.pi / 2))) - 0.3)


def _rings(rng: Rng, size: int) -> np.ndarray:
    x, y = _grid(size)
    a, b, rate = rng.uniform([-0.7, -0.7, 6], [0.7, 0.7, 18]).tolist()
    return _sharp(rng, np.sin(rate * np.hypot(x - a, y - b)))


def _rays(rng: Rng, size: int) -> np.ndarray:
    x, y = _grid(size)
    a, b, phase = rng.uniform([-0.6, -0.6, 0], [0.6, 0.6, 6.3]).tolist()
    return _sharp(rng, np.sin(int(rng.integers(3, 9)) * np.arctan2(y - b, x - a) + phase))


def _ripples(rng: Rng, size: int) -> np.ndarray:
    a, b = _waves(rng, size)
    return _sharp(rng, np.sin(a + rng.uniform(0.6, 2.0) * np.sin(b)))


def _clouds(rng: Rng, size: int) -> np.ndarray:
    fine = Image.fromarray(rng.integers(0, 256, (9, 9), dtype=np.uint8))
    fine = np.asarray(fine.resize((size, size), Image.Resampling.BICUBIC), np.float32) / 255
    return np.clip(0.65 * _ramp(rng, size, 2) + 0.35 * fine, 0, 1)


def _blots(rng: Rng, size: int) -> np.ndarray:
    return _sharp(rng, 4 * (_clouds(rng, size) - 0.5))


def _grain(rng: Rng, size: int) -> np.ndarray:
    cells = int(rng.integers(10, 33))
    grain = Image.fromarray(rng.integers(0, 256, (cells, cells), dtype=np.uint8))
    return np.asarray(grain.resize((size, size), Image.Resampling.BILINEAR), np.float32) / 255


_TEXTURES: dict[str, Callable[[Rng, int], np.ndarray]] = {
    "stripes": _stripes,
    "checks": _checks,
    "dots": _dots,
    "mesh": _mesh,
    "plaid": _plaid,
    "bricks": _bricks,
    "rings": _rings,
    "rays": _rays,
    "ripples": _ripples,
    "gradient": lambda rng, size: _ramp(rng, size, 0),
    "glow": lambda rng, size: _ramp(rng, size, 1),
    "clouds": _clouds,
    "blots": _blots,
    "grain": _grain,
}


def _texture(rng: Rng, size: int, name: str) -> np.ndarray:
    field = _TEXTURES[name](rng, size)[..., None]
    bright = rng.random(2) < [0.35, 0.8]
    first, second = (_colour(rng, bool(b)) for b in bright)
    return _finish(rng, first + field * (second - first))


# --- Scenes: several coloured things at positions -----------------------------------------------

_Put = tuple[str, float, float, float]  # what, x, y, half width; in [-1, 1]


def _some(rng: Rng, names: tuple[str, ...], low: int, high: int) -> list[_Put]:
    num = int(rng.integers(low, high))
    places = rng.uniform([-0.8, -0.8, 0.15], [0.8, 0.8, 0.5], size=(num, 3)).tolist()
    return [(names[rng.integers(len(names))], *place) for place in places]


def _line_of(rng: Rng, across: bool) -> list[_Put]:
    num = int(rng.integers(2, 5))
    name = _EVERY_SHAPE[rng.integers(len(_EVERY_SHAPE))]
    side = rng.uniform(-0.4, 0.4)
    spots = [(2 * k + 1) / num - 1 for k in range(num)]
    half = 0.85 / num
    return [(name, s, side, half) if across else (name, side, s, half) for s in spots]


def _pair(rng: Rng) -> list[_Put]:
    """Something small in front of something big."""
    names = [_EVERY_SHAPE[k] for k in rng.integers(len(_EVERY_SHAPE), size=2)]
    x, y = rng.uniform(-0.25, 0.25, size=2).tolist()
    return [(names[0], x, y, 0.8), (names[1], x, y, 0.4)]


def _house(rng: Rng) -> list[_Put]:
    """A roof on a wall, with a door, and a sun."""
    x, w = rng.uniform([-0.3, 0.4], [0.3, 0.6]).tolist()
    sun = -0.75 if x > 0 else 0.75
    return [("square", x, 0.5, w), ("triangle", x, -0.3, 1.3 * w), ("bar", x, 0.8, 0.35 * w)] + [
        ("disc", sun, -0.7, 0.22)
    ]


_EVERY_SHAPE = tuple(drawing.SHAPES)
_SCENES: dict[str, Callable[[Rng], list[_Put]]] = {
    "discs": lambda rng: _some(rng, ("disc",), 2, 6),
    "squares": lambda rng: _some(rng, ("square",), 2, 6),
    "stars": lambda rng: _some(rng, ("star", "burst"), 2, 6),
    "mixed": lambda rng: _some(rng, _EVERY_SHAPE, 3, 7),
    "row": lambda rng: _line_of(rng, across=True),
    "column": lambda rng: _line_of(rng, across=False),
    "pair": _pair,
    "house": _house,
}


def _scene(rng: Rng, size: int, name: str) -> np.ndarray:
    canvas = 2 * size
    light_ground = rng.random() < 0.4
    ground = _paint(rng, canvas, light_ground)
    pixels = np.broadcast_to(ground, (canvas, canvas, 3)).astype(np.uint8)
    image = Image.fromarray(pixels)
    pen = ImageDraw.Draw(image)
    for what, x, y, half in _SCENES[name](rng):
        outline = drawing.shape_outline(rng, what) * half + [x, y]
        fill = tuple(int(c) for c in _colour(rng, not light_ground))
        pen.polygon(((outline + 1) * size).ravel().tolist(), fill=fill)
    return _finish(rng, np.asarray(image.reduce(2), np.float32))


# --- Classes, and one image -----------------------------------------------------------------


def _letters(group: str, chars: str) -> dict[str, functools.partial]:
    return {f"{group}_{char}": functools.partial(glyphs.glyph, char=char) for char in chars}


# Masks [canvas] that are drawn in either style; then images that have their own colours.
_MASKS: dict[str, Callable[[Rng, int, float], Image.Image]] = {
    **_letters("latin", CAPITALS + SMALL),
    **_letters("greek", GREEK),
    **_letters("cyrillic", CYRILLIC),
    **_letters("symbol", SYMBOLS),
    **{f"stroke_{n}": functools.partial(drawing.stroke, name=n) for n in drawing.STROKES},
    **{
        f"{'solid' if filled else 'outline'}_{n}": functools.partial(
            drawing.shape, name=n, filled=filled
        )
        for filled in (True, False)
        for n in drawing.SHAPES
    },
}
_PICTURES: dict[str, Callable[[Rng, int], np.ndarray]] = {
    **{f"texture_{n}": functools.partial(_texture, name=n) for n in _TEXTURES},
    **{f"scene_{n}": functools.partial(_scene, name=n) for n in _SCENES},
}

CLASSES: tuple[str, ...] = (*_MASKS, *_PICTURES)

# So that half of all images are scans, though textures and scenes never are.
_SCAN_SHARE = 0.5 * len(CLASSES) / len(_MASKS)


def label_of(seed: int, index: int) -> int:
    """The class of an image: classes take turns, so any run of len(CLASSES) holds each once.

    With 3 classes, seed 1: labels 1 2 0 1 2 0 ...
    """
    return (seed + index) % len(CLASSES)


def draw(seed: int, index: int, size: int = 32) -> np.ndarray:
    """Draws one image, uint8 [S, S, 3]; a pure function of its arguments."""
    rng = np.random.Generator(np.random.Philox(key=(seed << 64) | index))
    name = CLASSES[label_of(seed, index)]
    if name in _PICTURES:
        return _PICTURES[name](rng, size)
    scan = rng.random() < _SCAN_SHARE
    # The real scans have a broad pen.
    weight = rng.uniform(0.3, 1.0) if scan else rng.random()
    mask = _MASKS[name](rng, 2 * size, weight)
    return _scanned(rng, mask, size) if scan else _coloured(rng, mask, size)


def image_set(num: int, seed: int, size: int = 32) -> ImageSet:
    """Images 0..num-1 of a seed, drawn when read.

    Args:
      num: how many images, at least 1.
      seed: 0 to 2**63 - 1; another seed shares no image with this one.
      size: width and height S in pixels, at least 8.

    Raises:
      UsageError: an argument is out of range.
    """
    if num < 1:
        raise UsageError(f"num={num} synthetic images asked for; expected at least 1")
    if not 0 <= seed < 2**63:
        raise UsageError(f"seed={seed}; expected 0 to 2**63 - 1")
    if size < 8:
        raise UsageError(f"size={size} pixels for synthetic images; expected at least 8")
    # Fonts come with matplotlib; the others draw, and another release may round otherwise.
    makers = tuple(map(importlib.metadata.version, ("pillow", "numpy", "scipy", "matplotlib")))
    parts = (VERSION, makers, features.version("freetype2"), num, seed, size)

    def read(indices: np.ndarray) -> np.ndarray:
        pixels = np.empty((len(indices), size, size, 3), np.uint8)  # [k, S, S, 3]
        for row, index in enumerate(np.asarray(indices).tolist()):
            if not 0 <= index < num:
                raise IndexError(f"image {index} of a set of {num}")
            pixels[row] = draw(seed, index, size)
        return pixels

    return ImageSet(
        name="synthetic",
        classes=CLASSES,
        labels=((seed + np.arange(num)) % len(CLASSES)).astype(np.int32),
        ids=tuple(f"synthetic/{seed}/{index}" for index in range(num)),
        fingerprint=hashlib.sha256(repr(parts).encode()).hexdigest(),
        read=read,
    )
