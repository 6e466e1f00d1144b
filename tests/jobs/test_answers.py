"""Prefixes that were tuned before, used again: several in one batch, and under attack."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from maskgit_prompt import main
from maskgit_prompt.data.sets.scene_tasks import TASKS
from maskgit_prompt.data.sets.scenes import draw, make_scene
from maskgit_prompt.jobs import attack
from tests import tiny
from tests.jobs.running import ROOT, run
from tests.jobs.test_multimodal import FEW, MULTIMODAL, QUICK

ANSWER = f"--config={ROOT}/configs/answer.py"
ATTACK = f"--config={ROOT}/configs/attack.py"
APART = ("--config.prompt.std=3.0",)  # so that prefixes differ


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(backbone, files of two runs: prefixes of 3 and of 5 tokens for two styles of captions)."""
    home = tmp_path_factory.mktemp("answers")
    backbone = tiny.write_multimodal(home / "tiny")
    files = []
    for task, tokens in (("caption-german", 3), ("caption-terse", 5)):
        flags = (f"--config.data.task={task}", f"--config.prompt.encoder={tokens}")
        code = main.main(
            [
                *("maskgit_prompt", MULTIMODAL, *QUICK, *FEW, *APART, *flags),
                *(f"--config.backbone={backbone}", f"--workdir={home / task}"),
                *("--config.prompt.decoder=2", "--config.search.length=6"),
            ]
        )
        assert code == 0
        files.append(home / task / "prefix.safetensors")
    return backbone, files


@pytest.fixture
def pictures(tmp_path):
    (tmp_path / "pictures").mkdir()
    for number in range(3):
        Image.fromarray(draw(make_scene(0, number))).save(tmp_path / "pictures" / f"{number}.png")
    return tmp_path / "pictures"


def answered(
    capsys, backbone, pictures, home, *files, flags=()
) -> dict[tuple[str, str], tuple[str, float]]:
    done = run(
        capsys,
        *flags,
        f"{ANSWER}:{pictures}",
        f"--config.backbone={backbone}",
        f"--workdir={home}",
        *(f"--config.prefixes={file}" for file in files),
    )
    assert done.code == 0, done.err
    rows = csv.DictReader((home / "answers.csv").open())
    return {(r["file"], r["prefix"]): (r["answer"], float(r["score"])) for r in rows}


def test_prefixes_in_one_batch_answer_as_they_do_alone(made, pictures, tmp_path, capsys):
    backbone, files = made
    both = answered(capsys, backbone, pictures, tmp_path / "both", *files)
    assert len(both) == 6
    for number, file in enumerate(files):
        alone = answered(capsys, backbone, pictures, tmp_path / f"{number}", file)
        for key, (text, score) in alone.items():
            assert both[key][0] == text and both[key][1] == pytest.approx(score, abs=3e-4)
    scores = np.array([[both[f"{i}.png", str(f)][1] for f in files] for i in range(3)])
    assert (np.abs(scores[:, 0] - scores[:, 1]) > 1e-3).all()


def test_each_prefix_answers_from_its_own_closed_set(made, pictures, tmp_path, capsys):
    """Three pictures and two prefixes make six rows, on eight devices; the second batch has one
    picture."""
    files = []
    for task in ("colour", "count"):
        home = tmp_path / task
        flags = (f"--config.backbone={made[0]}", f"--workdir={home}", *FEW)
        done = run(capsys, MULTIMODAL, *QUICK, *flags, f"--config.data.task={task}")
        assert done.code == 0, done.err
        files.append(home / "prefix.safetensors")
    question = "--config.texts=what?"
    few = (question, "--config.batch_size=2")
    both = answered(capsys, made[0], pictures, tmp_path / "both", *files, flags=few)
    for file, task in zip(files, ("colour", "count"), strict=True):
        own = {text for (_, prefix), (text, _) in both.items() if prefix == str(file)}
        assert own and own <= set(TASKS[task].answers)
        alone = answered(capsys, made[0], pictures, tmp_path / f"a-{task}", file, flags=(question,))
        assert {key: both[key][0] for key in alone} == {k: text for k, (text, _) in alone.items()}


def test_a_prefix_is_refused_on_another_backbone(made, pictures, tmp_path, capsys):
    other = tiny.write_multimodal(tmp_path / "other", seed=1)
    done = run(
        capsys,
        f"{ANSWER}:{pictures}",
        f"--config.backbone={other}",
        f"--config.prefixes={made[1][0]}",
        f"--workdir={tmp_path / 'run'}",
    )
    assert done.code == 1 and "was tuned on 'tiny-ofa' with fingerprint" in done.error()


def test_texts_that_no_instruction_takes_are_refused(made, pictures, tmp_path, capsys):
    backbone, files = made
    flags = (f"--config.backbone={backbone}", f"--workdir={tmp_path / 'run'}")
    done = run(capsys, f"{ANSWER}:{pictures}", *flags)
    assert done.code == 2 and "config.prefixes is empty" in done.error()
    flags += (f"--config.prefixes={files[0]}", "--config.search.beams=2")
    done = run(capsys, f"{ANSWER}:{pictures}", *flags)
    assert done.code == 2 and "search.beams" in done.err


def test_an_attack_changes_images_by_epsilon_and_no_more(made, tmp_path, capsys, monkeypatch):
    backbone, files = made
    seen = {}
    own = attack.attacked_images

    def kept(plan, run, tree, pixels, epsilon, size):
        found = own(plan, run, tree, pixels, epsilon, size)
        seen[epsilon] = np.abs(found.astype(int) - pixels)
        return found

    monkeypatch.setattr(attack, "attacked_images", kept)
    done = run(
        capsys,
        ATTACK,
        f"--config.tuned={files[0]}",
        f"--config.backbone={backbone}",
        f"--workdir={tmp_path / 'run'}",
        *FEW,
        "--config.data.size=32",
        "--config.search.beams=2",
        "--config.epsilons=(0.0, 4.0)",
    )
    assert done.code == 0, done.err
    assert seen[0.0].max() == 0 and seen[4.0].max() == 4 and seen[4.0].mean() > 2
    rows = json.loads((tmp_path / "run" / "results.json").read_text())["rows"]
    assert [(row["epsilon"], row["attack"]) for row in rows] == [(0.0, "fgsm"), (4.0, "fgsm")]


def test_examples_of_another_task_are_not_attacked(made, tmp_path, capsys):
    backbone, files = made
    flags = (f"--config.tuned={files[0]}", f"--config.backbone={backbone}", *FEW)
    flags += (f"--workdir={tmp_path / 'run'}", "--config.data.task=refer")
    done = run(capsys, ATTACK, *flags, "--config.data.size=32")
    assert done.code == 2 and "what does the image describe" in done.error()
