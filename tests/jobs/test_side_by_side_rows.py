"""Several backbones with a stand-in for the main job: whose numbers stand in which row."""

import dataclasses
import json

import pytest
from ml_collections import ConfigDict

from maskgit_prompt import backbones
from maskgit_prompt.config import defaults
from maskgit_prompt.jobs import side_by_side
from maskgit_prompt.report import sheets
from tests.jobs import stand_ins
from tests.report.found import main_job
from tests.report.reading import capture, read

KINDS = {"first": "masked", "second": "causal"}


def settings() -> ConfigDict:
    config = defaults.side_by_side(defaults.transfer())
    config.models.backbones, config.models.shots = ("first", "second"), (2, 1)
    return config


def test_row_of_a_finished_main_job(tmp_path):
    folder = tmp_path / "tiny-5"
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps(main_job()))
    assert side_by_side._row(folder) == {
        "model": "tiny",
        "transformer": "causal",
        "folder": "tiny-5",
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
        "tuning_seconds": 20.0,
        "seconds_per_image": 0.25,
        "marquee": main_job()["marquee"],
        "intervals": {
            "accuracy": [0.66, 0.83],
            "untuned_accuracy": [0.1, 0.2],
            "frechet": [11.0, 13.5],
            "untuned_frechet": [45.0, 52.0],
            "kid": [0.01, 0.035],
            "near_copies": [0.005, 0.09],
        },
    }


@pytest.mark.parametrize(
    "decoding, prefix, keep, temperature, guidance",
    [("autoregressive", True, 0.9, 0.9, 1.5), ("parallel", False, 1.0, 1.0, 1.0)],
)
def test_settings_of_one_model(decoding, prefix, keep, temperature, guidance):
    config = settings()
    config.seed = 7
    one = side_by_side._of_one(config, "models/some", 3, decoding)
    assert (one.job, one.backbone, one.model, one.data.shots) == ("run", "models/some", "", 3)
    assert (one.prompt.prefix, one.next_code.keep) == (prefix, keep)
    assert (one.sample.temperature, one.sample.guidance, one.seed) == (temperature, guidance, 7)
    assert "models" not in one and "causal" not in one
    assert config.data.shots == 10  # untouched


def found_of(name: str, shots: int) -> dict:
    """A results.json of its own for every model and number of images."""
    base = {"first": 0.1, "second": 0.2}[name] + 0.01 * shots
    found = main_job()
    found["accuracy"]["prompt"], found["frechet"]["prompt"] = base, 10 * base
    found["model"] = {"name": f"{name} model", "transformer": KINDS[name]}
    return found


def finish(folder, found, number):
    """What a finished main job leaves; its sheet is as grey as the number."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(found))
    sheets.save_png(sheet(number), folder / "samples" / "prompt.png")
    (folder / "report.html").write_text("done")


def sheet(number):
    return sheets.grid(stand_ins.flat([(number,) * 3])[None], scale=1)


@pytest.fixture
def job(monkeypatch, tmp_path):
    """A function that runs the job in tmp_path/run; (model, shots, guidance) of what ran."""
    ran = []

    def make_plan(config, backbone, mesh, path):
        return dataclasses.replace(stand_ins.plan(config), backbone=backbone)

    def carry_out(plan, home, clock):
        name, shots = plan.config.backbone, plan.config.data.shots
        assert plan.backbone.name == f"{name} model"
        ran.append((name, shots, plan.config.sample.guidance))
        number = 10 * (name == "second") + shots
        folder = tmp_path / "run" / f"{name} model-{shots}"
        assert home == folder
        finish(folder, found_of(name, shots), number)

    monkeypatch.setattr(
        backbones, "load", lambda name, key: stand_ins.backbone(f"{name} model", kind=KINDS[name])
    )
    monkeypatch.setattr(side_by_side, "make_plan", make_plan)
    monkeypatch.setattr(side_by_side, "carry_out", carry_out)
    capture(monkeypatch)

    def start():
        side_by_side.run(settings(), str(tmp_path / "run"))
        return list(ran)

    return start


def test_rows_stand_with_their_model_and_number_of_images(job, tmp_path):
    assert job() == [("first", 2, 1.0), ("second", 2, 1.5), ("first", 1, 1.0), ("second", 1, 1.5)]
    rows = json.loads((tmp_path / "run" / "results.json").read_text())["rows"]
    places = [(row["model"], row["transformer"], row["shots"], row["folder"]) for row in rows]
    assert places == [
        ("first model", "masked", 2, "first model-2"),
        ("second model", "causal", 2, "second model-2"),
        ("first model", "masked", 1, "first model-1"),
        ("second model", "causal", 1, "second model-1"),
    ]
    assert [row["accuracy"] for row in rows] == pytest.approx([0.12, 0.22, 0.11, 0.21])
    assert [row["frechet"] for row in rows] == pytest.approx([1.2, 2.2, 1.1, 2.1])
    page = read(tmp_path / "run" / "report.html")
    scores, _ = page.tables_of("images per class")
    # Without their intervals.
    shown = [(row["model"], row["images per class"], row["accuracy"][:6]) for row in scores]
    assert shown == [
        ("first model", "1", "11.0 %"),
        ("second model", "1", "21.0 %"),
        ("first model", "2", "12.0 %"),
        ("second model", "2", "22.0 %"),
    ]
    for name, number in (("first", 2), ("second", 12)):
        found = page.pictures[f"Generated by {name} model, 2 images per class"]
        assert found == sheets.png_bytes(sheet(number).convert("RGB"))


def test_finished_models_are_kept_and_unfinished_ones_done_again(job, tmp_path):
    kept = main_job()
    kept["accuracy"]["prompt"], kept["model"]["name"] = 0.5, "first model"
    finish(tmp_path / "run" / "first model-1", kept, 99)
    unfinished = tmp_path / "run" / "second model-1"
    unfinished.mkdir()
    (unfinished / "results.json").write_text(json.dumps(main_job()))  # its report is missing
    assert [(name, shots) for name, shots, _ in job()] == [
        ("first", 2), ("second", 2), ("second", 1),
    ]  # fmt: skip
    rows = json.loads((tmp_path / "run" / "results.json").read_text())["rows"]
    assert [row["accuracy"] for row in rows] == pytest.approx([0.12, 0.22, 0.5, 0.21])
