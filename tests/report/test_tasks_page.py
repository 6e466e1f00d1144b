"""Table, means, charts and page of many tasks, with numbers that are all different."""

import pytest

from maskgit_prompt.report import tasks
from tests.report.reading import png, read

SVHN = {"task": "svhn", "group": "natural", "status": "done", "error": None, "folder": "a"}
SVHN |= {"classes": 10, "images": 60, "steps": 300, "generated": 50, "frechet": 12.0}
SVHN |= {"untuned_frechet": 48.0, "kid": 0.02, "accuracy": 0.75, "real_accuracy": 0.95}
SVHN |= {"heldout_loss": 2.5, "train_loss": 1.5, "near_copies": 0.03, "untuned_accuracy": 0.15}
SVHN |= {"trainable": 30, "share": 0.05}
DMLAB = {"task": "dmlab", "group": "structured", "status": "done", "error": None, "folder": "b"}
DMLAB |= {"classes": 6, "images": 20, "steps": 100, "generated": 40, "frechet": 14.0}
DMLAB |= {"untuned_frechet": 56.0, "kid": 0.06, "accuracy": 0.25, "real_accuracy": 0.85}
DMLAB |= {"heldout_loss": 3.5, "train_loss": 3.0, "near_copies": 0.01, "untuned_accuracy": 0.05}
DMLAB |= {"trainable": 70, "share": 0.07}
# A row of an earlier start may still hold numbers; a task that is not done has none.
KITTI = {"task": "kitti", "group": "structured", "status": "failed", "error": "disk full"}
KITTI |= {"frechet": 900.0, "accuracy": 1.0}
ROWS = [SVHN, DMLAB, KITTI]
SCORES = {
    "Fréchet distance": ("12.00", "14.00", "13.00"),
    "Fréchet untuned": ("48.00", "56.00", "52.00"),
    "KID": ("0.0200", "0.0600", "0.0400"),
    "accuracy": ("75.0 %", "25.0 %", "50.0 %"),
    "accuracy real": ("95.0 %", "85.0 %", "90.0 %"),
    "held-out loss": ("2.500", "3.500", "3.000"),
    "near-copies": ("3.0 %", "1.0 %", "2.0 %"),
}


def scores(which: int) -> dict[str, str]:
    """Of svhn, of dmlab, and the mean of both: (12 + 14) / 2 = 13."""
    return {name: texts[which] for name, texts in SCORES.items()}


def test_means_are_over_done_tasks_alone():
    natural, structured, everything = tasks.means(ROWS)
    assert (natural["tasks"], natural["of"]) == (1, 1)
    assert (structured["tasks"], structured["of"]) == (1, 2)
    assert everything == {
        "group": "all",
        "tasks": 2,
        "of": 3,
        "frechet": 13.0,
        "untuned_frechet": 52.0,
        "kid": 0.04,
        "accuracy": 0.5,
        "real_accuracy": pytest.approx(0.9),
        "heldout_loss": 3.0,
        "near_copies": 0.02,
    }


def cells(line: str) -> list[str]:
    return [cell.strip().replace("\u202f", " ") for cell in line.strip("|").split("|")]


def test_markdown_puts_each_number_under_its_heading():
    lines = tasks.markdown([SVHN, DMLAB], "T", []).splitlines()
    table = [cells(line) for line in lines if line.startswith("| ")]
    names, _, svhn, dmlab, mean_names, _, _, _, everything = table
    counts = {"classes": "10", "images": "60", "steps": "300"}
    found = dict(zip(names, svhn, strict=True))
    assert found == {
        "task": "svhn", "group": "natural", **counts, **scores(0), "share of the model": "5.00 %",
    }  # fmt: skip
    counts = {"classes": "6", "images": "20", "steps": "100"}
    assert dict(zip(names, dmlab, strict=True)) == {
        "task": "dmlab", "group": "structured", **counts, **scores(1),
        "share of the model": "7.00 %",
    }  # fmt: skip
    found = dict(zip(mean_names, everything, strict=True))
    assert found == {"group": "all", "tasks done": "2 of 2", **scores(2)}


def test_chart_of_distances_tuned_and_untuned(charts):
    tasks.chart([SVHN, DMLAB])
    (chart,) = charts
    assert chart.label == "Fréchet distance"
    assert chart.bars == {
        "svhn": {"tuned": 12.0, "untuned": 48.0},
        "dmlab": {"tuned": 14.0, "untuned": 56.0},
    }


def test_page(charts, tmp_path):
    path = tmp_path / "r.html"
    tasks.tasks_report(path, [SVHN, DMLAB], {"svhn": png(1), "dmlab": png(2)}, title="VTAB")
    page = read(path)
    assert page.table_of("group")[-1] == {"group": "all", "tasks done": "2 of 2", **scores(2)}
    rows, sizes, reports = page.tables_of("task")
    assert rows == [
        {"task": "svhn", "group": "natural", **scores(0)},
        {"task": "dmlab", "group": "structured", **scores(1)},
    ]
    assert sizes[0] == {
        "task": "svhn",
        "classes": "10",
        "images": "60",
        "steps": "300",
        "generated": "50",
        "trained parameters": "30",
        "share of the model": "5.00 %",
    }
    assert reports == [
        {"task": "svhn", "report": "a/report.html"},
        {"task": "dmlab", "report": "b/report.html"},
    ]
    distances, accuracy = charts
    assert distances.label == "Fréchet distance"
    assert accuracy.label == "accuracy (%)"
    assert accuracy.bars == {
        "svhn": {"generated images": 75.0, "held-out real images": 95.0},
        "dmlab": {"generated images": 25.0, "held-out real images": 85.0},
    }
    captions = {"Generated for svhn": 1, "Generated for dmlab": 2}
    assert {caption: page.pictures[caption][-1] for caption in captions} == captions
