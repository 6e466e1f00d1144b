"""VTAB-1k's 19 tasks through configs/vpt_vtab.py: one table, also if a run is killed on the way."""

import json
import pathlib

import pytest

from maskgit_prompt.data.sets import vtab
from tests import tiny
from tests.jobs.running import ROOT, run

# The splits that 24 images have in place of train800 and val200.
SMALL = (
    "--config.data.split=train",
    "--config.data.validation=val",
    "--config.sweep.final=trainval",
    "--config.train.batch_size=8",
    "--config.optimizer.warmup_epochs=0",
    "--config.sweep.learning_rates=1.0",
    "--config.sweep.learning_rates=5.0",
    "--config.sweep.weight_decays=0.0",
    "--config.sweep.seeds=1",
    "--config.sweep.seeds=2",
)
KILLED = ("svhn", "resisc45", "dsprites_orientation")  # in the middle of these


@pytest.mark.slow
def test_all_nineteen_tasks_and_some_that_were_killed(vtab_data, tmp_path, capsys):
    home = tmp_path / "vtab"
    flags = (
        f"--config={ROOT}/configs/vpt_vtab.py:epochs=1,method=linear",
        f"--config.backbone={tiny.write_encoder(tmp_path / 'encoder')}",
        f"--config.data.data_dir={vtab_data}",
        f"--workdir={home}",
        *SMALL,
    )
    done = run(capsys, *flags)
    assert done.code == 0, done.err
    assert "data of 19 of 19 tasks" in done.out
    found = json.loads((home / "results.json").read_text())
    names = [task.name for task in vtab.TASKS]
    assert [row["task"] for row in found["rows"]] == names
    for row, task in zip(found["rows"], vtab.TASKS, strict=True):
        assert (row["status"], row["classes"], row["group"]) == ("done", task.classes, task.group)
        assert len(row["accuracies"]) == 2 and row["learning_rate"] in (1.0, 5.0)
    means = {line["group"]: line["tasks"] for line in found["means"]}
    assert means == {
        "natural": 7, "specialized": 4, "structured": 8, "mean of groups": 19, "mean of tasks": 19,
    }  # fmt: skip
    written = [home / name for name in ("results.md", "results.json")]
    before = [path.read_bytes() for path in written]
    assert b"VPT's: resized straight, bilinear" in before[0]
    # As a run leaves it that is killed: without a table, tasks with some rows or none.
    for path in written:
        path.unlink()
    for name in KILLED:
        (home / name / "result.json").unlink()
    keep(home / KILLED[0] / "rows.json", 1)
    (home / KILLED[1] / "rows.json").unlink()
    done = run(capsys, *flags)
    assert done.code == 0, done.err
    assert "task 3 of 3: dsprites_orientation (structured)" in done.out
    assert [path.read_bytes() for path in written] == before


def keep(path: pathlib.Path, number: int) -> None:
    """Leaves the first rows of a sweep's file."""
    rows = json.loads(path.read_text())["rows"]
    path.write_text(json.dumps({"rows": rows[:number]}))
