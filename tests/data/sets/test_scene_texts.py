"""Texts of drawn scenes mean what they say: by hand for small scenes, by a reader for many.

The reader below knows grammar and boxes, and nothing of how the texts were made.
"""

import itertools
import re

import numpy as np
import pytest

from maskgit_prompt.data.sets import scene_captions as captions
from maskgit_prompt.data.sets import scene_questions as questions
from maskgit_prompt.data.sets.scenes import COLOURS, SHAPES, SIZES, Scene, Thing, make_scene

LEFT, RIGHT, MIDDLE = (4, 24, 18, 38), (44, 24, 58, 38), (24, 24, 38, 38)
TOP_LEFT, LOW_LEFT = (4, 4, 18, 18), (4, 44, 18, 58)
SEEDS = range(600)


def scene(*things: tuple[str, tuple]) -> Scene:
    """("big red circle", box), … in this order."""
    return Scene(tuple(Thing(*words.split(), box) for words, box in things))


RED_BLUE = scene(("small red circle", LEFT), ("big blue square", RIGHT))
BLUE_RED = scene(("small red circle", RIGHT), ("big blue square", LEFT))
EXCHANGED = scene(("small blue circle", LEFT), ("big red square", RIGHT))
TWO_AND_ONE = scene(
    ("small red circle", TOP_LEFT), ("small red circle", LOW_LEFT), ("big orange cross", RIGHT)
)

CORNERS = scene(
    ("small red circle", TOP_LEFT), ("small red circle", LOW_LEFT), ("small orange cross", MIDDLE)
)


def every(ask, of: Scene) -> dict[str, str]:
    """All questions that some seed asks, with their answers."""
    return dict(found for seed in SEEDS if (found := ask(of, seed)))


# --- Captions -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (
            RED_BLUE,
            {"a red circle left of a blue square", "a blue square right of a red circle"},
        ),
        (
            BLUE_RED,
            {"a red circle right of a blue square", "a blue square left of a red circle"},
        ),
        (
            EXCHANGED,
            {"a blue circle left of a red square", "a red square right of a blue circle"},
        ),
        (
            TWO_AND_ONE,
            {"two red circles left of an orange cross", "an orange cross right of two red circles"},
        ),
        # One is as much above as left, the other as much below: people may disagree.
        (CORNERS, {"two red circles and an orange cross"}),
        (scene(("big red circle", LEFT)), {"a red circle"}),
        (
            scene(("small red star", TOP_LEFT), ("small white heart", LOW_LEFT)),
            {"a red star above a white heart", "a white heart below a red star"},
        ),
        (
            scene(("small red star", LEFT), ("big red star", MIDDLE), ("big red cross", RIGHT)),
            {"two red stars left of a red cross", "a red cross right of two red stars"},
        ),
    ],
)
def test_plain_captions(shown, expected):
    assert set(captions.plain(shown, 0)) == expected


def test_the_seed_sets_which_caption_is_first():
    first = {captions.plain(RED_BLUE, seed)[0] for seed in SEEDS}
    assert first == set(captions.plain(RED_BLUE, 0))
    assert captions.plain(RED_BLUE, 7) == captions.plain(RED_BLUE, 7)


def test_a_group_beside_several_others():
    shown = scene(
        ("small red circle", LEFT), ("big blue star", (40, 22, 50, 32)), ("big red star", RIGHT)
    )
    assert "a red circle left of a blue star and a red star" in captions.plain(shown, 0)


def test_terse_captions():
    assert captions.terse(RED_BLUE, 0) == ("circle red 1; square blue 1",)
    assert captions.terse(BLUE_RED, 0) == ("square blue 1; circle red 1",)
    assert captions.terse(TWO_AND_ONE, 5) == ("circle red 2; cross orange 1",)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (
            RED_BLUE,
            {
                "ein roter Kreis links von einem blauen Quadrat",
                "ein blaues Quadrat rechts von einem roten Kreis",
            },
        ),
        (CORNERS, {"zwei rote Kreise und ein orangefarbenes Kreuz"}),
        (
            scene(
                ("small white heart", TOP_LEFT),
                ("small green star", LOW_LEFT),
                ("small green star", (8, 48, 20, 60)),
            ),
            {
                "ein weißes Herz über zwei grünen Sternen",
                "zwei grüne Sterne unter einem weißen Herzen",
            },
        ),
    ],
)
def test_german_captions(shown, expected):
    assert set(captions.german(shown, 0)) == expected


def test_german_captions_are_in_the_order_of_the_english():
    words = {"left": "links", "right": "rechts", "above": "über", "below": "unter"}
    for seed in SEEDS:
        english, german = captions.plain(RED_BLUE, seed)[0], captions.german(RED_BLUE, seed)[0]
        assert [words[w] for w in english.split() if w in words] == [
            w for w in german.split() if w in words.values()
        ]


def test_plurals_and_articles():
    assert captions.noun(2, shape="cross") == "crosses" and captions.noun(2) == "things"
    assert captions.noun(1, "big", "red") == "big red thing"
    assert captions.some(1, None, "orange", "star") == "an orange star"
    assert captions.some(1, "big", "orange", "star") == "a big orange star"
    assert captions.some(3, None, None, "heart") == "three hearts"


# --- Questions ------------------------------------------------------------------------------------


def test_exchanged_colours_exchange_the_answers():
    assert every(questions.colour, RED_BLUE)["what colour is the circle?"] == "red"
    assert every(questions.colour, EXCHANGED)["what colour is the circle?"] == "blue"
    assert every(questions.colour_german, RED_BLUE)["what colour is the square?"] == "blau"
    assert every(questions.shape, RED_BLUE)["what shape is the red thing?"] == "circle"
    assert every(questions.shape, EXCHANGED)["what shape is the red thing?"] == "square"


def test_exchanged_sides_exchange_the_answers():
    asked = "where is the circle relative to the square?"
    assert every(questions.place, RED_BLUE)[asked] == "left"
    assert every(questions.place, BLUE_RED)[asked] == "right"
    assert questions.place(scene(("big red circle", LEFT)), 0) is None


def test_questions_do_not_tell_their_answer():
    assert not any("red" in asked for asked in every(questions.colour, RED_BLUE))
    assert not any("circle" in asked for asked in every(questions.shape, RED_BLUE))


def test_counts():
    found = every(questions.count, TWO_AND_ONE)
    assert found["how many red circles are there?"] == "two"
    assert found["how many things are there?"] == "three"
    assert found["how many crosses are there?"] == "one"
    # Colours and shapes are there, but not together.
    assert found["how many orange circles are there?"] == "zero"


def test_presence():
    found = every(questions.presence, RED_BLUE)
    assert found["is there a red circle?"] == "yes"
    assert found["is there a blue circle?"] == "no"
    assert "is there a thing?" not in found


def test_a_question_of_any_kind():
    kinds = {questions.question(RED_BLUE, seed)[0].split()[1] for seed in SEEDS}
    assert kinds == {"colour", "shape", "many", "there", "is"}


def test_the_kind_of_a_question_does_not_decide_what_it_is_about():
    found = {questions.question(RED_BLUE, seed) for seed in range(300)}
    assert set(every(questions.colour, RED_BLUE).items()) <= found


# --- Names ----------------------------------------------------------------------------------------


def test_names_of_one_thing():
    red, blue = RED_BLUE.things
    found = questions.names(RED_BLUE, red)
    assert {"the circle", "the red thing", "the red circle", "the small thing"} <= set(found)
    assert "the leftmost thing" not in found  # names have a colour, a shape or a size
    assert "the blue thing" in questions.names(RED_BLUE, blue)


def test_names_of_one_among_like_things():
    upper, lower, _ = TWO_AND_ONE.things
    found = questions.names(TWO_AND_ONE, upper)
    assert "the topmost red circle" in found and "the lowest red circle" not in found
    assert "the lowest circle" in questions.names(TWO_AND_ONE, lower)
    # They stand in one column: neither is leftmost.
    assert not {"the red circle", "the circle", "the leftmost circle"} & set(found)


def test_no_name_for_what_differs_by_a_pixel():
    pair = scene(("small red circle", LEFT), ("small red circle", (5, 44, 19, 58)))
    assert "the leftmost circle" not in questions.names(pair, pair.things[0])
    # The edge of one is further left, the centre of the other.
    pair = scene(("big red circle", (4, 4, 32, 32)), ("small red circle", (9, 44, 21, 56)))
    assert not any("leftmost" in n for thing in pair.things for n in questions.names(pair, thing))


def test_no_name_at_all():
    four = [(x, y, x + 14, y + 14) for x in (4, 44) for y in (4, 44)]
    shown = scene(*(("small red circle", box) for box in four))
    assert questions.refer(shown, 0) is None and questions.colour(shown, 0) is None
    assert all(questions.statement(shown, seed) for seed in SEEDS)


# --- A reader of many scenes ----------------------------------------------------------------------

_NAME = re.compile(
    r"the (?:(leftmost|rightmost|topmost|lowest) )?"
    rf"(?:({'|'.join(SIZES)}) )?(?:({'|'.join(COLOURS)}) )?({'|'.join(SHAPES)}|thing)"
)
_KIND = re.compile(rf"(?:({'|'.join(COLOURS)}) )?({'|'.join(SHAPES)}|thing)(?:e?s)?")
_PLACED = re.compile(r"(the .*) is (left of|right of|above|below) (the .*)")


def fits(thing: Thing, size: str | None, colour: str | None, shape: str) -> bool:
    return (
        size in (None, thing.size)
        and colour in (None, thing.colour)
        and shape in ("thing", thing.shape)
    )


def meant(shown: Scene, name: str) -> Thing:
    """The one thing that a name means.

    Raises:
      ValueError: it means none or several.
    """
    most, *known = _NAME.fullmatch(name).groups()
    found = [thing for thing in shown.things if fits(thing, *known)]
    if most:
        axis = 0 if most in ("leftmost", "rightmost") else 1
        found.sort(key=lambda thing: thing.centre[axis], reverse=most in ("rightmost", "lowest"))
        # A reader needs to see which: 3 pixels of 64.
        if len(found) > 1 and abs(found[0].centre[axis] - found[1].centre[axis]) > 3:
            found = found[:1]
    if len(found) != 1:
        raise ValueError(f"{name} means {len(found)} things")
    return found[0]


def counted(shown: Scene, kind: str) -> int:
    colour, shape = _KIND.fullmatch(kind).groups()
    return sum(fits(thing, None, colour, shape) for thing in shown.things)


def place(one: Thing, other: Thing) -> str:
    across, down = np.subtract(one.centre, other.centre)
    if abs(across) > abs(down):
        return "left" if across < 0 else "right"
    return "above" if down < 0 else "below"


def many() -> list[tuple[Scene, int]]:
    return [(make_scene(1, number), number) for number in range(400)]


def test_the_reader_refuses_a_name_of_several():
    for name in ("the circle", "the red thing", "the leftmost red circle", "the heart"):
        with pytest.raises(ValueError, match=f"{name} means [02] things"):
            meant(TWO_AND_ONE, name)
    assert meant(TWO_AND_ONE, "the topmost circle").box == TOP_LEFT
    assert meant(TWO_AND_ONE, "the lowest red circle").box == LOW_LEFT
    assert meant(TWO_AND_ONE, "the big thing").box == RIGHT


def test_every_reference_means_the_thing_of_its_box():
    for shown, seed in many():
        name, box = questions.refer(shown, seed)
        assert meant(shown, name).box == box
        for thing in shown.things:
            assert all(meant(shown, name) is thing for name in questions.names(shown, thing))


def test_every_answer_is_right():
    for shown, seed in many():
        for asked in ("colour", "shape"):
            text, answer = questions.QUESTIONS[asked](shown, seed)
            name = text.removeprefix(f"what {asked} is ").removesuffix("?")
            assert getattr(meant(shown, name), asked) == answer
        text, answer = questions.count(shown, seed)
        kind = text.removeprefix("how many ").removesuffix(" are there?")
        assert captions.NUMBERS[counted(shown, kind)] == answer
        text, answer = questions.presence(shown, seed)
        kind = re.fullmatch(r"is there an? (.*)\?", text).group(1)
        assert (counted(shown, kind) > 0) == (answer == "yes")
        if found := questions.place(shown, seed):
            one, other = re.fullmatch(r"where is (.*) relative to (.*)\?", found[0]).groups()
            assert place(meant(shown, one), meant(shown, other)) == found[1]


def shows(shown: Scene, text: str) -> str:
    """Whether a picture shows what a statement says."""
    if re.search("heavy|likes|hidden|outside", text):
        return "maybe"
    if match := re.fullmatch(r"there (?:is|are) exactly (\w+) (.*)", text):
        right = captions.NUMBERS[counted(shown, match[2])] == match[1]
    elif match := re.fullmatch(r"there is an? (.*)", text):
        right = counted(shown, match[1]) > 0
    elif match := _PLACED.fullmatch(text):
        right = place(meant(shown, match[1]), meant(shown, match[3])) == match[2].split()[0]
    else:
        name, size = re.fullmatch(r"(the .*) is (small|big)", text).groups()
        right = meant(shown, name).size == size
    return "yes" if right else "no"


def test_every_statement_has_its_label():
    labels = []
    for shown, seed in many():
        text, label = questions.statement(shown, seed)
        assert shows(shown, text) == label, text
        labels.append(label)
    shares = [labels.count(label) / len(labels) for label in questions.LABELS]
    assert min(shares) > 0.25


def test_what_is_hidden_would_not_be_seen():
    # Behind a star or a small thing it would stick out.
    covers = [
        meant(shown, text.split(" is hidden behind ")[1])
        for shown, seed in many()
        if " hidden " in (text := questions.statement(shown, seed)[0])
    ]
    assert covers and {(thing.size, thing.shape) for thing in covers} <= set(
        itertools.product(["big"], ["circle", "square"])
    )


def test_every_kind_of_statement_is_made_of_both_labels():
    found = {questions.statement(RED_BLUE, seed) for seed in range(2000)}
    assert {
        ("the circle is left of the square", "yes"),
        ("the circle is right of the square", "no"),
        ("there is a blue circle", "no"),
        ("the circle is small", "yes"),
        ("the red circle is big", "no"),
        ("there is exactly one circle", "yes"),
        ("there are exactly two things", "yes"),
    } <= found
