"""What a drawn scene shows, in words: two styles of English, and German.

A model is pretrained on one of them; a prefix can then learn another. For two red circles left of
a blue square:

    plain     two red circles left of a blue square · a blue square right of two red circles
    terse     circle red 2; square blue 1
    german    zwei rote Kreise links von einem blauen Quadrat · …
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from maskgit_prompt.data.sets.scenes import Scene, Thing, place_of

NUMBERS = ("zero", "one", "two", "three", "four")
BESIDE = {"left": "left of", "right": "right of", "above": "above", "below": "below"}


def noun(
    count: int, size: str | None = None, colour: str | None = None, shape: str | None = None
) -> str:
    """One, or the plural: "red circle", "big crosses", "white things"."""
    word = shape or "thing"
    plural = "" if count == 1 else "es" if word.endswith("s") else "s"
    return " ".join(part for part in (size, colour, word + plural) if part)


def some(
    count: int, size: str | None = None, colour: str | None = None, shape: str | None = None
) -> str:
    """With its number: "a red circle", "an orange star", "two big crosses"."""
    name = noun(count, size, colour, shape)
    if count != 1:
        return f"{NUMBERS[count]} {name}"
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def groups(scene: Scene) -> list[list[Thing]]:
    """Things of the same colour and shape together, in the order of their left edges."""
    found: dict[tuple[str, str], list[Thing]] = {}
    for thing in sorted(scene.things, key=lambda thing: thing.box):
        found.setdefault((thing.colour, thing.shape), []).append(thing)
    return list(found.values())


@dataclasses.dataclass(frozen=True)
class _Language:
    """name: a group, and whether it follows a preposition -> its words."""

    name: Callable[[list[Thing], bool], str]
    beside: dict[str, str]
    last: str

    def join(self, parts: Sequence[list[Thing]], after: bool = False) -> str:
        *first, last = (self.name(part, after) for part in parts)
        return f"{', '.join(first)} {self.last} {last}" if first else last


# --- German ---------------------------------------------------------------------------------------

GERMAN_COLOURS = {
    "red": "rot",
    "orange": "orangefarben",
    "yellow": "gelb",
    "green": "grün",
    "blue": "blau",
    "purple": "violett",
    "black": "schwarz",
    "white": "weiß",
}
_GERMAN_NUMBERS = ("null", "ein", "zwei", "drei", "vier")
# Nominative, dative, both in the plural, and the ending of an adjective: ein roter, ein rotes.
_GERMAN_SHAPES = {
    "circle": ("Kreis", "Kreis", "Kreise", "Kreisen", "er"),
    "square": ("Quadrat", "Quadrat", "Quadrate", "Quadraten", "es"),
    "triangle": ("Dreieck", "Dreieck", "Dreiecke", "Dreiecken", "es"),
    "star": ("Stern", "Stern", "Sterne", "Sternen", "er"),
    "heart": ("Herz", "Herzen", "Herzen", "Herzen", "es"),
    "cross": ("Kreuz", "Kreuz", "Kreuze", "Kreuzen", "es"),
}


def _german(group: list[Thing], dative: bool) -> str:
    one, one_dative, several, several_dative, ending = _GERMAN_SHAPES[group[0].shape]
    colour, number = GERMAN_COLOURS[group[0].colour], _GERMAN_NUMBERS[len(group)]
    if len(group) > 1:
        return f"{number} {colour}{'en' if dative else 'e'} {several_dative if dative else several}"
    return f"einem {colour}en {one_dative}" if dative else f"ein {colour}{ending} {one}"


# --- Captions -------------------------------------------------------------------------------------

_ENGLISH = _Language(
    lambda group, _: some(len(group), colour=group[0].colour, shape=group[0].shape), BESIDE, "and"
)
_DEUTSCH = _Language(
    _german,
    {"left": "links von", "right": "rechts von", "above": "über", "below": "unter"},
    "und",
)


def plain(scene: Scene, seed: int) -> tuple[str, ...]:
    """All plain captions that are right; the seed sets which comes first."""
    return _captions(scene, seed, _ENGLISH)


def german(scene: Scene, seed: int) -> tuple[str, ...]:
    """The plain captions in German, in the same order."""
    return _captions(scene, seed, _DEUTSCH)


def terse(scene: Scene, seed: int) -> tuple[str, ...]:
    """The only terse caption, from left to right; the seed changes nothing."""
    parts = (f"{group[0].shape} {group[0].colour} {len(group)}" for group in groups(scene))
    return ("; ".join(parts),)


def _captions(scene: Scene, seed: int, language: _Language) -> tuple[str, ...]:
    """A group and where it lies, seen from all others; where none lies plainly, a list."""
    found = []
    parts = groups(scene)
    for number, part in enumerate(parts):
        rest = parts[:number] + parts[number + 1 :]
        place = place_of(part, [thing for other in rest for thing in other])
        if place:
            first, others = language.name(part, False), language.join(rest, True)
            found.append(f"{first} {language.beside[place]} {others}")
    if not found:
        return (language.join(parts),)
    first = int(np.random.Generator(np.random.Philox(seed)).integers(len(found)))
    return (*found[first:], *found[:first])
