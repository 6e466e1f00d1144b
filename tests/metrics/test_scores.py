"""The table of scores, and results.json as a struct: which number is found under which name."""

import json

import pytest

from maskgit_prompt.metrics import scores
from maskgit_prompt.metrics.run_result import RunData, RunResult
from maskgit_prompt.metrics.scores import RUN_ROW, SCORES, Scores
from tests.report.found import main_job


def whole() -> dict:
    """All that a main job writes."""
    return main_job() | {
        "encoding": {"images": 18, "images_per_second": 64.0},
        "prompt_file": {"name": "prompt.safetensors", "bytes": 12_345},
    }


def test_a_row_is_of_the_tuned_prompt_where_it_names_no_other():
    assert RunResult.from_json(main_job()).row(RUN_ROW) == {
        "accuracy": 0.75,
        "untuned_accuracy": 0.15,
        "frechet": 12.0,
        "untuned_frechet": 48.0,
        "kid": 0.02,
        "heldout_loss": 2.5,
        "train_loss": 1.5,
        "near_copies": 0.03,
        "trainable": 30,
        "share": 0.05,
        "intervals": {
            "accuracy": [0.66, 0.83],
            "untuned_accuracy": [0.1, 0.2],
            "frechet": [11.0, 13.5],
            "untuned_frechet": [45.0, 52.0],
            "kid": [0.01, 0.035],
            "near_copies": [0.005, 0.09],
        },
    }


def test_a_row_of_other_images():
    result = RunResult.from_json(main_job())
    names = ("accuracy", "precision", "recall", "real_accuracy", "near_copies", "heldout_loss")
    assert result.row(names, "untuned") == {
        "accuracy": 0.15,
        "precision": 0.2,
        "recall": 0.1,
        "real_accuracy": 0.95,
        "near_copies": None,  # results.json has them of the prompt alone
        "heldout_loss": 2.5,
        "intervals": {"accuracy": [0.1, 0.2], "real_accuracy": [0.91, 0.97]},
    }


def test_counts_and_speeds():
    names = ("classes", "images", "steps", "generated", "tuning_seconds", "seconds_per_image")
    assert RunResult.from_json(main_job()).row(names) == {
        "classes": 2,
        "images": 6,
        "steps": 7,
        "generated": 18,
        "tuning_seconds": 20.0,
        "seconds_per_image": 0.25,
    }


def test_near_copies_that_were_not_counted():
    for nothing in (None, {"count": None, "fraction": None}):
        found = RunResult.from_json(whole() | {"near_copies": nothing})
        assert found.value("near_copies") is None
        assert found.to_json()["near_copies"] == nothing


def test_intervals_and_counts_are_of_the_same_images_as_the_number():
    result = RunResult.from_json(main_job())
    of = lambda origin: [
        result.interval(name, origin) for name in ("accuracy", "kid", "recall", "coverage")
    ]
    assert of("prompt") == [[0.66, 0.83], [0.01, 0.035], [0.3, 0.5], [0.8, 0.95]]
    assert of("untuned") == [[0.1, 0.2], [0.25, 0.36], None, None]
    assert result.interval("untuned_kid") == [0.25, 0.36]
    assert result.interval("near_copies") == [0.005, 0.09]
    assert result.interval("heldout_loss") is None
    assert result.scores["prompt"].counts["kid"] == {"images": 18, "real": 14}
    assert result.to_json()["intervals"]["near_copies"] == [0.005, 0.09]
    assert result.to_json()["counts"]["frechet"] == {"prompt": {"images": 18, "real": 15}}


def test_results_of_before_there_were_intervals():
    found = {"accuracy": {"prompt": 0.5}, "near_copies": {"fraction": 0.1}}
    result = RunResult.from_json(found)
    assert (result.value("accuracy"), result.interval("accuracy")) == (0.5, None)
    assert result.row(("accuracy", "near_copies")) == {"accuracy": 0.5, "near_copies": 0.1}
    assert result.reconstruction is None


def test_results_json_is_read_and_written_back():
    found = whole()
    result = RunResult.from_json(found)
    assert json.dumps(result.to_json(), sort_keys=True) == json.dumps(found, sort_keys=True)
    assert (result.tune_loss, result.test_loss) == (1.5, 2.5)
    assert (result.encoded, result.encoded_per_second) == (18, 64.0)
    assert (result.backbone, result.transformer) == ("tiny", "causal")
    assert (result.prompt_name, result.prompt_bytes) == ("prompt.safetensors", 12_345)


def test_what_could_not_be_measured_is_null_and_what_was_not_asked_for_is_missing():
    prompt = {"accuracy": None, "frechet": 2.0, "kid": None, "precision_recall": None}
    prompt |= {"near_copies": None}
    result = RunResult(scores={"real": Scores({"accuracy": 0.5}), "prompt": Scores(prompt)})
    found = result.to_json()
    assert found["accuracy"] == {"real": 0.5, "prompt": None}
    assert found["frechet"] == {"prompt": 2.0}
    assert found["near_copies"] is None
    assert found["parameters"] == {"trainable": None, "frozen": None, "share": None}
    assert RunResult.from_json(found) == result


def test_nothing_found_has_no_numbers():
    result = RunResult.from_json({})
    assert result == RunResult()
    assert set(result.row(RUN_ROW).values()) == {None}
    assert result.data == RunData()


def test_names_of_rows():
    assert scores.find("near_copies") == (SCORES["near_copies"], "")
    assert scores.find("untuned_near_copies") == (SCORES["near_copies"], "untuned")
    assert SCORES["frechet"].label_of("untuned") == "Fréchet untuned"
    assert SCORES["accuracy"].label_of("") == "accuracy"
    with pytest.raises(KeyError, match="no score 'untuned_fid' among accuracy, frechet, kid"):
        scores.find("untuned_fid")


def test_dots_are_scores_of_tables_that_are_not_named():
    """Precision and recall are on the run's own page alone; near-copies have their own place."""
    assert scores.expand(("accuracy", ..., "share")) == ("accuracy", "frechet", "kid", "share")
    assert scores.expand(("kid", "frechet", "accuracy", ...)) == ("kid", "frechet", "accuracy")


@pytest.mark.parametrize(
    "name, better, text",
    [
        ("accuracy", "higher", "12.3\u202f%"),
        ("frechet", "lower", "0.1234"),
        ("kid", "lower", "0.1234"),
        ("precision", "higher", "12.3\u202f%"),
        ("recall", "higher", "12.3\u202f%"),
        ("near_copies", "lower", "12.3\u202f%"),
        ("heldout_loss", "lower", "0.123"),
        ("share", "", "12.3\u202f%"),
    ],
)
def test_which_way_is_better_and_how_a_number_is_written(name, better, text):
    assert SCORES[name].better == better
    assert SCORES[name].format(0.12342) == text


def test_small_shares_have_two_decimals():
    assert SCORES["share"].format(0.0042) == "0.42\u202f%"
