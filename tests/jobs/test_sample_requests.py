"""Sampling with a stand-in decoder: under which prompts, into which folder and row."""

import json

import numpy as np
import pytest
from PIL import Image

from maskgit_prompt import backbones
from maskgit_prompt.config import defaults
from maskgit_prompt.jobs import sample
from maskgit_prompt.report import sheets
from maskgit_prompt.tuning import tuned_prompt
from maskgit_prompt.tuning.tuned_file import TunedOn
from maskgit_prompt.tuning.tuned_prompt import TunedPrompt
from tests.jobs import stand_ins
from tests.jobs.stand_ins import CLASSES, flat

INSTANCES = ("2.png", "3.png", "4.png", "5.png")
CAT, DOG = 101, 102  # the prompts of classes; those of instances in stand_ins


@pytest.fixture
def job(monkeypatch, tmp_path):
    """A function of settings that runs the job: (its folder, samples.json, its sampler)."""
    path = tmp_path / "prompt.safetensors"
    tuned_prompt.save(
        path,
        TunedPrompt(
            config=stand_ins.prompt_config(),
            tree=stand_ins.prompt_tree(),
            classes=CLASSES,
            instances=INSTANCES,
            instance_classes=(1, 0, 1, 1),
            backbone=TunedOn("tiny", stand_ins.FINGERPRINT, ("tokenizer", "transformer")),
            sample={**defaults.sampling().to_dict(), "steps": 3, "temperature": 0.5},
        ),
    )
    monkeypatch.setattr(backbones, "load", lambda name: stand_ins.backbone())
    samplers = stand_ins.decoding(monkeypatch, sample)

    def run(**changes):
        config = defaults.sample()
        config.prompt, config.num = str(path), 2
        for name, value in changes.items():
            if name == "sample":
                config.sample.update(value)
            else:
                config[name] = value
        home = tmp_path / "run"
        sample.run(config, str(home))
        return home, json.loads((home / "samples.json").read_text()), samplers[-1]

    return run


def colour(home, name) -> list[int]:
    with Image.open(home / "images" / name) as image:
        return np.asarray(image)[0, 0].tolist()


@pytest.mark.parametrize(
    "header, first, last",
    [
        (("class",), {"cat": [CAT] * 2, "dog": [DOG] * 2}, {"cat": [CAT] * 2, "dog": [DOG] * 2}),
        # Instance 1 is the only cat; 0 and 2 are the first dogs.
        (
            ("instance-class",),
            {"cat": [121, 121], "dog": [112, 132]},
            {"cat": [CAT] * 2, "dog": [DOG] * 2},
        ),
        (
            ("class", "instance"),
            {"cat": [CAT] * 2, "dog": [DOG] * 2},
            {"cat": [121, 121], "dog": [112, 132]},
        ),
    ],
    ids=["class", "instance-class", "class, instance"],
)
def test_images_under_their_prompts_in_their_folders(header, first, last, job):
    home, found, sampler = job(header=header)
    for name in CLASSES:
        for number in range(2):
            red, green, _ = colour(home, f"{name}/0000{number}.png")
            assert (red, green) == (first[name][number], last[name][number])
    assert [row["group"] for row in found["images"]] == ["cat", "cat", "dog", "dog"]
    assert sampler.prompt == stand_ins.prompt_config()


def test_a_header_of_names(job):
    home, found, sampler = job(header=("instance:5.png", "none", "class:cat"), num=1)
    (row,) = found["images"]
    assert row["header"] == ["instance:5.png", "none", "class:cat"]
    # The dog of instance 3 has 100 + 2 + 40, no condition 100.
    headers = sampler.asked["sample"].headers
    assert headers[0].tolist() == [142, 100, 101]
    assert colour(home, row["file"].removeprefix("images/"))[:2] == [142, 101]


def test_samples_json_names_what_made_each_image(job):
    _, found, _ = job(header=("instance-class",), num=1)
    assert [row["header"] for row in found["images"]] == [
        ["instance:3.png", "class:cat"],
        ["instance:2.png", "class:dog"],
    ]
    assert found["prompt"]["backbone"] == "tiny"
    assert found["prompt"]["fingerprint"] == stand_ins.FINGERPRINT


def test_the_sheet_has_a_row_for_each_class_in_the_order_asked_for(job):
    home, _, _ = job(classes=("dog", "cat"))
    cells = flat([(DOG, DOG, 0)] * 2 + [(CAT, CAT, 0)] * 2).reshape(2, 2, 16, 16, 3)
    expected = sheets.png_bytes(sheets.grid(cells, ("dog", "cat")))
    assert (home / "sheet.png").read_bytes() == expected


def test_a_given_picture_stands_in_front_of_each_row():
    request = sample.Request(CLASSES, np.array([0, 0, 1]), np.zeros((3, 1)), np.zeros((3, 1)))
    given = sample.Given(np.zeros(4), flat([(9, 9, 9)])[0])
    found = sample.draw_sheet(request, flat([(1, 0, 0), (2, 0, 0), (3, 0, 0)]), given)
    pixels = [(9, 9, 9), (1, 0, 0), (2, 0, 0), (9, 9, 9), (3, 0, 0), (0, 0, 0)]
    expected = sheets.grid(
        flat(pixels).reshape(2, 3, 16, 16, 3),
        CLASSES,
        ["given", "", ""],
        present=np.array([[True, True, True], [True, True, False]]),
    )
    np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))


def test_settings_of_the_file_unless_others_are_given(job):
    _, found, sampler = job(sample={"temperature": 2.0})
    assert (found["sample"]["steps"], found["sample"]["temperature"]) == (3, 2.0)
    assert (sampler.config.steps, sampler.config.temperature) == (3, 2.0)


def test_guidance_moves_away_from_the_prompt_without_condition(job):
    _, _, sampler = job(sample={"guidance": 2.0})
    assert sampler.asked["sample"].uncond.tokens[0, 0, 0] == 100


def test_without_guidance_there_is_nothing_to_move_away_from(job):
    assert job()[2].asked["sample"].uncond is None
