"""What an emoji is: its class, and its family, whatever the set it is drawn for.

Read from the table emoji.json of the npm packages emoji-datasource-*.
"""

import dataclasses
import json
import re

TONES = frozenset(range(0x1F3FB, 0x1F400))  # the five skin tones
# Written or left out at will: presentation, the end of a tag.
_OPTIONAL = frozenset((0xFE0F, 0xE007F))
# Beside tones, what members of a family differ in: the joiner, the two gender signs, the direction.
_VARIANTS = TONES | {0x200D, 0x2640, 0x2642, 0x27A1}
_MAN, _WOMAN, _PERSON = 0x1F468, 0x1F469, 0x1F9D1
# Couples that have a code point of their own, and what their other genders are spelled as.
_HANDS, _KISS, _HEART = "1f9d1-1f91d-1f9d1", "1f9d1-2764-1f48b-1f9d1", "1f9d1-2764-1f9d1"
_SPELLED = {"1f46b": _HANDS, "1f46c": _HANDS, "1f46d": _HANDS, "1f48f": _KISS, "1f491": _HEART}
# Subcategories of fewer than five emoji, and where they go.
_MERGED = {
    "animal-amphibian": "animal-reptile",
    "currency": "money",
    "face-glasses": "face-smiling",
    "face-hat": "face-smiling",
    "gender": "other-symbol",
    "hand-prop": "hands",
    "hotel": "place-building",
    "monkey-face": "cat-face",
    "subdivision-flag": "country-flag",
}


@dataclasses.dataclass(frozen=True)
class Emoji:
    """One picture of a set.

    Attributes:
      name: short, unique: "santa", with a tone "santa-1f3fb".
      group: its class: Unicode's subcategory as a folder's name, "animal-bird", "sky-weather".
      order: its place in Unicode's order.
      family: equal for all skin tones and genders of one emoji.
    """

    name: str
    group: str
    order: int
    family: str


def codes(stem: str) -> tuple[int, ...]:
    """The code points in a file's name, without optional ones: "00a9-fe0f" -> (0xa9,)."""
    points = (int(point, 16) for point in stem.split("-"))
    return tuple(point for point in points if point not in _OPTIONAL)


def family(points: tuple[int, ...]) -> str:
    """Equal for emoji that differ in tone, gender or direction only.

    Woman, dark tone, joiner, rocket (1f469 1f3ff 200d 1f680) -> "1f9d1-1f680", as for a man's.
    """
    people = {_MAN: _PERSON, _WOMAN: _PERSON}
    spelled = "-".join(f"{people.get(p, p):x}" for p in points if p not in _VARIANTS)
    return _SPELLED.get(spelled, spelled)


def read(table: bytes) -> dict[tuple[int, ...], Emoji]:
    """All emoji of an emoji.json, with their skin tones, by code points."""
    found = {}
    for row in json.loads(table):
        group = _MERGED.get(row["subcategory"], row["subcategory"])
        group = re.sub(r"[^a-z]+", "-", group.lower())
        kin = family(codes(row["unified"]))
        for tone, drawn in {"": row, **row.get("skin_variations", {})}.items():
            name = "-".join(filter(None, (row["short_name"], tone.lower())))
            found[codes(drawn["unified"])] = Emoji(name, group, row["sort_order"], kin)
    return found
