"""The task on images and texts through `main`: tuned, answered, stopped, resumed, stored."""

import csv
import json
import pathlib

import numpy as np
import pytest
import safetensors.numpy

from maskgit_prompt.storage import checkpoint
from maskgit_prompt.tuning import tuned_prefix
from maskgit_prompt.tuning.methods import MULTIMODAL_METHODS
from tests import tiny
from tests.data import drawn_examples
from tests.jobs.running import ROOT, run

MULTIMODAL = f"--config={ROOT}/configs/multimodal.py"
QUICK = (
    "--config.train.steps=4",
    "--config.train.batch_size=8",
    "--config.train.tensorboard=False",
    "--config.train.log_every=1",
    "--config.train.save_every=2",
    "--config.data.size=32",
    "--config.search.beams=2",
    "--config.score.untuned=False",
)
FEW = (
    "--config.data.task=caption-german",
    "--config.data.tune_num=12",
    "--config.data.test_num=6",
)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory) -> str:
    return tiny.write_multimodal(tmp_path_factory.mktemp("ofa") / "tiny")


@pytest.fixture
def tuned(backbone, tmp_path, capsys):
    """home of a finished run: method -> its workdir."""

    def make(method: str, name: str = "", *flags: str) -> pathlib.Path:
        home = tmp_path / (name or method)
        done = run(capsys, MULTIMODAL, *QUICK, *FEW, *_of(backbone, method, home), *flags)
        assert done.code == 0, done.err
        return home

    return make


def _of(backbone, method, home) -> tuple[str, ...]:
    tokens = ("--config.prompt.encoder=3", "--config.prompt.decoder=2")
    return (
        f"--config.backbone={backbone}",
        f"--config.method={method}",
        f"--workdir={home}",
        *(tokens if method == "prompt" else ()),
    )


def read(path: pathlib.Path):
    return json.loads(path.read_text())


def test_a_run_leaves_what_it_found(tuned):
    home = tuned("prompt", "", "--config.score.untuned=True", "--config.train.evaluate_every=2")
    found = read(home / "results.json")
    # Prefixes of 3 tokens in 2 layers and of 2 tokens in 1, keys and values of width 16.
    assert found["trainable"] == (3 * 2 + 2 * 1) * 2 * 16
    assert found["examples"] == {"tune": 12, "heldout": 6}
    assert set(found["scores"]) == {"tuned", "untuned"} and found["loss"] > 0
    rows = list(csv.DictReader((home / "answers.csv").open()))
    assert len(rows) == 6 and {"answer", "before tuning", "right answers"} <= rows[0].keys()
    worth = np.mean([float(row["worth"]) for row in rows])
    assert worth == pytest.approx(found["scores"]["tuned"]["values"]["accuracy"])
    stored = tuned_prefix.load(home / "prefix.safetensors")
    assert stored.task["instruction"] == " what does the image describe?"
    assert stored.config.encoder.tokens == 3 and stored.backbone.name == "tiny-ofa"
    page = (home / "report.html").read_text()
    assert "What it answers" in page and page.count("<figure") >= 6
    assert rows[0]["right answers"].split("&&")[0] in page


def test_the_same_seed_gives_the_same_files(tuned):
    first, second = tuned("prompt", "first"), tuned("prompt", "second")
    for name in ("prefix.safetensors", "answers.csv"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    other = tuned("prompt", "other", "--config.seed=1")
    name = "prefix.safetensors"
    assert (other / name).read_bytes() != (first / name).read_bytes()


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(tuned, backbone, tmp_path, capsys):
    whole = tuned("prompt", "whole")
    home = tmp_path / "stopped"
    flags = (*QUICK, *FEW, *_of(backbone, "prompt", home))
    save, calls = checkpoint.save, []

    def failing(manager, step, state, **how):
        save(manager, step, state, **how)
        calls.append(step)
        if step == 3:
            checkpoint.wait(manager)
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "save", failing)
        assert run(capsys, MULTIMODAL, *flags).code != 0
    assert calls == [1, 2, 3]
    assert run(capsys, MULTIMODAL, *flags).code == 0
    for name in ("prefix.safetensors", "answers.csv"):
        assert (home / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.parametrize("method", [m for m in MULTIMODAL_METHODS if m != "prompt"])
def test_every_method_tunes_and_stores_what_it_says(tuned, method):
    home = tuned(method, "", "--config.data.task=colour")
    names = set(safetensors.numpy.load_file(home / "tuned.safetensors"))
    begins = {name.split("/")[0] for name in names}
    assert begins == {method if method in ("adapter", "lora") else "multimodal"}
    if method.startswith("bias"):
        assert all(name.endswith("bias") for name in names)
    assert not any(name.endswith(("/mean", "/variance")) for name in names)
    found = read(home / "results.json")
    assert found["answers"] == 8 and found["trainable"] > 0
    said = {row["answer"] for row in csv.DictReader((home / "answers.csv").open())}
    assert said <= {"red", "orange", "yellow", "green", "blue", "purple", "black", "white"}


def test_boxes_are_answered_scored_and_drawn(tuned):
    home = tuned("prompt", "", "--config.data.task=refer")
    found = read(home / "results.json")
    assert set(found["scores"]["tuned"]["values"]) == {"found", "overlap"}
    rows = list(csv.DictReader((home / "answers.csv").open()))
    assert all(row["answer"].count("<bin_") == 4 for row in rows)
    assert "The green box is right" in (home / "report.html").read_text()


def test_losses_of_the_reference_reach_the_training(tuned):
    home = tuned(
        "prompt",
        "",
        "--config.loss.smoothing=0.1",
        "--config.loss.drop_worst=0.3",
        "--config.loss.r_drop=1.0",
        "--config.prompt.dropout=0.3",
    )
    rows = [json.loads(line) for line in (home / "metrics.jsonl").read_text().splitlines()]
    losses = [(row["loss"], row["nll"]) for row in rows if "nll" in row]
    assert len(losses) == 4 and all(loss != nll for loss, nll in losses)


def answers_of(capsys, backbone, home, *flags) -> list[dict[str, str]]:
    done = run(capsys, MULTIMODAL, *QUICK, *_of(backbone, "prompt", home), *flags)
    assert done.code == 0, done.err
    return list(csv.DictReader((home / "answers.csv").open()))


def test_a_table_beside_its_images(backbone, tmp_path, capsys):
    images = drawn_examples.folder(tmp_path / "images")
    lines = [f"{c}.png,which colour?,{c}" for c in ("red", "blue", "red", "blue")]
    table = drawn_examples.csv_of(images, *lines)
    flags = (f"--config.data.path={table}", "--config.data.name=table", "--config.goal=question")
    flags += ("--config.data.tune_num=0", "--config.closed=targets", "--config.data.heldout=0.25")
    rows = answers_of(capsys, backbone, tmp_path / "run", *flags)
    assert len(rows) == 1 and rows[0]["answer"] in ("red", "blue")
    assert "train.csv, line" in rows[0]["row"] and rows[0]["asked"] == "which colour?"


def test_the_references_file(backbone, tmp_path, capsys):
    lines = [
        ("1", "a", b"red", "it is red", "a", "yes"),
        ("2", "b", b"blue", "it is red", "b", "no"),
    ]
    file = drawn_examples.tsv_of(tmp_path, *lines)
    flags = (f"--config.data.path={file}", f"--config.data.test={file}")
    flags += ("--config.data.name=tsv", "--config.goal=statement", "--config.data.image=2")
    flags += ("--config.data.texts=3", "--config.data.target=5", "--config.data.tune_num=0")
    rows = answers_of(capsys, backbone, tmp_path / "run", *flags)
    assert [row["right answers"] for row in rows] == ["yes", "no"]
    assert {row["answer"] for row in rows} <= {"yes", "no", "maybe"}


BAD = {
    "text too long": ("red.png,is it red or is it not,yes", "--config.goal=question", "tokens"),
    "box outside": ('red.png,it,"1,2,90,9"', "--config.goal=point", "outside the image"),
    "not in the trie": ("red.png,it,perhaps", "--config.goal=statement", "'perhaps' is not in"),
    "no image": ("rot.png,it,yes", "--config.goal=statement", "no image rot.png"),
    "broken image": ("bad.png,it,yes", "--config.goal=statement", "bad.png is broken"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_one_line_with_row_and_file(backbone, tmp_path, capsys, what):
    line, goal, said = BAD[what]
    images = drawn_examples.folder(tmp_path / "images")
    (images / "bad.png").write_bytes(b"no image")
    line = line.replace("is it red or is it not", "is it red or is it not? " * 9)
    table = drawn_examples.csv_of(images, 'red.png,it,"1,2,9,9"', line)
    if goal == "--config.goal=statement":
        table = drawn_examples.csv_of(images, "red.png,it,yes", line)
    flags = (f"--config.data.path={table}", "--config.data.name=table", goal)
    done = run(capsys, MULTIMODAL, *QUICK, *_of(backbone, "prompt", tmp_path / "run"), *flags)
    assert done.code == 1 and f"{table}/train.csv, line 3" in done.error() and said in done.error()
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_missing_column_and_another_vocabulary(backbone, tmp_path, capsys):
    file = drawn_examples.tsv_of(tmp_path, ("1", b"red", "yes"))
    flags = (f"--config.data.path={file}", "--config.data.name=tsv", "--config.goal=class")
    flags += ("--config.data.image=1", "--config.data.texts=()", "--config.data.target=5")
    done = run(capsys, MULTIMODAL, *QUICK, *_of(backbone, "prompt", tmp_path / "run"), *flags)
    assert f"{file}, line 1: 3 columns, expected at least 6" in done.error()
    flags = (*flags[:-1], "--config.data.target=2", f"--config.vocabulary={tmp_path}")
    done = run(capsys, MULTIMODAL, *QUICK, *_of(backbone, "prompt", tmp_path / "run"), *flags)
    assert done.code == 2 and "brings its own" in done.error()
