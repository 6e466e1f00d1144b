"""Which number of a main job's results.json tables of several runs show."""

from maskgit_prompt.report import results
from tests.report.found import main_job


def test_scores_are_those_of_the_tuned_prompt():
    assert results.scores_of(main_job()) == {
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
    }


def test_near_copies_that_were_not_counted():
    assert results.scores_of(main_job() | {"near_copies": None})["near_copies"] is None


def test_what_is_written_is_sorted_by_name(tmp_path):
    results.write_json(tmp_path / "r.json", {"b": 1, "a": 2})
    assert (tmp_path / "r.json").read_text() == '{\n  "a": 2,\n  "b": 1\n}\n'
