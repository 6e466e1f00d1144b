"""The studies of benchmarks/: a row a run, resumable, and tables over seeds."""

import csv
import json

from benchmarks import few_images, methods, prefixes, studying
from benchmarks.studying import Case, run_all, table


def test_a_run_that_is_there_is_not_run_again(tmp_path, monkeypatch):
    started = []

    def run(config, flags, home, compiled):
        started.append(flags)
        home.mkdir(parents=True)
        (home / "results.json").write_text(json.dumps({"loss": len(started)}))

    monkeypatch.setattr(studying, "_run", run)
    read = lambda found, home: {"loss": found["loss"]}
    full = "--config.method=full"
    cases = [Case("methods", "full", "multimodal.py", (full,))]
    run_all(cases, (), (0, 1), tmp_path, read)
    assert started == [
        ("--config.method=full", "--config.seed=0", "--config.data.seed=0"),
        ("--config.method=full", "--config.seed=1", "--config.data.seed=1"),
    ]
    more = [*cases, Case("rates", "full, 0.1", "multimodal.py", (full, "--config.rate=0.1"))]
    rows = run_all(more, (), (0, 1), tmp_path, read)
    assert len(started) == 4
    assert [(row["name"], row["seed"], row["loss"]) for row in rows] == [
        ("full", 0, 1),
        ("full, 0.1", 0, 3),
        ("full", 1, 2),
        ("full, 0.1", 1, 4),
    ]
    written = list(csv.DictReader((tmp_path / "results.csv").open()))
    assert [row["loss"] for row in written] == ["1", "3", "2", "4"]


def test_a_table_has_means_and_deviations_over_seeds():
    rows = [
        {"part": "a", "name": "x", "share": 0.5, "trained": 8, "steps": None},
        {"part": "b", "name": "x", "share": 0.1, "trained": 9, "steps": 1},
        {"part": "a", "name": "x", "share": 0.7, "trained": 8, "steps": 30},
        {"part": "a", "name": "y", "share": 0.9, "trained": 2, "steps": None},
    ]
    columns = {
        "share": ("%", lambda x: f"{100 * x:.0f}"),
        "trained": ("n", lambda x: f"{x:.0f}"),
        "steps": ("steps", lambda x: f"{x:.0f}"),
    }
    assert table(rows, "a", columns).splitlines() == [
        "|  | % | n | steps |",
        "| --- | --- | --- | --- |",
        "| x | 60 ± 14 | 8 | 30 (1 of 2) |",
        "| y | 90 | 2 | — |",
    ]


def test_the_study_of_prefixes_reads_when_a_loss_was_reached(tmp_path):
    lines = [
        {"step": 25, "evaluated_heldout": 0.7},
        {"step": 30, "loss": 0.1},
        {"step": 50, "evaluated_heldout": prefixes.REACHED},
        {"step": 75, "evaluated_heldout": 0.1},
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    found = {
        "scores": {"tuned": {"values": {"accuracy": 0.8}}},
        "loss": 0.3,
        "trainable": 10,
        "share": 0.01,
        "speed": {"step_seconds": 0.5, "host_peak_bytes": 2e9},
    }
    row = prefixes.read(found, tmp_path)
    assert (row["reached"], row["seconds_to_it"], row["accuracy"]) == (50, 25.0, 0.8)
    assert set(prefixes.COLUMNS) <= set(row)


def test_the_parts_of_the_study_of_prefixes_share_their_first_run():
    found = prefixes.cases(list(prefixes.PARTS))
    alike = [case for case in found if case.flags == found[0].flags]
    assert [case.part for case in alike] == ["sizes", "methods", "rates"]
    assert len({case.flags for case in found}) == len(found) - 3  # full tuning is there twice
    assert found[4].flags[-1] == "--config.prompt.layers=top-1"


def test_the_study_of_methods_has_each_once_and_reads_its_row(tmp_path):
    found = methods.cases(list(methods.METHODS))
    assert [case.name for case in found] == list(methods.METHODS)
    shallow = dict(zip(methods.METHODS, found, strict=True))["shallow"].flags
    assert "--config.method=prompt" in shallow and "--config.prompt.deep=False" in shallow
    row = {"accuracy": 0.5, "validation": 0.6, "learning_rate": 0.25, "images": {}, "steps": 9}
    assert methods.read({"rows": [row | {"task": "twemoji"}]}, tmp_path) == row
    assert set(methods.COLUMNS) <= set(row)


def test_the_study_of_few_images_has_a_column_for_each_method(tmp_path):
    found = few_images.cases(["twemoji", "mnist"], tmp_path, [2, 5])
    assert [(case.part, case.name) for case in found][1:3] == [
        ("twemoji", "5 images"),
        ("mnist", "2 images"),
    ]
    assert [f"--config.data.path={tmp_path}" in case.flags for case in found] == [0, 0, 1, 1]
    rows = [{"method": "prompt", "accuracy": 0.5, "frechet": 3.0}, {"method": "untuned"}]
    row = few_images.read({"rows": rows}, tmp_path)
    assert (row["prompt/accuracy"], row["prompt/frechet"]) == (0.5, 3.0)
    assert row["untuned/accuracy"] is None
    whole = few_images.read({"rows": [{"method": m} for m in few_images.METHODS]}, tmp_path)
    assert set(few_images.columns()) == set(whole)
