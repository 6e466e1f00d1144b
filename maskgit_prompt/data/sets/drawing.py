"""Ink masks for the synthetic images: pen strokes and shapes, in one grey channel.

Every drawer takes a generator, a canvas width in pixels and a stroke weight in [0, 1], and returns
a Pillow "L" image of that width: 255 where there is ink. Outlines live in the square [-1, 1]^2, y
downwards.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

Rng = np.random.Generator


# --- Outlines of shapes: closed polylines [P, 2] ----------------------------------------------


def _polar(radius: np.ndarray, start: float = -np.pi / 2) -> np.ndarray:
    angle = start + 2 * np.pi * np.arange(len(radius)) / len(radius)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)


def _star(points: int, inner: float) -> np.ndarray:
    return _polar(np.tile([1.0, inner], points))


def _arc(first: float, last: float, num: int) -> np.ndarray:
    angle = np.linspace(first, last, num)
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def _heart() -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([np.sin(t) ** 3, -y / 16], axis=-1)


def _crescent() -> np.ndarray:
    inner = _arc(1.25, -1.25, 20) * [0.7, 1.0] + [0.2, 0.0]
    return np.concatenate([_arc(0.9, 2 * np.pi - 0.9, 30), inner[::-1] * [-1, 1] + [0.9, 0]])


def _drop() -> np.ndarray:
    return np.concatenate([[[0.0, -1.0]], 0.65 * _arc(-0.4, np.pi + 0.4, 24) + [0, 0.35]])


SHAPES: dict[str, np.ndarray] = {
    "disc": _polar(np.ones(36)),
    "ellipse": _polar(np.ones(36)) * [1.0, 0.55],
    "square": np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]]),
    "bar": np.array([[-1.0, -0.4], [1, -0.4], [1, 0.4], [-1, 0.4]]),
    "rhombus": _polar(np.ones(4)) * [0.65, 1.0],
    "triangle": _polar(np.ones(3)),
    "pentagon": _polar(np.ones(5)),
    "hexagon": _polar(np.ones(6)),
    "star": _star(5, 0.42),
    "burst": _star(9, 0.6),
    "flower": _polar(0.75 + 0.25 * np.cos(5 * np.linspace(0, 2 * np.pi, 60, endpoint=False))),
    "heart": _heart(),
    "cross": np.array(
        [[-0.35, -1], [0.35, -1], [0.35, -0.35], [1, -0.35], [1, 0.35], [0.35, 0.35]]
        + [[0.35, 1], [-0.35, 1], [-0.35, 0.35], [-1, 0.35], [-1, -0.35], [-0.35, -0.35]]
    ),
    "arrow": np.array(
        [[1, 0], [0.2, -0.75], [0.2, -0.3], [-1, -0.3], [-1, 0.3], [0.2, 0.3], [0.2, 0.75]]
    ),
    "crescent": _crescent(),
    "half_disc": _arc(np.pi, 2 * np.pi, 20) + [0, 0.5],
    "drop": _drop(),
}


def shape_outline(rng: Rng, name: str) -> np.ndarray:
    """A shape [P, 2], slightly turned and stretched, its farthest point at about distance 1."""
    angle, wide, high = rng.uniform([-0.45, 0.75, 0.75], [0.45, 1.0, 1.0]).tolist()
    cos, sin = np.cos(angle), np.sin(angle)
    return SHAPES[name] * [wide, high] @ np.array([[cos, sin], [-sin, cos]])


# --- Strokes: open polylines [P, 2] -------------------------------------------------------------

_T = np.linspace(0, 1, 28)[:, None]
_BERNSTEIN = np.concatenate(
    [(1 - _T) ** 3, 3 * _T * (1 - _T) ** 2, 3 * _T**2 * (1 - _T), _T**3], axis=1
)  # [28, 4]


def _bezier(*controls: np.ndarray) -> np.ndarray:
    return _BERNSTEIN @ np.stack(controls)


def _turned(rng: Rng, points: np.ndarray) -> np.ndarray:
    angle = rng.uniform(0, 2 * np.pi)
    cos, sin = np.cos(angle), np.sin(angle)
    return points * rng.uniform(0.7, 1.0, size=2) @ np.array([[cos, sin], [-sin, cos]])


def _free(num: int) -> Callable[[Rng], list[np.ndarray]]:
    return lambda rng: list(_BERNSTEIN @ rng.uniform(-1.3, 1.3, size=(num, 4, 2)))


def _smooth(rng: Rng, anchors: np.ndarray, rough: float) -> np.ndarray:
    """A curve through jittered anchors [N, 2]: Catmull-Rom, five points a piece."""
    anchors = anchors + rough * rng.standard_normal(anchors.shape)
    before = np.concatenate([anchors[:1], anchors[:-1]])
    after = np.concatenate([anchors[1:], anchors[-1:]])
    handle = (after - before) / 6
    controls = np.stack(
        [anchors[:-1], (anchors + handle)[:-1], (anchors - handle)[1:], anchors[1:]], axis=1
    )  # [N-1, 4, 2]
    return (_BERNSTEIN[::6] @ controls).reshape(-1, 2)


def _loop(rng: Rng, tail: bool = False) -> np.ndarray:
    """A closed blob; with a tail, its end runs on past its start."""
    angle = np.linspace(0, 2 * np.pi, 33)
    wobble = rng.uniform(-0.18, 0.18, size=(2, 2))
    radius = 1 + sum(
        wobble[k, 0] * np.cos((k + 2) * angle) + wobble[k, 1] * np.sin((k + 2) * angle)
        for k in range(2)
    )
    loop = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
    if tail:
        end = loop[-1] + [[0.2, 0.9], [0.4, 1.6], [0, 2.4]] + rng.uniform(-0.6, 0.6, (3, 2))
        loop = np.concatenate([loop, _bezier(loop[-1], *end)])
    return _turned(rng, loop)


def _two_loops(rng: Rng) -> list[np.ndarray]:
    return [0.6 * _loop(rng) + rng.uniform(-0.8, 0.8, size=2) for _ in range(2)]


def _spiral(rng: Rng) -> list[np.ndarray]:
    turns, start = rng.uniform([1.2, 0.1], [2.2, 0.3])
    angle = np.linspace(0, 2 * np.pi * turns, 44)
    radius = np.linspace(start, 1, 44) * rng.choice([-1, 1])
    spiral = np.stack([np.abs(radius) * np.cos(angle), radius * np.sin(angle)], axis=-1)
    return [_turned(rng, spiral)]


def _hook(rng: Rng) -> list[np.ndarray]:
    bend = 0.5 * _arc(0, rng.uniform(2.2, 4.5), 16)
    stem = bend[:1] + _T[::4][::-1] * [0.0, -1.8]
    return [_turned(rng, np.concatenate([stem, bend]))]


def _zigzag(rng: Rng) -> list[np.ndarray]:
    num = int(rng.integers(3, 6))
    x = np.linspace(-1, 1, num)
    y = np.where(np.arange(num) % 2, 0.8, -0.8)
    return [_turned(rng, np.stack([x, y], -1) + 0.2 * rng.standard_normal((num, 2)))]


def _wave(rng: Rng) -> list[np.ndarray]:
    t = np.linspace(0, 1, 40)
    count, phase, high = rng.uniform([0.8, 0, 0.3], [2.2, 2 * np.pi, 0.7])
    wave = np.stack([2 * t - 1, high * np.sin(2 * np.pi * count * t + phase)], axis=-1)
    return [_turned(rng, wave)]


def _branch(rng: Rng, crossing: bool = False) -> list[np.ndarray]:
    """A stroke that begins on another one, or crosses it."""
    first = _bezier(*rng.uniform(-1.2, 1.2, size=(4, 2)))
    joint = first[rng.integers(8, 20)]
    way = rng.uniform(-1, 1, size=(3, 2))
    start = joint - way[0] if crossing else joint
    return [first, _bezier(start, joint + 0.4 * way[0], joint + way[1], joint + 1.2 * way[2])]


def _arches(rng: Rng) -> list[np.ndarray]:
    num = int(rng.integers(2, 4))
    side = rng.choice([-1, 1])
    arch = _arc(np.pi, 2 * np.pi, 14) * [0.6, 1.3 * side]
    arches = [arch * rng.uniform(0.75, 1.25, 2) + [1.2 * k, 0] for k in range(num)]
    return [_turned(rng, np.concatenate(arches))] if rng.random() < 0.5 else [*arches]


def _script(rng: Rng) -> list[np.ndarray]:
    """Cursive handwriting: a pen that circles while it moves to the right."""
    t = np.linspace(0, 1, 56)
    count, forward, lean = rng.uniform([2.0, 0.3, -0.3], [3.6, 0.9, 0.5])
    high = 0.7 + 0.4 * np.sin(2 * np.pi * rng.uniform(0.5, 2) * t + rng.uniform(0, 6))
    phase = 2 * np.pi * count * t
    y = high * np.sin(phase)
    x = 2.2 * (t - 0.5) + (1 - forward) * 0.7 * np.cos(phase) - lean * y
    return [np.stack([x, y], axis=-1)]


def _hatch(rng: Rng) -> list[np.ndarray]:
    num = int(rng.integers(2, 5))
    bars = np.stack([np.stack([[-0.9, y], [0.9, y]]) for y in np.linspace(-0.9, 0.9, num)])
    bars = bars + rng.uniform(-0.2, 0.2, size=(num, 2, 2))
    return list(_turned(rng, bars.reshape(-1, 2)).reshape(num, 2, 2))


def _corner(rng: Rng) -> list[np.ndarray]:
    ways = np.array([[-1.0, -1], [-1, 1], [1, 1]]) + 0.35 * rng.standard_normal((3, 2))
    return [_turned(rng, ways)]


def _scribble(rng: Rng) -> list[np.ndarray]:
    return [_smooth(rng, rng.uniform(-1, 1, size=(int(rng.integers(5, 9)), 2)), 0.0)]


def _circuit(rng: Rng) -> list[np.ndarray]:
    """An arc that does not close."""
    return [_turned(rng, _arc(0, rng.uniform(2.4, 5.4), 30))]


def _stem_and_loop(rng: Rng) -> list[np.ndarray]:
    """A straight stem with a bow on a side, at any height and any angle."""
    wide, high, place = rng.uniform([0.5, 0.35, -0.4], [1.0, 0.8, 0.4]).tolist()
    bow = _arc(-np.pi / 2, np.pi / 2, 16) * [wide, high] + [0, place]
    points = _turned(rng, np.concatenate([[[0.0, -1.0], [0.0, 1.0]], bow]))
    return [points[:2], points[2:]]


STROKES: dict[str, Callable[[Rng], list[np.ndarray]]] = {
    "one": _free(1),
    "two": _free(2),
    "three": _free(3),
    "loop": lambda rng: [_loop(rng)],
    "loop_tail": lambda rng: [_loop(rng, tail=True)],
    "two_loops": _two_loops,
    "spiral": _spiral,
    "hook": _hook,
    "zigzag": _zigzag,
    "wave": _wave,
    "branch": _branch,
    "crossing": lambda rng: _branch(rng, crossing=True),
    "arches": _arches,
    "script": _script,
    "hatch": _hatch,
    "corner": _corner,
    "scribble": _scribble,
    "arc": _circuit,
    "stem_and_bow": _stem_and_loop,
}


# --- The pen ------------------------------------------------------------------------------------


def _fit(rng: Rng, lines: list[np.ndarray], width: int, margin: float) -> list[np.ndarray]:
    """Moves polylines into a square of pixels, with a margin (a fraction of it) for the pen."""
    every = np.concatenate(lines)
    low, high = every.min(axis=0), every.max(axis=0)
    scale = (1 - 2 * margin) * rng.uniform(0.72, 1.0) * width / max((high - low).max(), 1e-3)
    centre = width * (0.5 + rng.uniform(-0.04, 0.04, size=2))
    return [(line - (low + high) / 2) * scale + centre for line in lines]


def _trace(pen: ImageDraw.ImageDraw, line: np.ndarray, radius: np.ndarray) -> None:
    pen.line(line.ravel().tolist(), fill=255, width=max(1, round(2 * float(radius.min()))))
    for x0, y0, x1, y1 in np.concatenate(
        [line - radius[:, None], line + radius[:, None]], axis=1
    ).tolist():
        pen.ellipse((x0, y0, x1, y1), fill=255)


def stroke(rng: Rng, canvas: int, weight: float, name: str) -> Image.Image:
    """Pen strokes of one kind; the pressure of the pen varies slowly."""
    width = 2 * canvas
    lines = STROKES[name](rng)
    press, phase = rng.uniform(0, [0.35, 6.3]).tolist()
    radius = 0.03 + 0.08 * weight
    image = Image.new("L", (width, width))
    pen = ImageDraw.Draw(image)
    for line in _fit(rng, lines, width, radius):
        pressure = 1 + press * np.sin(phase + np.linspace(0, 5, len(line)))
        _trace(pen, line, radius * width * pressure)
    return image.reduce(2)


def shape(rng: Rng, canvas: int, weight: float, name: str, filled: bool) -> Image.Image:
    """A shape, filled or drawn as an outline; the weight is that of the outline."""
    width = 2 * canvas
    image = Image.new("L", (width, width))
    pen = ImageDraw.Draw(image)
    radius = 0.0 if filled else 0.02 + 0.07 * weight
    (line,) = _fit(rng, [shape_outline(rng, name)], width, radius)
    if filled:
        pen.polygon(line.ravel().tolist(), fill=255)
    else:
        line = np.concatenate([line, line[:1]])
        _trace(pen, line, np.full(len(line), radius * width))
    return image.reduce(2)
