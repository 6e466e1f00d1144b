"""A new score is one entry in SCORES: it is measured, stored, printed, and in every table."""

import pathlib

import numpy as np
import pytest

from maskgit_prompt.metrics.formats import fixed
from maskgit_prompt.metrics.measures import Measured
from maskgit_prompt.metrics.run_result import RunResult
from maskgit_prompt.metrics.scores import LOWER, RUN_ROW, SCORES, Score, expand
from maskgit_prompt.report import comparison, side_by_side, tasks, transfer
from maskgit_prompt.tasks.generation.summary import last_words, summarize
from maskgit_prompt.tuning.methods import ORIGINS, TITLES
from tests.report.reading import capture, read
from tests.tasks.generation import stubs
from tests.tasks.generation.stubs import flat

LABELS = np.array([0, 0, 1, 1])


@pytest.fixture
def found(monkeypatch) -> RunResult:
    """Of generated images with the mean shade (50 + 50 + 150 + 150) / 4, and of untuned ones."""
    entry = Score(
        "shade",
        fixed(1),
        LOWER,
        lambda seen: Measured(
            float(seen.images.mean()),
            (float(seen.images.mean()) - 10, float(seen.images.mean()) + 10),
            {"images": 4},
        ),
        key="shade",
        about="Shade: of all pixels.",
    )
    monkeypatch.setitem(SCORES, "shade", entry)
    stubs.use(monkeypatch)
    capture(monkeypatch)
    data = stubs.data()
    scorer = stubs.scorer(data)
    scores = {
        "prompt": scorer(flat(50, 50, 150, 150), LABELS),
        "untuned": scorer(flat(200, 200, 200, 200), LABELS),
    }
    run = summarize(stubs.plan(data), scorer, scores, stubs.tuned(), [], LABELS)
    return RunResult.from_json(run.to_json())


def test_results_json(found):
    written = found.to_json()
    assert written["shade"] == {"prompt": 100.0, "untuned": 200.0}
    assert written["intervals"]["shade"]["untuned"] == (190.0, 210.0)
    assert written["counts"]["shade"]["prompt"] == {"images": 4}


def test_last_words(found):
    words = last_words(pathlib.Path("home"), RunResult(found.scores, prompt_bytes=1))
    assert words.splitlines()[0].endswith(", shade 100 [90, 110] (untuned 200)")


def test_the_page_of_the_run(found, tmp_path):
    transfer.transfer_report(tmp_path / "r.html", found, {}, origins=ORIGINS)
    page = read(tmp_path / "r.html")
    shades = [(row["images"], row["shade"]) for row in page.table_of("images")]
    assert shades[2:] == [
        ("generated with the tuned prompt", "100.0 [90.0, 110.0]"),
        ("generated without tuning", "200.0 [190.0, 210.0]"),
    ]
    assert "Shade: of all pixels." in page.texts


def test_the_comparison(found, tmp_path):
    names = expand(comparison._COLUMNS[1:])
    rows = [
        {"method": method, "shots": 5, **found.row(names, method)}
        for method in ("prompt", "untuned")
    ]
    comparison.comparison_report(tmp_path / "r.html", rows, {}, methods=TITLES)
    page = read(tmp_path / "r.html")
    assert [(row["method"], row["shade"]) for row in page.table_of("method")] == [
        ("prompt tuning", "100.0 [90.0, 110.0]"),
        ("no tuning", "200.0 [190.0, 210.0]"),
    ]
    assert page.table_of("images per class")[0]["lowest shade"] == "prompt tuning"


def test_models_side_by_side(found, tmp_path):
    row = {"model": "one", "transformer": "masked", "shots": 5, "folder": "f", "marquee": []}
    row |= found.row((*RUN_ROW, "untuned_shade"))
    assert (row["shade"], row["untuned_shade"]) == (100.0, 200.0)
    side_by_side.side_by_side_report(tmp_path / "r.html", [row], {}, title="T", causal={})
    scores, _ = read(tmp_path / "r.html").tables_of("images per class")
    assert scores[0]["shade"] == "100.0 [90.0, 110.0]"


def test_tasks(found, tmp_path):
    row = {"task": "svhn", "group": "natural", "status": "done", "error": None, "folder": "f"}
    row |= found.row((*RUN_ROW, "real_accuracy", "classes", "images", "steps", "generated"))
    assert [line["shade"] for line in tasks.means([row, {**row, "shade": 50.0}])] == [75.0, 75.0]
    lines = tasks.markdown([row], "T", []).splitlines()
    head, _, cells = [line for line in lines if line.startswith("| ")][:3]
    shown = dict(
        zip(map(str.strip, head.split("|")), map(str.strip, cells.split("|")), strict=True)
    )
    assert (shown["task"], shown["shade"]) == ("svhn", "100.0 [90.0, 110.0]")
    tasks.tasks_report(tmp_path / "r.html", [row], {}, title="T")
    assert read(tmp_path / "r.html").tables_of("task")[0][0]["shade"] == "100.0 [90.0, 110.0]"
