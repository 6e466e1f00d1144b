"""VTAB's rows and files from finished main jobs: which number stands where."""

import json

import pytest
from ml_collections import ConfigDict

from maskgit_prompt.config import defaults, named_data
from maskgit_prompt.data.sets.vtab import TASKS
from maskgit_prompt.jobs import vtab
from maskgit_prompt.report import sheets
from tests.jobs import stand_ins
from tests.report.found import main_job
from tests.report.reading import capture, read

TASK = {task.name: task for task in TASKS}
SVHN, DMLAB = TASK["svhn"], TASK["dmlab"]


def settings(arg: str = "") -> ConfigDict:
    return named_data.vtab(defaults.transfer(), arg, "vtab.py")


def finish(folder, found, number=0):
    """What a finished main job leaves; its glance is as grey as the number."""
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(found))
    sheets.save_png(sheet(number), folder / "samples" / "glance.png")
    sheets.save_png(sheet(number + 1), folder / "samples" / "prompt.png")
    (folder / "report.html").write_text("done")


def sheet(number):
    return sheets.grid(stand_ins.flat([(number,) * 3])[None], scale=1)


def test_row_of_a_done_task(tmp_path):
    finish(tmp_path / "svhn", main_job())
    row = vtab.row_of(SVHN, tmp_path, True, {}, {})
    assert row == {
        "task": "svhn",
        "group": "natural",
        "status": "done",
        "error": None,
        "folder": "svhn",
        "classes": 2,
        "images": 6,
        "steps": 7,
        "generated": 18,
        "accuracy": 0.75,
        "real_accuracy": 0.95,
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
            "real_accuracy": [0.91, 0.97],
            "untuned_accuracy": [0.1, 0.2],
            "frechet": [11.0, 13.5],
            "untuned_frechet": [45.0, 52.0],
            "kid": [0.01, 0.035],
            "near_copies": [0.005, 0.09],
        },
    }
    assert vtab.row_of(SVHN, tmp_path, False, {}, {}) == row  # of an earlier start


def test_rows_of_tasks_that_are_not_done(tmp_path):
    (tmp_path / "svhn").mkdir()
    (tmp_path / "svhn" / "results.json").write_text(json.dumps(main_job()))  # its report is missing
    missing, failed = {"dmlab": "not prepared"}, {"dmlab": "not prepared", "svhn": "disk full"}
    assert vtab.row_of(SVHN, tmp_path, True, missing, failed) == {
        "task": "svhn", "group": "natural", "status": "failed", "error": "disk full",
    }  # fmt: skip
    assert vtab.row_of(DMLAB, tmp_path, True, missing, failed) == {
        "task": "dmlab", "group": "structured", "status": "missing", "error": "not prepared",
    }  # fmt: skip
    assert vtab.row_of(DMLAB, tmp_path, False, missing, failed) is None


@pytest.mark.parametrize("arg, steps, epochs", [("svhn,steps=9", 9, 0.0), ("svhn", 50_000, 100.0)])
def test_settings_of_one_task(arg, steps, epochs, tmp_path):
    config = settings(arg)
    one = vtab.config_of(config, TASK["smallnorb_azimuth"], tmp_path)  # of the data set smallnorb
    assert (one.job, one.data.name, one.data.task) == ("run", "vtab", "smallnorb_azimuth")
    assert (one.train.steps, one.train.epochs) == (steps, epochs)
    assert one.data.codes == str(tmp_path / "codes")
    assert "tasks" not in one and "steps" not in one
    config.data.codes = "elsewhere"
    assert vtab.config_of(config, DMLAB, tmp_path).data.codes == "elsewhere"


def test_files_of_the_whole(tmp_path, monkeypatch):
    charts = capture(monkeypatch)
    other = main_job()
    other["accuracy"] |= {"real": 0.85, "prompt": 0.25}
    other["frechet"] = {"prompt": 14.0, "untuned": 56.0}
    finish(tmp_path / "svhn", main_job(), 40)
    finish(tmp_path / "dmlab", other, 60)
    failed = {"dtd": "disk full"}
    rows = [vtab.row_of(TASK[name], tmp_path, True, {}, failed) for name in ("svhn", "dmlab")]
    rows.append(vtab.row_of(TASK["dtd"], tmp_path, True, {}, failed))
    vtab.write(tmp_path, rows, settings("svhn,dmlab,dtd,shots=5"), "tiny")

    found = json.loads((tmp_path / "results.json").read_text())
    assert [row["task"] for row in found["rows"]] == ["svhn", "dmlab", "dtd"]
    everything = found["means"][-1]
    # (12 + 14) / 2, (48 + 56) / 2, (0.75 + 0.25) / 2, (0.95 + 0.85) / 2
    assert (everything["tasks"], everything["of"], everything["frechet"]) == (2, 3, 13.0)
    assert (everything["untuned_frechet"], everything["accuracy"]) == (52.0, 0.5)
    assert everything["real_accuracy"] == pytest.approx(0.9)

    remark = (
        "Tuned on train, 5 images per class. Distances are to all. A classifier trained on half of "
        "test reads the generated images, if the prompt was not tuned on that half"
    )
    text = (tmp_path / "results.md").read_text()
    assert text.startswith("# VTAB: prompt tuning of tiny\n") and f"- {remark}" in text
    assert "- dtd failed: disk full" in text
    page = read(tmp_path / "report.html")
    for task, number in (("svhn", 40), ("dmlab", 60)):
        expected = sheets.png_bytes(sheet(number).convert("RGB"))
        assert page.pictures[f"Generated for {task}"] == expected
    bars = {
        "svhn": {"tuned": 12.0, "untuned": 48.0},
        "dmlab": {"tuned": 14.0, "untuned": 56.0},
    }
    assert charts[0].bars == charts[1].bars == bars  # tasks.png, and the page's
