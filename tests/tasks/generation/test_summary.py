"""Which number stands under which name in results.json and in a run's last words."""

import pathlib
import types

import pytest

from maskgit_prompt.metrics.run_result import RunResult
from maskgit_prompt.metrics.scores import Scores
from maskgit_prompt.tasks.generation.summary import last_words, summarize
from tests.tasks.generation import stubs

SCORES = {
    "prompt": {
        "accuracy": 0.9,
        "frechet": 12.0,
        "kid": 0.1,
        "precision_recall": {"precision": 0.7, "recall": 0.6},
        "near_copies": {"fraction": 0.05},
    },
    "untuned": {
        "accuracy": 0.2,
        "frechet": 34.0,
        "kid": 0.3,
        "precision_recall": {"precision": 0.4, "recall": 0.5},
        "near_copies": {"fraction": 0.01},
    },
}
MARQUEE = [{"cutoff": 0.0}]
OWN = {"psnr": 24.36, "feature_distance": 0.14}
FIT = {"psnr": 19.44, "feature_distance": 0.28, "keeps": "shapes", "own": OWN}


def summary(**changes):
    """The images of stubs.py: 3 tuned on, 2 for the judge, 4 held out, and 5 to compare with."""
    real = {"real": Scores({"accuracy": 0.99}), "reconstructed": Scores({"accuracy": 0.98})}
    scorer = types.SimpleNamespace(
        of_real=lambda: real, warnings=["Few images."], reconstruction=FIT
    )
    plan = stubs.plan(stubs.data(reference=[(0, 0)] * 5), seed=7)
    classes = [0, 0, 0, 1, 1, 1]
    scores = {origin: Scores(found) for origin, found in SCORES.items()}
    return summarize(plan, scorer, scores, stubs.tuned(**changes), MARQUEE, classes).to_json()


def test_accuracy_of_four_kinds_of_images():
    assert summary()["accuracy"] == {
        "real": 0.99,
        "reconstructed": 0.98,
        "prompt": 0.9,
        "untuned": 0.2,
    }


def test_distances_of_tuned_and_untuned_images():
    found = summary()
    assert found["frechet"] == {"prompt": 12.0, "untuned": 34.0}
    assert found["kid"] == {"prompt": 0.1, "untuned": 0.3}
    assert found["precision_recall"] == {
        "prompt": {"precision": 0.7, "recall": 0.6},
        "untuned": {"precision": 0.4, "recall": 0.5},
    }


def test_near_copies_are_those_of_the_tuned_prompt():
    assert summary()["near_copies"] == {"fraction": 0.05}


def test_loss_on_what_was_tuned_on_and_on_what_was_held_out():
    assert summary()["loss"] == {"train": 2.5, "heldout": 3.5}


def test_nothing_held_out_has_no_loss():
    found = summary(loss={"train": 2.5, "heldout": None})
    assert found["loss"] == {"train": 2.5, "heldout": None}


def test_parameters_and_the_share_of_all_that_is_tuned():
    """30 of 30 + 970."""
    assert summary()["parameters"] == {"trainable": 30, "frozen": 970, "share": 0.03}


def test_counts_of_images_by_part():
    assert summary()["data"] == {
        "name": "shades",
        "classes": ["dark", "light"],
        "images": {"tune": 3, "judge": 2, "test": 4, "reference": 5},
        "reference": "old ones",
        "generated": 6,
        "shown": 2,
        "found": [],
    }


def test_what_is_handed_on_as_it_is():
    found = summary()
    assert found["marquee"] == MARQUEE
    assert found["reconstruction"] == FIT
    assert found["steps"] == 300
    assert found["warnings"] == ["Few images."]
    assert found["config"]["seed"] == 7


LAST = "report: home/report.html\nprompt: home/prompt.safetensors (12 kB)"


@pytest.mark.parametrize(
    "accuracy, frechet, first",
    [
        pytest.param(
            {"real": 0.99, "reconstructed": 0.98, "prompt": 0.9, "untuned": 0.2},
            {"prompt": 12.04, "untuned": 34.0},
            "accuracy 0.9 (real 0.99, untuned 0.2), Fréchet distance 12 (untuned 34)\n",
            id="all",
        ),
        pytest.param(
            {"real": None, "reconstructed": None, "prompt": 0.9, "untuned": 0.2},
            {"prompt": 12.04, "untuned": None},
            "accuracy 0.9 (untuned 0.2), Fréchet distance 12\n",
            id="some",
        ),
        pytest.param(
            {"real": 0.99, "reconstructed": 0.98, "prompt": None, "untuned": None},
            {"prompt": None, "untuned": None},
            "",
            id="none-of-the-prompt",
        ),
    ],
)
def test_last_words(accuracy, frechet, first):
    found = {"accuracy": accuracy, "frechet": frechet, "prompt_file": {"bytes": 12_345}}
    assert last_words(pathlib.Path("home"), RunResult.from_json(found)) == first + LAST


def test_last_words_have_the_intervals_of_the_prompts_images():
    accuracy = {"real": 0.99, "prompt": 0.9, "untuned": 0.2}
    intervals = {"accuracy": {"real": [0.97, 1.0], "prompt": [0.86, 0.934]}}
    found = {"accuracy": accuracy, "intervals": intervals, "prompt_file": {"bytes": 1}}
    words = last_words(pathlib.Path("home"), RunResult.from_json(found))
    assert words.startswith("accuracy 0.9 [0.86, 0.934] (real 0.99, untuned 0.2)\n")


@pytest.mark.parametrize(
    "keeps, own, line",
    [
        (
            "shapes",
            OWN,
            "mini keeps shapes and colours of these images, not details (PSNR 19.4 dB, distance in "
            "features 0.28; its own pictures PSNR 24.4 dB, distance in features 0.14)",
        ),
        (
            "details",
            None,
            "mini keeps the details of these images (PSNR 19.4 dB, distance in features 0.28)",
        ),
        (
            "little",
            None,
            "mini keeps little of what tells these images apart (PSNR 19.4 dB, distance in "
            "features 0.28)",
        ),
    ],
)
def test_last_words_tell_what_the_backbone_keeps(keeps, own, line):
    fit = FIT | {"keeps": keeps, "own": own}
    found = {"reconstruction": fit, "model": {"name": "mini"}, "prompt_file": {"bytes": 1}}
    words = last_words(pathlib.Path("home"), RunResult.from_json(found))
    assert words.splitlines()[0] == line
