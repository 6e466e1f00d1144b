"""Emoji: classes, families, and which are chosen."""

import json

import pytest

from benchmarks.gathering import emoji, targets, ten_classes
from benchmarks.gathering.emoji import Emoji

GRINNING = {"unified": "1F600", "short_name": "grinning", "subcategory": "face-smiling"}
ROCKETEER = {
    "unified": "1F469-200D-1F680",
    "short_name": "female-astronaut",
    "subcategory": "person-role",
    "skin_variations": {"1F3FF": {"unified": "1F469-1F3FF-200D-1F680"}},
}
FROG = {"unified": "1F438", "short_name": "frog", "subcategory": "animal-amphibian"}
SUN = {"unified": "2600-FE0F", "short_name": "sunny", "subcategory": "sky & weather"}


def table(*rows: dict) -> bytes:
    return json.dumps([row | {"sort_order": number} for number, row in enumerate(rows)]).encode()


def test_code_points_are_read_without_optional_ones():
    assert emoji.codes("00a9-fe0f") == emoji.codes("a9") == (0xA9,)
    assert emoji.codes("1f3f4-e0067-e007f") == emoji.codes("1F3F4-E0067") == (0x1F3F4, 0xE0067)


@pytest.mark.parametrize(
    ("kin", "stems"),
    [
        ("1f9d1-1f680", "1f9d1-200d-1f680 1f468-200d-1f680 1f469-1f3ff-200d-1f680"),
        ("1f3c3", "1f3c3 1f3c3-1f3fb 1f3c3-200d-2640-fe0f 1f3c3-200d-27a1-fe0f"),
        ("1f9d1-2764-1f9d1", "1f491 1f468-200d-2764-fe0f-200d-1f469"),
        ("1f600", "1f600"),
        ("1f601", "1f601"),
    ],
)
def test_tones_genders_and_directions_are_one_family(kin, stems):
    assert {emoji.family(emoji.codes(stem)) for stem in stems.split()} == {kin}


def test_a_table_gives_classes_and_tones():
    known = emoji.read(table(GRINNING, ROCKETEER, FROG, SUN))
    assert known[(0x1F600,)] == Emoji("grinning", "face-smiling", 0, "1f600")
    dark = known[(0x1F469, 0x1F3FF, 0x200D, 0x1F680)]
    assert dark == Emoji("female-astronaut-1f3ff", "person-role", 1, "1f9d1-1f680")
    assert known[(0x1F438,)].group == "animal-reptile"  # the only amphibian
    assert known[(0x2600,)].group == "sky-weather"


def test_a_tone_is_of_its_emojis_family_however_it_is_spelled():
    shake = {"unified": "1F91D", "short_name": "handshake", "subcategory": "hands"}
    mixed = {"1F3FB-1F3FF": {"unified": "1FAF1-1F3FB-200D-1FAF2-1F3FF"}}
    known = emoji.read(table(shake | {"skin_variations": mixed}))
    assert [one.family for one in known.values()] == ["1f91d", "1f91d"]


def test_evenly_spread():
    assert targets.evenly(list("abcde"), 2) == ["a", "c"]
    assert targets.evenly(list("abcde"), 5) == targets.evenly(list("abcde"), 9) == list("abcde")


def test_one_of_each_family_in_turn():
    assert ten_classes.chosen(["ab", "cd", "ef", "gh"], 2) == ["a", "f"]
    assert ten_classes.chosen(["abc", "d", "efg"], 4) == ["a", "d", "g"]


@pytest.mark.parametrize(
    ("name", "group", "inside"),
    [
        ("dog", "animal-mammal", True),
        ("feet", "animal-mammal", False),
        ("feet-1f3fb", "animal-mammal", False),
        ("sunny", "sky-weather", True),
        ("rainbow", "sky-weather", False),
    ],
)
def test_a_class_is_groups_and_additions_and_exceptions(name, group, inside):
    words = "animal-mammal +sunny -feet"
    assert ten_classes.members_of(words, Emoji(name, group, 0, "")) is inside
