"""What can be asked, pointed at and stated about a drawn scene, with what is right.

Every function is pure in (scene, seed); one that finds nothing to ask returns None: there is no
"where" in a scene of one thing.
"""

from collections.abc import Callable, Iterator

import numpy as np

from maskgit_prompt.data.sets.drawing import Rng
from maskgit_prompt.data.sets.scene_captions import (
    BESIDE,
    GERMAN_COLOURS,
    NUMBERS,
    noun,
    some,
)
from maskgit_prompt.data.sets.scenes import (
    COLOURS,
    PLACES,
    SHAPES,
    SIZES,
    Box,
    Scene,
    Thing,
    place_of,
)

Asked = tuple[str, str] | None  # a question and its answer


def _rng(seed: int) -> Rng:
    return np.random.Generator(np.random.Philox(seed))


def _pick(rng: Rng, of: list) -> object:
    return of[rng.integers(len(of))]


# --- Names that mean one thing --------------------------------------------------------------------

_NAMED_BY = (
    ("shape",),
    ("colour",),
    ("colour", "shape"),
    ("size",),
    ("size", "shape"),
    ("size", "colour"),
    ("size", "colour", "shape"),
)
# The axis, and which way is out.
_OUTERMOST = {"leftmost": (0, -1), "rightmost": (0, 1), "topmost": (1, -1), "lowest": (1, 1)}


def names(scene: Scene, thing: Thing, hidden: str | None = None) -> list[str]:
    """All names that mean this thing and no other, none of which tells the attribute `hidden`.

    A red circle left of a red square: "the circle", "the red circle", "the leftmost red thing", …,
    but not "the red thing".
    """
    found = []
    for attributes in _NAMED_BY:
        if hidden in attributes:
            continue
        known = {attribute: getattr(thing, attribute) for attribute in attributes}
        alike = [other for other in scene.matching(**known) if other is not thing]
        if not alike:
            found.append(f"the {noun(1, **known)}")
            continue
        found += [
            f"the {most} {noun(1, **known)}"
            for most, (axis, way) in _OUTERMOST.items()
            if "size" not in known and _further_out(scene, thing, alike, axis, way)
        ]
    return found


def _further_out(scene: Scene, thing: Thing, others: list[Thing], axis: int, way: int) -> bool:
    """Whether a thing's outer edge and its centre are both beyond those of the others, and not by
    a pixel that nobody sees."""
    edge = axis if way < 0 else axis + 2
    margin = scene.side / 16
    return all(
        way * (thing.box[edge] - other.box[edge]) >= margin
        and way * (thing.centre[axis] - other.centre[axis]) >= margin
        for other in others
    )


def refer(scene: Scene, seed: int) -> tuple[str, Box] | None:
    """A name and the box of the one thing that it means."""
    every = [(name, thing.box) for thing in scene.things for name in names(scene, thing)]
    return _pick(_rng(seed), every) if every else None


# --- Questions ------------------------------------------------------------------------------------


def colour(scene: Scene, seed: int) -> Asked:
    """("what colour is the circle?", "red")"""
    return _attribute(scene, seed, "colour")


def shape(scene: Scene, seed: int) -> Asked:
    """("what shape is the red thing?", "circle")"""
    return _attribute(scene, seed, "shape")


def _attribute(scene: Scene, seed: int, asked: str) -> Asked:
    every = [(name, thing) for thing in scene.things for name in names(scene, thing, asked)]
    if not every:
        return None
    name, thing = _pick(_rng(seed), every)
    return f"what {asked} is {name}?", getattr(thing, asked)


def colour_german(scene: Scene, seed: int) -> Asked:
    """("what colour is the circle?", "rot")"""
    found = colour(scene, seed)
    return found and (found[0], GERMAN_COLOURS[found[1]])


def count(scene: Scene, seed: int) -> Asked:
    """("how many red circles are there?", "two"); one time in five there is none."""
    rng = _rng(seed)
    known = _described(scene, rng, there=rng.random() < 0.8)
    return f"how many {noun(2, **known)} are there?", NUMBERS[len(scene.matching(**known))]


def presence(scene: Scene, seed: int) -> Asked:
    """("is there a red circle?", "yes"), or "no" half of the time."""
    rng = _rng(seed)
    there = rng.random() < 0.5
    known = _described(scene, rng, there, least=1)
    return f"is there {some(1, **known)}?", "yes" if there else "no"


def place(scene: Scene, seed: int) -> Asked:
    """("where is the red circle relative to the blue square?", "left")"""
    rng = _rng(seed)
    pairs = list(_placed(scene))
    if not pairs:
        return None
    this, other, where = _pick(rng, pairs)
    first, second = _pick(rng, names(scene, this)), _pick(rng, names(scene, other))
    return f"where is {first} relative to {second}?", where


def _placed(scene: Scene) -> Iterator[tuple[Thing, Thing, str]]:
    """Pairs of things that have names, the one plainly beside, above or below the other."""
    named = [thing for thing in scene.things if names(scene, thing)]
    for this in named:
        for other in named:
            where = None if other is this else place_of([this], [other])
            if where:
                yield this, other, where


def _described(scene: Scene, rng: Rng, there: bool, least: int = 0) -> dict[str, str]:
    """Colour, shape, both, or if least is 0 neither, that some thing of the scene has, or none."""
    if there:
        thing = _pick(rng, list(scene.things))
        every = [("colour", "shape"), ("colour",), ("shape",), ()]
        kept = _pick(rng, every[: len(every) - least])
        return {attribute: getattr(thing, attribute) for attribute in kept}
    # Best is what exchanges the attributes of two things: red circle and blue square, but no blue
    # circle. Otherwise one attribute is that of a thing.
    colours, shapes = ({getattr(t, a) for t in scene.things} for a in ("colour", "shape"))
    mixed = [(c, s) for c in COLOURS for s in SHAPES if c in colours and s in shapes]
    near = [(c, s) for c in COLOURS for s in SHAPES if (c in colours) != (s in shapes)]
    absent = [pair for pair in mixed if not scene.matching(None, *pair)]
    found = _pick(rng, absent if absent and rng.random() < 0.6 else near)
    return dict(zip(("colour", "shape"), found, strict=True))


QUESTIONS: dict[str, Callable[[Scene, int], Asked]] = {
    "colour": colour,
    "shape": shape,
    "count": count,
    "presence": presence,
    "place": place,
}
ANSWERS: dict[str, tuple[str, ...]] = {
    "colour": tuple(COLOURS),
    "shape": tuple(SHAPES),
    "count": NUMBERS,
    "presence": ("yes", "no"),
    "place": tuple(PLACES),
}


def question(scene: Scene, seed: int) -> Asked:
    """A question of any kind that the scene answers."""
    rng = _rng(seed)
    # With the same seed, which kind is picked would decide what is picked in it.
    own = int(rng.integers(2**63))
    return _pick(rng, [found for ask in QUESTIONS.values() if (found := ask(scene, own))])


# --- Statements -----------------------------------------------------------------------------------

LABELS = ("yes", "no", "maybe")
_COVERS = ("circle", "square")  # what hides every small thing, if it is big


def statement(scene: Scene, seed: int) -> tuple[str, str]:
    """A statement, and whether the picture shows it: "yes", "no", or "maybe" if it cannot tell.

    A red circle left of a blue square: "the circle is left of the square" yes, "there are exactly
    two circles" no, "the circle is heavy" maybe.
    """
    rng = _rng(seed)
    label = LABELS[rng.integers(len(LABELS))]
    if label == "maybe":
        return _untold(scene, rng), label
    kinds = [_states_presence, _states_count, _states_place, _states_size]
    stated = (kinds[kind](scene, rng, label == "yes") for kind in rng.permutation(len(kinds)))
    return next(filter(None, stated)), label


def _untold(scene: Scene, rng: Rng) -> str:
    """What no picture tells: what lies outside of it or behind something, weight, liking."""
    unseen = some(1, "small", _pick(rng, list(COLOURS)), _pick(rng, list(SHAPES)))
    told = [f"there is {unseen} outside the picture"]
    covers = [t for t in scene.matching("big") if t.shape in _COVERS]
    for things, says in (
        (covers, f"{unseen} is hidden behind {{}}"),
        (scene.things, "{} is heavy"),
        (scene.things, "somebody likes {}"),
    ):
        every = [name for thing in things for name in names(scene, thing)]
        told += [says.format(_pick(rng, every))] if every else []
    return _pick(rng, told)


def _states_presence(scene: Scene, rng: Rng, right: bool) -> str:
    return f"there is {some(1, **_described(scene, rng, right, least=1))}"


def _states_count(scene: Scene, rng: Rng, right: bool) -> str:
    known = _described(scene, rng, there=True)
    number = len(scene.matching(**known))
    if not right:
        number = _pick(rng, [n for n in range(1, len(NUMBERS)) if n != number])
    verb = "is" if number == 1 else "are"
    return f"there {verb} exactly {NUMBERS[number]} {noun(number, **known)}"


def _states_place(scene: Scene, rng: Rng, right: bool) -> str | None:
    pairs = list(_placed(scene))
    if not pairs:
        return None
    this, other, where = _pick(rng, pairs)
    first, second = _pick(rng, names(scene, this)), _pick(rng, names(scene, other))
    return f"{first} is {BESIDE[where if right else PLACES[where]]} {second}"


def _states_size(scene: Scene, rng: Rng, right: bool) -> str | None:
    every = [(name, t.size) for t in scene.things for name in names(scene, t, "size")]
    if not every:
        return None
    name, size = _pick(rng, every)
    return f"{name} is {size if right else next(other for other in SIZES if other != size)}"
