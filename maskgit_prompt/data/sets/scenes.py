"""Drawn scenes that are known exactly: one to four coloured shapes on a grey ground.

A scene is data first: what is where. Its picture is drawn from that alone, and so are its texts
(`scene_captions.py`, `scene_questions.py`), which is why they are right. Scene i of a seed is the
same however many are drawn, and at every size of the image.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from maskgit_prompt.data.sets import drawing

# Change it with every change of scenes, pixels or texts: codes files are kept by the fingerprint
# it enters.
VERSION = "scenes-1"

# Their outlines in drawing.SHAPES.
SHAPES = {
    "circle": "disc",
    "square": "square",
    "triangle": "triangle",
    "star": "star",
    "heart": "heart",
    "cross": "cross",
}
COLOURS = {
    "red": (212, 36, 36),
    "orange": (246, 138, 24),
    "yellow": (248, 226, 48),
    "green": (36, 160, 60),
    "blue": (36, 76, 216),
    "purple": (138, 44, 168),
    "black": (18, 18, 18),
    "white": (242, 242, 242),
}
GRID = 64  # boxes lie on a grid of 64 x 64, whatever the image's side
SIZES = {"small": (12, 16), "big": (22, 28)}  # least and most length of the longer side, on it
MOST = 4
PLACES = {"left": "right", "right": "left", "above": "below", "below": "above"}  # and opposites

_GAP = 2  # grid units between things, at least
_SHADE = 12.0  # how far a thing's colour may be from its name's
_TURN = 0.12  # radians
_AGAIN = 0.45  # share of things with the colour and shape of an earlier one
_FINE = 4  # pictures are drawn larger by this, then averaged

Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels
Colour = tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class Thing:
    """A shape in a scene; `turn` in radians, `rgb` the shade (None: that of the colour's name)."""

    size: str
    colour: str
    shape: str
    box: Box
    turn: float = 0.0
    rgb: Colour | None = None

    @property
    def centre(self) -> tuple[float, float]:
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2


@dataclasses.dataclass(frozen=True)
class Scene:
    """What a picture of side x side pixels shows; `ground`: its colours at the top and below."""

    things: tuple[Thing, ...]
    side: int = GRID
    ground: tuple[Colour, Colour] = ((136, 136, 136), (136, 136, 136))

    def matching(
        self, size: str | None = None, colour: str | None = None, shape: str | None = None
    ) -> list[Thing]:
        """The things that have these attributes; None: any."""
        wanted = (size, colour, shape)
        return [
            thing
            for thing in self.things
            if all(w in (None, h) for w, h in zip(wanted, _attributes(thing), strict=True))
        ]


def _attributes(thing: Thing) -> tuple[str, str, str]:
    return thing.size, thing.colour, thing.shape


def place_of(these: Sequence[Thing], others: Sequence[Thing]) -> str | None:
    """Where all of these lie, seen from all of the others; None where people might disagree.

    Boxes (0, 20, 10, 30) and (30, 20, 40, 30): "left". (0, 0, 10, 10) and (30, 30, 40, 40): None,
    for it is as much above as left.
    """
    found = {_place(this, other) for this in these for other in others}
    return found.pop() if len(found) == 1 else None


def _place(this: Thing, other: Thing) -> str | None:
    across = this.centre[0] - other.centre[0]
    down = this.centre[1] - other.centre[1]
    if abs(across) >= 1.5 * abs(down):
        if this.box[2] <= other.box[0]:
            return "left"
        return "right" if other.box[2] <= this.box[0] else None
    if abs(down) >= 1.5 * abs(across):
        if this.box[3] <= other.box[1]:
            return "above"
        return "below" if other.box[3] <= this.box[1] else None
    return None


# --- Making a scene -------------------------------------------------------------------------------


def make_scene(seed: int, number: int, side: int = GRID) -> Scene:
    """A scene; a pure function of its arguments. `side` only scales it.

    Args:
      seed: 0 to 2**63 - 1. number: 0 to 2**63 - 1.
      side: width and height of its picture in pixels.
    """
    rng = np.random.Generator(np.random.Philox(key=(seed << 64) | number))
    ground = _ground(rng)
    count = int(rng.integers(1, MOST + 1))
    things: list[Thing] = []
    while len(things) < count:
        things.append(_thing(rng, things))
    scale = side / GRID
    scaled = (
        dataclasses.replace(thing, box=tuple(scale * edge for edge in thing.box))
        for thing in things
    )
    return Scene(tuple(scaled), side, ground)


def _ground(rng: drawing.Rng) -> tuple[Colour, Colour]:
    """Greys with a tint, between black and white things."""
    grey = rng.uniform(96, 176)
    top, bottom = np.clip(grey + rng.uniform(-14, 14, size=(2, 3)), 0, 255).astype(int).tolist()
    return tuple(top), tuple(bottom)


def _thing(rng: drawing.Rng, others: list[Thing]) -> Thing:
    """A thing that is clear of the others.

    There is always room for a small one: three big things leave one of the four corners free.
    """
    if others and rng.random() < _AGAIN:
        model = others[rng.integers(len(others))]
        colour, shape = model.colour, model.shape
    else:
        colour = _pick(rng, COLOURS)
        shape = _pick(rng, SHAPES)
    shade = np.array(COLOURS[colour]) + rng.uniform(-_SHADE, _SHADE, size=3)
    rgb = tuple(np.clip(shade, 0, 255).astype(int).tolist())
    while True:
        size = _pick(rng, SIZES)
        least, most = SIZES[size]
        turn = rng.uniform(-_TURN, _TURN)
        extent = np.ptp(_outline(shape, turn), axis=0)
        length = rng.integers(least, most + 1)
        wide, high = np.round(length * extent / extent.max()).astype(int).tolist()
        left, top = rng.integers(1, [GRID - wide, GRID - high]).tolist()
        box = (left, top, left + wide, top + high)
        if all(_clear(box, other.box) for other in others):
            return Thing(size, colour, shape, box, turn, rgb)


def _pick(rng: drawing.Rng, names: dict[str, object]) -> str:
    return list(names)[rng.integers(len(names))]


def _clear(one: Box, other: Box) -> bool:
    """Whether a gap lies between two boxes, across or down."""
    return any(
        one[axis + 2] + _GAP <= other[axis] or other[axis + 2] + _GAP <= one[axis]
        for axis in (0, 1)
    )


# --- Drawing it -----------------------------------------------------------------------------------


def _outline(shape: str, turn: float) -> np.ndarray:
    """A turned outline [P, 2]."""
    cos, sin = np.cos(turn), np.sin(turn)
    return drawing.SHAPES[SHAPES[shape]] @ np.array([[cos, sin], [-sin, cos]])


def draw(scene: Scene) -> np.ndarray:
    """The picture of a scene, uint8 [S, S, 3]: every thing fills its box."""
    canvas = _FINE * scene.side
    column = np.linspace(*scene.ground, canvas).astype(np.uint8)[:, None]  # [4S, 1, 3]
    image = Image.fromarray(column).resize((canvas, canvas), Image.Resampling.NEAREST)
    pen = ImageDraw.Draw(image)
    for thing in scene.things:
        pen.polygon(_points(thing), fill=thing.rgb or COLOURS[thing.colour])
    return np.asarray(image.reduce(_FINE))


def draw_mask(scene: Scene) -> np.ndarray:
    """What each pixel's middle shows, uint8 [S, S]: 0 the ground, 1 + i a thing of colour i."""
    canvas = _FINE * scene.side
    image = Image.new("L", (canvas, canvas))
    pen = ImageDraw.Draw(image)
    for thing in scene.things:
        pen.polygon(_points(thing), fill=1 + list(COLOURS).index(thing.colour))
    middle = _FINE // 2
    return np.asarray(image)[middle::_FINE, middle::_FINE].copy()


def _points(thing: Thing) -> list[float]:
    """The corners of a thing's outline on the fine canvas: x, y, x, y, …"""
    outline = _outline(thing.shape, thing.turn)
    low, high = outline.min(axis=0), outline.max(axis=0)
    corner, opposite = _FINE * np.array(thing.box).reshape(2, 2)
    # The pen colours the pixels of an outline, too: a box of 8 pixels is drawn from 0 to 7.
    points = corner + (outline - low) / (high - low) * (opposite - corner - 1)
    return points.ravel().tolist()
