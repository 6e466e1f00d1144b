"""Batches: pure in seed and step, images beside their own texts, one of several answers."""

import numpy as np

from maskgit_prompt.tasks.multimodal import goals
from maskgit_prompt.tasks.multimodal.asked import ask
from maskgit_prompt.tasks.multimodal.batches import Batches
from maskgit_prompt.tasks.pretraining.scenes import vocabulary
from tests.tasks.multimodal.made import examples

COLOURS = ("red", "green", "blue", "white", "black")


def made(twice=False, seed=0, targets=None):
    rows = [((colour,), targets or (colour,)) for colour in COLOURS]
    found = ask(examples(*rows), goals.find("question"), vocabulary(), 8, 32, None)
    return found, Batches(found, found.examples.read, seed, 4, twice)


def said(ids) -> str:
    return vocabulary().tokenizer.decode(ids).strip()


def test_each_row_is_one_example():
    _, batches = made()
    for step in range(3):
        batch = batches(step)
        for image, source, target in zip(*batch.values(), strict=True):
            colour = COLOURS[image[0, 0, 0]]
            assert said(source) == said(target) == colour
            assert (image == image[0, 0, 0]).all()


def test_a_batch_is_a_function_of_seed_and_step():
    first, again, other = made()[1], made()[1], made(seed=1)[1]
    first(0)
    for name, x in first(1).items():
        np.testing.assert_array_equal(x, again(1)[name])
    again(2)
    assert any((first(step)["source"] != other(step)["source"]).any() for step in (2, 3))


def test_an_epoch_has_every_example_once():
    _, batches = made()
    seen = [said(source) for step in range(5) for source in batches(step)["source"]]
    assert {colour: seen.count(colour) for colour in COLOURS} == dict.fromkeys(COLOURS, 4)


def test_of_several_answers_all_are_drawn():
    _, batches = made(targets=("yes", "no"))
    found = [said(target) for step in range(8) for target in batches(step)["target"]]
    assert set(found) == {"yes", "no"}


def test_r_drop_has_every_example_in_both_halves():
    _, batches = made(twice=True)
    for x in batches(0).values():
        assert len(x) == 8
        np.testing.assert_array_equal(x[:4], x[4:])
