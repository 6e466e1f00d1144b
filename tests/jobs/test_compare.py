"""The comparison of methods through `main`, with a backbone of random weights."""

import json
import pathlib

import pytest

from maskgit_prompt import main, params
from tests import tiny
from tests.jobs.running import QUICKSTART, TINY, run

pytestmark = pytest.mark.slow

METHODS = ("prompt", "full", "scratch", "untuned")
FLAGS = (f"{QUICKSTART},compare", *TINY, "--config.compare.shots=1", "--config.compare.shots=2")
TRANSFORMER = params.count(tiny.backbone().part("transformer").tree)


@pytest.fixture(scope="module")
def home(backbone, tmp_path_factory) -> pathlib.Path:
    home = tmp_path_factory.mktemp("comparison") / "run"
    argv = ["", *FLAGS, f"--config.backbone={backbone}", f"--workdir={home}"]
    assert main.main(argv) == 0
    return home


def read(path: pathlib.Path):
    return json.loads(path.read_text())


def test_a_row_for_every_method_and_number_of_images(home):
    found = read(home / "results.json")
    wanted = [(shots, method) for shots in (1, 2) for method in METHODS]
    assert [(row["shots"], row["method"]) for row in found["rows"]] == wanted
    assert found["accuracy"].keys() == {"real", "reconstructed", *METHODS}
    assert found["kid"].keys() == set(METHODS)
    assert all(isinstance(distance, float) for distance in found["kid"].values())
    # Thirty generated images are too few for it.
    assert found["frechet"] == dict.fromkeys(METHODS)
    assert all(row["intervals"].keys() >= {"accuracy", "kid"} for row in found["rows"])


def test_what_each_method_trains(home):
    rows = {(row["method"], row["shots"]): row for row in read(home / "results.json")["rows"]}
    assert rows["untuned", 2]["trainable"] is None
    prompt = rows["prompt", 2]["trainable"]
    assert rows["full", 2]["trainable"] == prompt + TRANSFORMER
    assert rows["scratch", 2]["trainable"] == prompt + TRANSFORMER
    # Ten more images have ten more instance prompts of 32 numbers.
    assert prompt - rows["prompt", 1]["trainable"] == 10 * 32


@pytest.mark.parametrize("method", METHODS[:3])
def test_the_best_held_out_step_is_taken(home, method):
    lines = (home / f"{method}-2" / "metrics.jsonl").read_text().splitlines()
    losses = {
        row["step"]: row["evaluated_heldout"]
        for row in map(json.loads, lines)
        if "evaluated_heldout" in row
    }
    assert losses.keys() == {2, 4}
    row = read(home / f"{method}-2" / "row.json")
    assert row["best_step"] == min(losses, key=losses.get)
    assert row["heldout_loss"] == min(losses.values())


def test_scratch_does_not_begin_where_full_does(home):
    first = [
        json.loads((home / f"{method}-2" / "metrics.jsonl").read_text().splitlines()[0])["loss"]
        for method in ("prompt", "full", "scratch")
    ]
    assert first[0] == first[1] != first[2]


def test_report_has_tables_and_pictures(home):
    page = (home / "report.html").read_text()
    # Bars, and a contact sheet of every method and number of images.
    assert page.count("data:image/png;base64,") >= 2 * len(METHODS)
    for words in ("1 image per class", "2 images per class", "full fine-tuning", "held-out loss"):
        assert words in page
    assert "http://" not in page and "https://" not in page


def test_what_is_finished_is_kept(home, backbone, capsys):
    before = read(home / "results.json")
    times = {method: (home / f"{method}-1/row.json").stat().st_mtime_ns for method in METHODS}
    (home / "full-1" / "row.json").unlink()
    done = run(capsys, *FLAGS, f"--config.backbone={backbone}", f"--workdir={home}")
    assert done.code == 0
    assert "full, images per class: 1" in done.out and "prompt, images" not in done.out
    after = {method: (home / f"{method}-1/row.json").stat().st_mtime_ns for method in METHODS}
    assert [method for method in METHODS if after[method] != times[method]] == ["full"]
    for results in (before, again := read(home / "results.json")):
        for row in results["rows"]:
            row["seconds"] = None
    assert again == before


def test_a_method_that_does_not_exist(backbone, tmp_path, capsys):
    done = run(
        capsys,
        *(*FLAGS, f"--config.backbone={backbone}", f"--workdir={tmp_path / 'run'}"),
        "--config.compare.methods=prompt",
        "--config.compare.methods=lora",
    )
    assert done.code == 2
    assert "('prompt', 'lora'), expected prompt, full, scratch, head, bias, " in done.error()
    assert not (tmp_path / "run").exists()
