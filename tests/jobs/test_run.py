"""The main job through `main`, end to end, on real digits with a backbone of random weights."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from maskgit_prompt import main
from maskgit_prompt.data.pixels import Preprocessing
from maskgit_prompt.data.sets import digits
from maskgit_prompt.storage import workdir
from maskgit_prompt.tuning import train, tuned_prompt
from tests import light
from tests.jobs.running import QUICKSTART, ROOT, SAMPLE, TINY, run

pytestmark = pytest.mark.slow

FLAGS = (*TINY, "--config.data.shots=2", "--config.score.marquee_images=2")

# Factorized prompt: 1 base, 10 classes, 20 instances and 2 tokens of 32 numbers; scale and bias of
# a norm; a dense layer from 32 to the transformer's 16.
PROMPT_PARAMETERS = (1 + 10 + 20 + 2) * 32 + 2 * 32 + 32 * 16 + 16


@pytest.fixture(scope="module")
def whole(backbone, tmp_path_factory) -> pathlib.Path:
    """The workdir of a run that went through, with what a light installation has."""
    home = tmp_path_factory.mktemp("whole") / "run"
    argv = ["", QUICKSTART, f"--config.backbone={backbone}", *FLAGS, f"--workdir={home}"]
    with pytest.MonkeyPatch.context() as monkeypatch:
        light.leave_out(monkeypatch)
        assert main.main(argv) == 0
    return home


def results(home: pathlib.Path) -> dict:
    return json.loads((home / "results.json").read_text())


def same(a: pathlib.Path, b: pathlib.Path) -> bool:
    """Whether two runs gave the same results (but for times), metrics and prompt bytes."""
    times = {"seconds": None, "seconds_per_image": None}
    first, second = (results(home) | times for home in (a, b))
    for found in (first, second):
        found["encoding"].pop("images_per_second")
    assert first == second
    assert metrics(a) == metrics(b)
    return all(
        (a / name).read_bytes() == (b / name).read_bytes()
        for name in ("prompt.safetensors", "samples/prompt.png")
    )


def metrics(home: pathlib.Path) -> list[dict]:
    """The lines of metrics, without speed and memory."""
    rows = [json.loads(line) for line in (home / "metrics.jsonl").read_text().splitlines()]
    return [{name: x for name, x in row.items() if name not in train.MEASURED} for row in rows]


def test_results_hold_every_number_with_its_images_and_interval(whole):
    found = results(whole)
    assert found["accuracy"].keys() == {"real", "reconstructed", "prompt", "untuned"}
    assert all(0 <= share <= 1 for share in found["accuracy"].values())
    assert found["accuracy"]["real"] > 0.9  # the judge can read real digits
    assert found["kid"].keys() == {"prompt", "untuned"}
    for origin, distance in found["kid"].items():
        low, high = found["intervals"]["kid"][origin]
        assert low < distance < high
        assert found["counts"]["kid"][origin] == {"images": 30, "real": 720}
    for origin, count in {"real": 720, "reconstructed": 720, "prompt": 30, "untuned": 30}.items():
        assert found["counts"]["accuracy"][origin] == {"images": count}
        low, high = found["intervals"]["accuracy"][origin]
        assert low <= found["accuracy"][origin] <= high
    # Thirty generated images are too few.
    assert found["frechet"] == found["precision_recall"] == {"prompt": None, "untuned": None}
    assert found["warnings"] == [
        "No Fréchet distance, precision, recall, density and coverage: 30 generated images, 50 are "
        "needed."
    ]
    # The even choice among 24 codes costs ln 24 = 3.18 nats; random weights are not far from it.
    assert found["loss"].keys() == {"train", "heldout"}
    assert all(2.9 < loss < 3.5 for loss in found["loss"].values())
    assert 0 <= found["near_copies"]["fraction"] <= 1
    assert len(found["near_copies"]["pairs"]) == 12
    # Two of the digits look the same to this tokenizer.
    assert found["counts"]["near_copies"] == {"images": 30, "training": 20, "heldout": 719}
    # A tokenizer of random weights.
    assert found["reconstruction"]["keeps"] == "little"
    assert found["reconstruction"]["own"] is None
    assert [row["cutoff"] for row in found["marquee"]] == [0.0, 0.1, 0.25, 0.5, 0.75, 1.0]
    stages = {"load", "encode", "tune", "sample", "untuned", "judge", "marquee", "score", "report"}
    stages |= {"look"}
    assert found["seconds"].keys() == stages
    assert found["parameters"]["trainable"] == PROMPT_PARAMETERS
    images = {"tune": 20, "judge": 537, "test": 720, "reference": 720}
    assert found["data"]["images"] == images
    assert found["data"]["generated"] == 30


def test_report_and_pictures(whole):
    page = (whole / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 11
    assert "http://" not in page and "https://" not in page
    assert "--config=configs/sample.py" in page and f"--config.backbone={whole.parent}" not in page
    names = {path.name for path in (whole / "samples").iterdir()}
    pictures = {"real", "reconstructed", "prompt", "untuned", "marquee", "glance", "loss"}
    pictures |= {"fit", "pairs", "prompt-places", "prompt-neighbours", "prompt-attention"}
    assert names == {f"{name}.png" for name in pictures}
    rows = metrics(whole)
    assert [row["step"] for row in rows if "loss" in row] == [1, 2, 3, 4]
    assert [row["step"] for row in rows if "evaluated_heldout" in row] == [2, 4]
    assert len(list(whole.glob("events.out.tfevents.*"))) == 1


def test_prompt_file_is_small_and_names_all(whole):
    path = whole / "prompt.safetensors"
    assert path.stat().st_size < 4 * PROMPT_PARAMETERS + 8_000
    prompt = tuned_prompt.load(path)
    assert prompt.classes == tuple("0123456789")
    assert sorted(prompt.instance_classes) == [c for c in range(10) for _ in range(2)]
    images = digits.digits(Preprocessing(16))
    rows = [images.ids.index(name) for name in prompt.instances]
    assert tuple(images.labels[rows]) == prompt.instance_classes
    assert (prompt.backbone.name, prompt.sample["steps"]) == ("tiny", 2)
    assert prompt.scores["accuracy"] == results(whole)["accuracy"]


def test_the_same_seed_in_another_process_gives_the_same_bytes(whole, backbone, tmp_path):
    command = [sys.executable, "-m", "maskgit_prompt.main", QUICKSTART, *FLAGS]
    done = subprocess.run(
        [*command, f"--config.backbone={backbone}", f"--workdir={tmp_path / 'run'}"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "JAX_NUM_CPU_DEVICES": "8"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2] == f"report: {tmp_path / 'run' / 'report.html'}"
    assert "tune: 100% 32/32" in done.stderr
    assert same(whole, tmp_path / "run")


def test_another_seed_gives_another_prompt(whole, backbone, tmp_path, capsys):
    flags = (*FLAGS, "--config.seed=1", "--config.score.marquee_images=0")
    done = run(
        capsys, QUICKSTART, f"--config.backbone={backbone}", *flags, f"--workdir={tmp_path / 'run'}"
    )
    assert done.code == 0
    assert results(tmp_path / "run")["marquee"] == []
    assert not (tmp_path / "run" / "samples" / "marquee.png").exists()
    prompts = [tuned_prompt.load(h / "prompt.safetensors") for h in (whole, tmp_path / "run")]
    assert (prompts[0].tree["base"] != prompts[1].tree["base"]).all()


def test_stopped_and_resumed_equals_uninterrupted(whole, backbone, tmp_path, capsys, monkeypatch):
    home = tmp_path / "run"
    flags = (QUICKSTART, f"--config.backbone={backbone}", *FLAGS, f"--workdir={home}")
    log = workdir.Metrics.log

    def stop_at_3(self, step, values):
        log(self, step, values)
        if step == 3:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(workdir.Metrics, "log", stop_at_3)
    done = run(capsys, *flags)
    assert done.code == 143
    assert f"stopped at step 3 of 4, saved in {home / 'checkpoints'}" in done.err
    assert not (home / "results.json").exists()

    monkeypatch.undo()
    assert run(capsys, *flags).code == 0
    assert same(whole, home)
    tuned_in = results(home)["seconds"]["tune"]
    assert run(capsys, *flags).code == 0  # a finished run: nothing is tuned
    assert results(home)["seconds"]["tune"] == tuned_in


def test_disk_full_at_the_results_loses_nothing(whole, backbone, tmp_path, capsys, monkeypatch):
    home = tmp_path / "run"
    flags = (QUICKSTART, f"--config.backbone={backbone}", *FLAGS, f"--workdir={home}")
    replace = os.replace

    def full(old, new):
        if pathlib.Path(new).name == "results.json":
            raise OSError(28, "No space left on device")
        replace(old, new)

    monkeypatch.setattr(os, "replace", full)
    done = run(capsys, *flags)
    assert done.code == 1
    assert f"cannot write {home / 'results.json'}: No space left on device" in done.error()
    names = ("config.json", "prompt.safetensors", "metrics.jsonl")
    assert all((home / name).exists() for name in names)
    assert not list(home.glob(".*"))

    monkeypatch.undo()
    assert run(capsys, *flags).code == 0  # nothing is left to train
    assert same(whole, home)


def test_trained_transformer_is_the_backbone_of_its_prompt(backbone, tmp_path, capsys):
    home = tmp_path / "run"
    flags = (*TINY, "--config.data.shots=2", "--config.score.marquee_images=0")
    trainable = "--config.trainable=('prompt/.*', '!transformer/head/bias', 'transformer/head/.*')"
    done = run(
        capsys, QUICKSTART, f"--config.backbone={backbone}", *flags, trainable, f"--workdir={home}"
    )
    assert done.code == 0
    # The head: a dense layer of 16 x 16 + 16 and a norm of 2 x 16.
    assert results(home)["parameters"]["trainable"] == PROMPT_PARAMETERS + 16 * 16 + 16 + 2 * 16
    again = (SAMPLE, f"--config.prompt={home / 'prompt.safetensors'}", "--config.num=1")
    done = run(capsys, *again, f"--config.backbone={backbone}", f"--workdir={tmp_path / 'other'}")
    assert done.code == 1
    assert "was tuned on 'tiny, tuned' with fingerprint" in done.error()
    assert f"--config.backbone={home / 'backbone'}" in (home / "report.html").read_text()
    done = run(
        capsys, *again, f"--config.backbone={home / 'backbone'}", f"--workdir={tmp_path / 's'}"
    )
    assert (done.code, done.out[:9]) == (0, "10 images")


def test_a_pattern_that_no_parameter_has(backbone, tmp_path, capsys):
    flags = (f"--config.backbone={backbone}", *TINY, "--config.trainable=prompts/.*")
    done = run(capsys, QUICKSTART, *flags, f"--workdir={tmp_path / 'run'}")
    assert done.code == 2
    assert "config.trainable: 'prompts/.*' matches no parameter; they begin with" in done.error()


def test_a_study_begins_with_the_runs_own_images_and_goes_on_where_it_was_stopped(
    whole, backbone, tmp_path, capsys
):
    flags = [f"--config={ROOT}/configs/sample_study.py:{whole}", f"--config.backbone={backbone}"]
    flags += ["--config.by=accuracy", f"--workdir={tmp_path / 'study'}"]
    flags += ["--config.grid.sampler=entropy", "--config.grid.entropy_bound=1e6"]
    done = run(capsys, *flags)
    assert done.code == 0, done.err
    own, other = results(tmp_path / "study")["rows"]
    assert own["accuracy"] == results(whole)["accuracy"]["prompt"]
    sheet = (tmp_path / "study/settings/own,seed=0/sheet.png").read_bytes()
    assert sheet == (whole / "samples/prompt.png").read_bytes()
    assert (own["calls"], other["calls"]) == (2, 1)
    assert "best of 2 settings by accuracy: " in done.out

    # A finished setting is not drawn again, and one that was deleted is.
    kept = tmp_path / "study/settings" / other["folder"] / "row.json"
    kept.write_text(json.dumps(other | {"accuracy": 0.9999}))
    (tmp_path / "study/settings/own,seed=0/row.json").unlink()
    assert run(capsys, *flags).code == 0
    again, changed = results(tmp_path / "study")["rows"]
    assert again["accuracy"] == own["accuracy"] and changed["accuracy"] == 0.9999
