"""Drawn scenes: the same every time, as they are described, and as examples of tasks."""

import itertools

import numpy as np
import pytest

from maskgit_prompt.data import boxes
from maskgit_prompt.data.sets import scene_tasks
from maskgit_prompt.data.sets.scene_tasks import TASKS, numbers, scene_examples
from maskgit_prompt.data.sets.scenes import (
    COLOURS,
    SHAPES,
    SIZES,
    Scene,
    Thing,
    draw,
    make_scene,
    place_of,
)
from maskgit_prompt.errors import UsageError

BLACK = ((0, 0, 0), (0, 0, 0))


def at(left: float, top: float, side: float = 10) -> Thing:
    return Thing("small", "red", "square", (left, top, left + side, top + side))


# --- Scenes ---------------------------------------------------------------------------------------


def test_a_scene_is_the_same_in_any_order():
    forwards = [make_scene(3, number) for number in range(20)]
    assert [make_scene(3, number) for number in reversed(range(20))] == forwards[::-1]
    assert make_scene(4, 0) != make_scene(3, 0) != make_scene(3, 1) != make_scene(1, 3)


def test_a_scene_of_this_version():
    # As long as VERSION stays, this does: codes files are kept by it.
    things = [(t.size, t.colour, t.shape, t.box) for t in make_scene(5, 2).things]
    assert things == [
        ("big", "blue", "circle", (10, 4, 33, 27)),
        ("small", "purple", "circle", (6, 41, 19, 54)),
    ]


def test_things_are_apart_inside_and_of_their_size():
    seen = set()
    for number in range(200):
        scene = make_scene(0, number)
        seen |= {(thing.size, len(scene.things)) for thing in scene.things}
        for thing in scene.things:
            left, top, right, bottom = thing.box
            least, most = SIZES[thing.size]
            assert 1 <= left < right <= 63 and 1 <= top < bottom <= 63
            assert least <= max(right - left, bottom - top) <= most
        for one, other in itertools.combinations(scene.things, 2):
            across = max(one.box[0], other.box[0]) - min(one.box[2], other.box[2])
            down = max(one.box[1], other.box[1]) - min(one.box[3], other.box[3])
            assert max(across, down) >= 2
    assert seen == set(itertools.product(SIZES, (1, 2, 3, 4)))


def test_every_colour_and_shape_and_several_alike():
    things = [make_scene(0, number).things for number in range(200)]
    assert {t.colour for row in things for t in row} == set(COLOURS)
    assert {t.shape for row in things for t in row} == set(SHAPES)
    alike = [len({(t.colour, t.shape) for t in row}) < len(row) for row in things]
    assert 0.3 < np.mean(alike) < 0.7


@pytest.mark.parametrize(
    ("these", "others", "place"),
    [
        ([at(0, 20)], [at(30, 20)], "left"),
        ([at(30, 20)], [at(0, 20)], "right"),
        ([at(20, 0)], [at(20, 30)], "above"),
        ([at(20, 30)], [at(20, 0)], "below"),
        ([at(0, 0)], [at(30, 30)], None),
        ([at(0, 0)], [at(30, 20)], "left"),
        ([at(0, 0)], [at(30, 21)], None),
        ([at(0, 0, 30)], [at(20, 5)], None),
        ([at(0, 20), at(10, 30)], [at(40, 25)], "left"),
        ([at(0, 20), at(50, 20)], [at(25, 20)], None),
    ],
)
def test_place_of_things(these, others, place):
    assert place_of(these, others) == place


def test_matching_is_by_what_is_named():
    one = Thing("big", "red", "circle", (0, 0, 9, 9))
    two = Thing("small", "red", "square", (20, 0, 29, 9))
    scene = Scene((one, two))
    assert scene.matching(colour="red") == scene.matching() == [one, two]
    assert scene.matching(shape="square") == scene.matching("small") == [two]
    assert scene.matching("big", "red", "square") == []


# --- Pictures -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("turn", [0.0, 0.1])
def test_a_thing_fills_its_box(shape, turn):
    # Columns 10 to 29 and rows 20 to 39 have ink, no others.
    thing = Thing("big", "white", shape, (10, 20, 30, 40), turn)
    ink = draw(Scene((thing,), 64, BLACK)).any(axis=-1)
    assert np.flatnonzero(ink.any(axis=0)).tolist() == list(range(10, 30))
    assert np.flatnonzero(ink.any(axis=1)).tolist() == list(range(20, 40))


def test_colours_and_grounds_are_where_they_belong():
    red = Thing("big", "red", "square", (8, 8, 24, 24))
    shaded = Thing("big", "red", "square", (40, 8, 56, 24), rgb=(200, 50, 40))
    pixels = draw(Scene((red, shaded), 64, ((100, 110, 120), (140, 140, 140))))
    assert pixels.dtype == np.uint8 and pixels.shape == (64, 64, 3)
    assert pixels[16, 16].tolist() == list(COLOURS["red"])
    assert pixels[16, 48].tolist() == [200, 50, 40]
    np.testing.assert_allclose(pixels[0, 32], [100, 110, 120], atol=1)
    np.testing.assert_allclose(pixels[63, 32], [140, 140, 140], atol=1)


def test_edges_are_smooth():
    circle = Thing("big", "white", "circle", (10, 10, 40, 40))
    levels = np.unique(draw(Scene((circle,), 64, BLACK))[..., 0])
    assert len(levels) > 8 and levels[0] == 0 and levels[-1] == 242


def test_another_side_scales_the_scene():
    for number in range(10):
        small, large = make_scene(0, number), make_scene(0, number, 128)
        for one, other in zip(small.things, large.things, strict=True):
            assert other.box == tuple(2 * edge for edge in one.box)
        halved = draw(large).reshape(64, 2, 64, 2, 3).mean(axis=(1, 3))
        assert np.abs(halved - draw(small)).mean() < 1


# --- Examples -------------------------------------------------------------------------------------


def test_parts_share_no_scene():
    test = list(itertools.islice(numbers("test"), 3))
    assert test == [9, 19, 29]
    assert list(itertools.islice(numbers("tune"), 12)) == [*range(9), 10, 11, 12]


@pytest.mark.parametrize("task", TASKS)
def test_examples_are_those_of_their_scenes(task):
    examples = scene_examples(task, 30, seed=2, split="test")
    assert len(examples) == 30 and examples.sizes.tolist() == [[64, 64]] * 30
    drawn = [int(row.split()[1]) for row in examples.rows]
    assert all(number % 10 == 9 for number in drawn)
    for i, number in enumerate(drawn):
        told = TASKS[task].tell(make_scene(2, number), (2 << 64) | number)
        assert told == (examples.texts[i], examples.targets[i])
        assert len(examples.texts[i]) == TASKS[task].instruction.count("{}")
        if TASKS[task].answers:
            assert set(examples.targets[i]) <= set(TASKS[task].answers)
    assert [len(row) for row in examples.weights] == [len(row) for row in examples.targets]
    pixels = examples.read(np.array([7, 0]))
    np.testing.assert_array_equal(pixels[0], draw(make_scene(2, drawn[7])))
    np.testing.assert_array_equal(pixels[1], draw(make_scene(2, drawn[0])))


def test_scenes_that_a_task_has_nothing_for_are_left_out():
    # Some scenes have one thing, and a "where" needs two.
    rows = scene_examples("place", 40).rows
    drawn = [int(row.split()[1]) for row in rows]
    assert drawn == sorted(drawn) and drawn[-1] > 44
    assert all(len(make_scene(0, number).things) > 1 for number in drawn)


def test_more_examples_begin_with_the_fewer():
    few, many = scene_examples("question", 5), scene_examples("question", 50)
    assert many.texts[:5] == few.texts and many.rows[:5] == few.rows
    np.testing.assert_array_equal(few.read(np.arange(5)), many.read(np.arange(5)))


@pytest.mark.parametrize("side", [64, 100])
def test_boxes_are_read_as_those_of_a_table(side):
    examples = scene_examples("refer", 20, side=side)
    found = boxes.of_examples(examples)
    for box, row in zip(found, examples.rows, strict=True):
        things = make_scene(0, int(row.split()[1]), side).things
        assert any(np.allclose(box, thing.box, atol=1e-3) for thing in things)


def test_fingerprint_is_of_everything(monkeypatch):
    first = scene_examples("shape", 5).fingerprint
    assert scene_examples("shape", 5).fingerprint == first
    others = [
        scene_examples("colour", 5),
        scene_examples("shape", 6),
        scene_examples("shape", 5, seed=1),
        scene_examples("shape", 5, split="test"),
        scene_examples("shape", 5, side=80),
    ]
    monkeypatch.setattr(scene_tasks, "VERSION", "another")
    others.append(scene_examples("shape", 5))
    # Other texts, though nobody changed the version.
    monkeypatch.setitem(TASKS, "shape", TASKS["colour"])
    others.append(scene_examples("shape", 5))
    assert len({first, *(other.fingerprint for other in others)}) == 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "poem"}, r"task 'poem' of scenes; expected one of caption, caption-terse, "),
        ({"split": "val"}, r"split 'val' of scenes; expected one of tune, test"),
        ({"num": 0}, r"num=0 scenes asked for; expected at least 1"),
        ({"seed": -1}, r"seed=-1; expected 0 to 2\*\*63 - 1"),
        ({"side": 31}, r"side=31 pixels for scenes; expected at least 32"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(UsageError, match=message):
        scene_examples(**{"task": "shape", "num": 2, **arguments})


def test_an_example_that_is_not_there():
    with pytest.raises(IndexError, match="example 5 of 5"):
        scene_examples("shape", 5).read(np.array([5]))
