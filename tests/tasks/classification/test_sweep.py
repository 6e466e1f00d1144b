"""What a sweep tries, what it chooses, and what it does not do twice."""

import json
import types

import numpy as np
import pytest

from maskgit_prompt import config as defaults
from maskgit_prompt.errors import UsageError, UserError
from maskgit_prompt.models.prompts import LOCATIONS
from maskgit_prompt.tasks.classification import sweep as module
from maskgit_prompt.tasks.classification.sweep import Grid, choose, sweep


def row(accuracy, rate, decay=0.0, tokens=1, loss=1.0) -> dict:
    names = ("accuracy", "learning_rate", "weight_decay", "tokens", "loss")
    return dict(zip(names, (accuracy, rate, decay, tokens, loss), strict=True))


def test_the_best_row_and_ties():
    assert choose([row(0.5, 1.0), row(0.7, 9.0), row(0.6, 0.1)])["learning_rate"] == 9.0
    assert choose([row(0.7, 9.0), row(0.7, 2.0, 0.1), row(0.7, 2.0, 0.01, 5)]) == row(
        0.7, 2.0, 0.01, 5
    )
    assert choose([row(0.7, 2.0, 0.0, 5), row(0.7, 2.0, 0.0, 3)])["tokens"] == 3
    assert choose([row(0.9, 50.0, loss=None), row(0.4, 1.0)])["learning_rate"] == 1.0
    with pytest.raises(UserError, match="all 1 runs of the sweep ended with a loss that is not"):
        choose([row(0.9, 50.0, loss=None)])


def test_the_grid_of_a_method_without_a_prompt_has_no_lengths():
    config = defaults.sweep()
    assert Grid.of(config).tokens == (1, 5, 10, 50)
    config.method = "linear"
    assert Grid.of(config).tokens == (0,)
    config.method = "prompt"
    lengths = {}
    for location in LOCATIONS:
        config.prompt.location = location
        lengths[location] = Grid.of(config).tokens
    assert {where for where, found in lengths.items() if found == (0,)} == {"add", "add-1"}


@pytest.fixture
def calls(monkeypatch):
    """Stands in for training: the accuracy is a function of the run."""
    made = []

    def carry_out(plan, given, runs, judged, what):
        assert given == ("source of", len(plan.data.tune))
        made.append((plan.tokens, what, [(r.learning_rate, r.weight_decay, r.seed) for r in runs]))
        accuracies = [0.5 - abs(r.learning_rate - 1.0) / 10 + plan.tokens / 100 for r in runs]
        return types.SimpleNamespace(losses=np.ones(len(runs))), accuracies

    monkeypatch.setattr(module, "carry_out", carry_out)
    monkeypatch.setattr(module, "source", lambda plan: ("source of", len(plan.data.tune)))
    return made


def plans(final: bool, digest: str = "same"):
    images = types.SimpleNamespace(classes=("a", "b"), name="x")
    images.found = None
    data = types.SimpleNamespace(
        tune=np.arange(30 if final else 20), judge=np.arange(10), test=np.arange(40), images=images
    )
    data.digest = lambda rows: f"{digest} {len(rows)}"
    data.summary = lambda: "found 70 images"
    optimizer = types.SimpleNamespace(scaled=True)
    config = types.SimpleNamespace(optimizer=optimizer, train=types.SimpleNamespace(batch_size=128))
    tuning = types.SimpleNamespace(train=types.SimpleNamespace(steps=7))
    parts = {"tuned on": data.tune, "deciding": data.judge, "held out": data.test}

    def with_tokens(tokens: int):
        return types.SimpleNamespace(
            tokens=tokens,
            config=config,
            data=data,
            tuning=tuning,
            parts=parts,
            with_tokens=with_tokens,
        )

    return with_tokens(0)


GRID = Grid((2, 4), (1.0, 2.0, 4.0), (0.0,), (7, 8, 9), 2)


def test_groups_rows_and_the_final_runs(calls, tmp_path):
    found = sweep(GRID, plans, tmp_path, seed=5)
    # Two at a time, at rates of a batch of 128 of 256.
    assert calls == [
        (2, "2 tokens", [(0.5, 0.0, 5), (1.0, 0.0, 5)]),
        (2, "2 tokens", [(2.0, 0.0, 5)]),
        (4, "4 tokens", [(0.5, 0.0, 5), (1.0, 0.0, 5)]),
        (4, "4 tokens", [(2.0, 0.0, 5)]),
        (4, "final", [(1.0, 0.0, 7), (1.0, 0.0, 8)]),
        (4, "final", [(1.0, 0.0, 9)]),
    ]
    assert (found["best"]["tokens"], found["best"]["learning_rate"]) == (4, 2.0)
    assert found["accuracy"] == pytest.approx(0.54) and found["deviation"] == pytest.approx(0)
    assert found["images"] == {"tune": 30, "heldout": 40} and len(found["rows"]) == 6


def test_finished_rows_are_not_run_again(calls, tmp_path, monkeypatch):
    first = sweep(GRID, plans, tmp_path, seed=5)
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    (tmp_path / "rows.json").write_text(json.dumps({"rows": rows[:3] + rows[5:]}))
    del calls[:]
    again = sweep(GRID, plans, tmp_path, seed=5)
    assert [call[2] for call in calls[:1]] == [[(0.5, 0.0, 5), (1.0, 0.0, 5)]]
    assert len(calls) == 3
    assert again["best"] == first["best"] and again["accuracies"] == first["accuracies"]


def test_rows_of_other_images_are_not_taken(calls, tmp_path):
    sweep(GRID, plans, tmp_path, seed=5)
    with pytest.raises(UsageError, match="holds a run on other images or labels"):
        sweep(GRID, lambda final: plans(final, "other"), tmp_path, seed=5)


def test_no_images_decide(calls, tmp_path):
    def empty(final):
        plan = plans(final)
        plan.data.judge = np.arange(0)
        return plan

    with pytest.raises(UserError, match="x: no images that decide between settings"):
        sweep(GRID, empty, tmp_path, seed=5)
