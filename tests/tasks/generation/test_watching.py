"""Sheets while a prompt is tuned: of the stub sampler an image is as light as its prompt."""

import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from maskgit_prompt.tasks.generation import pictures, watching
from tests.report import reading
from tests.report.reading import capture
from tests.tasks.generation import stubs


@pytest.fixture
def samplers(monkeypatch) -> list[stubs.StubSampler]:
    return stubs.use_sampler(monkeypatch)


@pytest.fixture
def drawn(monkeypatch) -> list[tuple]:
    """(shades, classes, names) of each sheet."""
    found, real = [], pictures.sheet

    def sheet(images, labels, names):
        found.append((stubs.shades(images), labels.tolist(), names))
        return real(images, labels, names)

    monkeypatch.setattr(pictures, "sheet", sheet)
    return found


def tree(dark: float, light: float) -> dict:
    """Parameters whose prompts are these numbers; those of instances are far away."""
    prompt = stubs.prompt_tree([dark, light], [200, 200, 200])
    return {"prompt": prompt, "transformer": f"transformer of {dark}"}


def log(home: pathlib.Path, *rows: dict) -> None:
    (home / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_four_images_of_each_class_under_its_prompt(tmp_path, samplers, drawn):
    show = watching.make_show(stubs.plan(stubs.data(), seed=6), tmp_path, steps=30)
    show(10, tree(50, 150))
    show(20, tree(60, 140))
    names = ("dark", "light")
    assert drawn[0] == ([50] * 4 + [150] * 4, [0] * 4 + [1] * 4, names)
    assert drawn[1] == ([60] * 4 + [140] * 4, [0] * 4 + [1] * 4, names)
    assert [sampler.transformer for sampler in samplers] == [
        "transformer of 50",
        "transformer of 60",
    ]
    # Seed 6, and 2 more for images that are generated: the same noise at every step.
    assert [sampler.calls[0].key for sampler in samplers] == [[0, 8], [0, 8]]


def test_classes_without_an_image_to_tune_on_are_left_out(tmp_path, samplers, drawn):
    plan = stubs.plan(stubs.data(tune=[(25, 0), (47, 0)]))
    watching.make_show(plan, tmp_path, steps=30)(10, tree(50, 150))
    assert drawn[0][:2] == ([50] * 4, [0] * 4)


def test_guidance_moves_away_from_the_prompt_without_condition(tmp_path, samplers):
    plan = stubs.plan(stubs.data(), sample__guidance=2.0)
    watching.make_show(plan, tmp_path, steps=30)(10, tree(50, 150))
    assert samplers[0].config.guidance == 2.0
    assert np.ravel(samplers[0].calls[0].uncond.tokens).tolist() == [0]  # "positions" alone


def test_the_page_has_the_sheets_and_the_curves_so_far(tmp_path, samplers, monkeypatch):
    charts = capture(monkeypatch)
    show = watching.make_show(stubs.plan(stubs.data()), tmp_path, steps=20)
    log(tmp_path, {"step": 5, "loss": 4.0}, {"step": 10, "loss": 3.0, "learning_rate": 0.01})
    show(10, tree(50, 150))
    assert "refresh" in (tmp_path / "progress.html").read_text()
    log(tmp_path, {"step": 10, "loss": 3.0}, {"step": 20, "evaluated_heldout": 2.5})
    show(20, tree(60, 140))
    assert [chart.curves for chart in charts] == [
        {"training batches": ([5, 10], [4.0, 3.0])},
        {"training batches": ([10], [3.0]), "held-out images": ([20], [2.5])},
    ]
    text = (tmp_path / "progress.html").read_text()
    assert "refresh" not in text and "Tuning: shades on stub" in text
    page = reading.read(tmp_path / "progress.html")
    assert list(page.pictures)[1:] == ["Step 20", "Step 10"]
    for step in (10, 20):
        path = tmp_path / "progress" / f"{step}.png"
        assert page.pictures[f"Step {step}"] == path.read_bytes()
        assert Image.open(path).size[0] > 100


def test_sheets_of_steps_that_are_taken_again_are_not_shown(tmp_path, samplers):
    show = watching.make_show(stubs.plan(stubs.data()), tmp_path, steps=40)
    for step in (10, 20, 30):
        show(step, tree(50, 150))
    show(20, tree(60, 140))  # resumed from a checkpoint between 10 and 20
    page = reading.read(tmp_path / "progress.html")
    assert [name for name in page.pictures if name.startswith("Step")] == ["Step 20", "Step 10"]
    assert page.texts[0].startswith("Step 20 of 40.")


def test_only_the_first_host_writes(tmp_path, samplers, monkeypatch):
    monkeypatch.setattr(watching.distributed, "is_first", lambda: False)
    watching.make_show(stubs.plan(stubs.data()), tmp_path, steps=40)(10, tree(50, 150))
    assert samplers and not list(tmp_path.iterdir())
