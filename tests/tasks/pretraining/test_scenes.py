"""The stream of drawn scenes: held out, growing, with texts that have no picture."""

import numpy as np
import pytest

from maskgit_prompt.config import multimodal, pretraining
from maskgit_prompt.data.sets import scene_tasks
from maskgit_prompt.data.sets.scenes import draw, make_scene
from maskgit_prompt.errors import UsageError
from maskgit_prompt.models.specials import END, PAD
from maskgit_prompt.tasks.pretraining.scenes import (
    SceneBatches,
    SceneCorpus,
    marked,
    vocabulary,
    with_holes,
)


def corpus(**changes) -> SceneCorpus:
    config = pretraining.pretrain("multimodal")
    config.data.num, config.data.size = 200, 32
    config.scenes.update(changes)
    return SceneCorpus.of(config)


def said(ids) -> str:
    return vocabulary().tokenizer.decode(ids)


def test_every_word_of_every_task_is_one_id():
    words = vocabulary().tokenizer
    for name, task in scene_tasks.TASKS.items():
        for number in range(3000, 3030):
            told = task.tell(make_scene(1, number), number)
            if told and name != "refer":
                for text in (task.instruction.format(*told[0]), f" {told[1][0]}"):
                    ids = words.encode(text)
                    assert words.decode(ids) == text and min(ids) >= 260, text
    assert words.layout.bins == 65


def test_every_tenth_scene_is_held_out():
    one = corpus()
    held = set(one.numbers(held=True).tolist())
    assert held == set(range(9, 200, 10)) and len(one) == 180
    tuned = {number for number, _ in zip(scene_tasks.numbers("tune"), range(180), strict=False)}
    assert set(one.numbers(held=False).tolist()) == tuned
    shown = one.held_out("count", 5)
    assert [found.number for found in shown] == [9, 19, 29, 39, 49]


def test_a_batch_shows_what_it_asks_about():
    one = corpus(tasks=("count",))
    found = one.held_out("count", 6)
    batch = one.batch(found)
    for row, number in enumerate(f.number for f in found):
        np.testing.assert_array_equal(batch["images"][row], draw(make_scene(0, number, 32)))
        question = said(batch["source"][row])
        assert question.startswith(" how many ") and batch["target"][row, 1] == END
        kind = question.removeprefix(" how many ").removesuffix(" are there?").split()
        scene = make_scene(0, number, 32)
        colour = next((word for word in kind if word in ("red", "blue", "green")), None)
        if kind == [colour, "things"]:
            right = scene_tasks.scene_captions.NUMBERS[len(scene.matching(colour=colour))]
            assert said(batch["target"][row]).strip() == right


def test_batches_show_no_scene_that_is_held_out(monkeypatch):
    monkeypatch.setattr(SceneCorpus, "batch", lambda self, found: found)
    one = corpus(tasks=("count",))
    scenes = {shown.scene for step in range(3) for shown in SceneBatches(one, 0, 40)(step)}
    assert len(scenes) > 50 and not scenes & set(one.numbers(held=True).tolist())


def test_batches_are_functions_of_seed_and_step():
    one = corpus()
    first, again = SceneBatches(one, 0, 4), SceneBatches(one, 0, 4)
    first(0)
    for name, x in first(1).items():
        np.testing.assert_array_equal(x, again(1)[name])
    assert (SceneBatches(one, 1, 4)(1)["source"] != again(1)["source"]).any()


def test_texts_alone_have_no_picture_and_some_words_to_fill_in():
    one = corpus(tasks=("count",), texts=("caption-german",), texts_share=0.5)
    batch = SceneBatches(one, 0, 40)(0)
    alone = ~batch["there"]
    assert 8 < alone.sum() < 32
    for there, source in zip(batch["there"], batch["source"], strict=True):
        assert ("<mask>" in said(source)) != there
        assert said(source).startswith(" how many " if there else " what is the complete text")


def test_styles_that_ask_the_same_are_marked():
    assert marked("caption-german", " what?") == " what? german"
    assert marked("caption", " what?") == " what?"
    one = corpus(tasks=("caption-terse",))
    assert said(one.held_out("caption-terse", 1)[0].source).endswith("describe? terse")


def test_scenes_grow():
    one = corpus(ease=3)
    assert [one.most_things(step) for step in range(5)] == [1, 2, 3, 4, 4]
    assert corpus().most_things(0) == 4
    rng = np.random.default_rng(0)
    for number in range(20):
        things = len(make_scene(0, number, 32).things)
        shown = one.shown("caption", False, number, rng, most=2)
        assert (shown is None) == (things > 2)


def test_at_least_one_word_is_hidden():
    rng = np.random.default_rng(0)
    texts = [with_holes("zwei rote Kreise", rng) for _ in range(50)]
    assert all("<mask>" in text and len(text.split(" ")) == 3 for text in texts)
    assert len(set(texts)) > 3 and with_holes("rot", rng) == "<mask>"


def test_longer_examples_are_left_out():
    one = corpus(tasks=("caption",), target_length=6)
    batch = SceneBatches(one, 0, 16)(0)
    assert batch["target"].shape == (16, 6)
    assert ((batch["target"] == END) | (batch["target"] == PAD)).any(axis=1).all()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tasks": ("dance",)}, "config.scenes.tasks has 'dance'"),
        ({"texts": ("dance",)}, "config.scenes.texts has 'dance'"),
        ({"tasks": ()}, "config.scenes.tasks is empty"),
    ],
)
def test_what_cannot_be_learned_is_refused(changes, said):
    with pytest.raises(UsageError, match=said):
        corpus(**changes)


def test_another_setting_is_another_corpus():
    assert corpus().fingerprint == corpus().fingerprint != corpus(ease=3).fingerprint
    assert multimodal.scenes().tasks[0] == "caption"
