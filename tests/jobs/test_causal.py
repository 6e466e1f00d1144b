"""The jobs with a causal transformer, and with prompts that are keys and values."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from maskgit_prompt import backbones, main
from maskgit_prompt.config import defaults
from maskgit_prompt.tasks.generation.plan import PARTS
from maskgit_prompt.tuning import tuned_prompt
from tests import tiny
from tests.jobs.running import QUICKSTART, SAMPLE, TINY, TINY_CAUSAL, run

FLAGS = (*TINY_CAUSAL, "--config.data.shots=2", "--config.score.marquee_images=2")


def save(folder: pathlib.Path, kind: str) -> str:
    backbones.save(dataclasses.replace(tiny.backbone(kind=kind), name=f"tiny-{kind}"), folder)
    return str(folder)


@pytest.fixture(scope="module")
def causal(tmp_path_factory) -> str:
    return save(tmp_path_factory.mktemp("backbone") / "causal", "causal")


@pytest.fixture(scope="module")
def home(causal, tmp_path_factory) -> pathlib.Path:
    home = tmp_path_factory.mktemp("causal") / "run"
    argv = ["", QUICKSTART, *FLAGS, "--config.model=causal", f"--config.backbone={causal}"]
    assert main.main([*argv, f"--workdir={home}"]) == 0
    return home


def read(path: pathlib.Path):
    return json.loads(path.read_text())


def test_the_main_job(home):
    found = read(home / "results.json")
    assert found["model"] == {"name": "tiny-causal", "transformer": "causal"}
    assert found["seconds_per_image"] > 0
    # Random weights predict next to nothing: all 24 codes are about as likely.
    assert found["loss"]["train"] == pytest.approx(np.log(24), abs=0.1)
    rows = found["marquee"]
    assert [row["cutoff"] for row in rows] == [0.0, 0.1, 0.25, 0.5, 0.75, 1.0]
    assert all(0 <= row["accuracy"] <= 1 and row["diversity"] > 0 for row in rows)
    assert {path.stem for path in (home / "samples").iterdir()} == {
        "real", "reconstructed", "prompt", "untuned", "marquee", "glance", "loss", "fit", "pairs",
        "prompt-places", "prompt-neighbours", "prompt-attention",
    }  # fmt: skip


def test_stopped_and_resumed_equals_uninterrupted(home, causal, tmp_path, capsys):
    # Without its last checkpoint it goes on from the one before.
    flags = (QUICKSTART, *FLAGS, "--config.model=causal", f"--config.backbone={causal}")
    other = tmp_path / "run"
    assert run(capsys, *flags, f"--workdir={other}").code == 0
    (other / "checkpoints" / "4").rename(tmp_path / "4")
    assert run(capsys, *flags, f"--workdir={other}").code == 0
    for name in ("prompt.safetensors", "samples/prompt.png", "samples/marquee.png"):
        assert (other / name).read_bytes() == (home / name).read_bytes()


@pytest.mark.parametrize("kind", ["masked", "causal"])
def test_keys_and_values_as_prompts(kind, causal, backbone, tmp_path, capsys):
    flags = (*FLAGS, "--config.prompt.prefix=True", "--config.score.marquee_images=1")
    flags += (f"--config.backbone={causal if kind == 'causal' else backbone}",)
    done = run(capsys, QUICKSTART, *flags, f"--workdir={tmp_path / 'run'}")
    assert done.code == 0, done.err
    # 2 layers, keys and values, 2 tokens: 8 slots of 32; factorized: 1 + 10 + 20 conditions and 8
    # slots of 32, norm 64, dense 32 x 16 + 16.
    trainable = read(tmp_path / "run" / "results.json")["parameters"]["trainable"]
    assert trainable == (1 + 10 + 20 + 8) * 32 + 64 + 32 * 16 + 16


def sample(capsys, home, causal, *flags):
    file = f"--config.prompt={home / 'prompt.safetensors'}"
    return run(capsys, SAMPLE, f"--config.backbone={causal}", file, "--config.num=2", *flags)


def test_samples_with_a_header_guidance_and_greedy(home, causal, tmp_path, capsys):
    flags = ("--config.header=instance-class", "--config.sample.guidance=2.0")
    done = sample(capsys, home, causal, *flags, f"--workdir={tmp_path / 'a'}")
    assert done.code == 0, done.err
    greedy = ("--config.sample.temperature=0.0", "--config.classes=3")
    for seed in (0, 1):
        flags = (*greedy, f"--config.seed={seed}", f"--workdir={tmp_path / f'{seed}'}")
        assert sample(capsys, home, causal, *flags).code == 0
    images = [
        np.asarray(Image.open(tmp_path / seed / "images" / "3" / number))
        for seed in "01"
        for number in ("00000.png", "00001.png")
    ]
    assert all((image == images[0]).all() for image in images)


def test_how_prompt_tokens_see_each_other_is_kept(causal, tmp_path, capsys):
    flags = (*FLAGS, "--config.prompt.attention=both", f"--config.backbone={causal}")
    assert run(capsys, QUICKSTART, *flags, f"--workdir={tmp_path / 'both'}").code == 0
    assert tuned_prompt.load(tmp_path / "both" / "prompt.safetensors").config.attention == "both"


def test_completion_from_the_top(home, causal, tmp_path, capsys):
    picture = tmp_path / "picture.png"
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(pixels).save(picture)
    flags = (f"--config.image={picture}", "--config.sample.temperature=0.0")
    done = sample(capsys, home, causal, *flags, f"--workdir={tmp_path / 'top'}")
    assert done.code == 0, done.err
    done = sample(capsys, home, causal, *flags, "--config.keep=left", f"--workdir={tmp_path / 'l'}")
    assert done.code == 2
    assert "goes on from the top rows of an image" in done.error()
    flags = (f"--config.image={picture}", "--config.sample.top_k=25")
    assert sample(capsys, home, causal, *flags, f"--workdir={tmp_path / 'l'}").code == 2
    assert not (tmp_path / "l").exists()  # so that the mended command finds no claimed workdir


@pytest.mark.parametrize(
    "flags, message",
    [
        (("--config.model=masked",), "config.model = 'masked', but backbone 'tiny-causal' has"),
        (("--config.data.shots=-1",), "config.data.shots = -1, expected 0 or more"),
        (("--config.model=recurrent",), "config.model = 'recurrent', expected causal or masked"),
        (("--config.sample.top_k=25",), "config.sample.top_k = 25, expected at most the code"),
        (("--config.sample.sampler=entropy",), "expected plain or jacobi with a causal transfo"),
        (
            ("--config.sample.temperature=-1.0",),
            "config.sample.temperature = -1.0, expected a number",
        ),
        (("--config.next_code.keep=0.0",), "config.next_code.keep = 0.0, expected above 0, and"),
        (
            ("--config.prompt.attention=all",),
            "config.prompt.attention = 'all', expected one of causal, both",
        ),
        (("--config.prompt.tokens=1000000",), "config.prompt.tokens = 1000000 needs at least"),
        (
            ("--config.prompt.prefix=True", "--config.prompt.deep=True"),
            "config.prompt.deep and config.prompt.prefix are both set",
        ),
    ],
)
def test_bad_input(flags, message, causal, tmp_path, capsys):
    done = run(
        capsys, QUICKSTART, *FLAGS, f"--config.backbone={causal}", *flags, f"--workdir={tmp_path}/w"
    )
    assert done.code == 2
    assert message in done.error()
    assert not (tmp_path / "w").exists()


def test_a_model_of_condition_codes_is_refused(tmp_path, capsys):
    model = tiny.backbone(kind="causal")
    part = model.parts["transformer"]
    cfg = dataclasses.replace(part.cfg, condition=3, length=tiny.CAUSAL.length - 2)
    parts = {**model.parts, "transformer": dataclasses.replace(part, cfg=cfg)}
    backbones.save(dataclasses.replace(model, parts=parts), tmp_path / "model")
    flags = (QUICKSTART, *FLAGS, f"--config.backbone={tmp_path / 'model'}")
    done = run(capsys, *flags, f"--workdir={tmp_path / 'run'}")
    assert done.code == 1
    assert "takes 3 codes as its condition" in done.error()


def test_an_embedded_model_for_each_kind(tmp_path, capsys):
    flags = (QUICKSTART, *FLAGS, "--config.backbone=mini", "--config.model=causal")
    done = run(capsys, *flags, f"--workdir={tmp_path / 'run'}")
    assert (done.code, (tmp_path / "run").exists()) == (2, False)
    assert "'mini' has a masked transformer; leave config.backbone out" in done.error()
    config = defaults.transfer()
    for model, name in (("", "mini"), ("masked", "mini"), ("causal", "mini-causal")):
        config.model = model
        found = backbones.load_for(config, config.backbone)
        assert found.name == backbones.embedded_with(found.fingerprint(PARTS), PARTS) == name
    assert backbones.embedded_with("of another model", PARTS) == "mini"


@pytest.mark.slow
def test_side_by_side(causal, backbone, tmp_path, capsys):
    names = (f"--config.models.backbones={backbone}", f"--config.models.backbones={causal}")
    shots = ("--config.models.shots=2", "--config.models.shots=1")
    flags = (f"{QUICKSTART},causal", *TINY, "--config.score.marquee_images=2", *names, *shots)
    home = tmp_path / "both"
    done = run(capsys, *flags, f"--workdir={home}")
    assert done.code == 0, done.err
    rows = read(home / "results.json")["rows"]
    wanted = [(2, "tiny"), (2, "tiny-causal"), (1, "tiny"), (1, "tiny-causal")]
    assert [(row["shots"], row["model"]) for row in rows] == wanted
    assert all((home / row["folder"] / "prompt.safetensors").exists() for row in rows)
    page = (home / "report.html").read_text()
    for text in ("tiny-causal", "With and without marquee header", "seconds per image", "share of"):
        assert text in page
    before = (home / "tiny-2" / "report.html").stat().st_mtime_ns
    assert run(capsys, *flags, f"--workdir={home}").code == 0
    assert (home / "tiny-2" / "report.html").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "flags, message",
    [
        (("--config.models.shots=2", "--config.models.shots=2"), "expected some, each once"),
        (("--config.models.shots=2", "--config.models.shots=0"), "(2, 0), expected at least 1"),
        (("--config.prompt.deep=True",), "config.prompt.deep and config.prompt.prefix are both"),
        (
            ("--config.models.backbones=nowhere",),
            "config.models.backbones = 'nowhere': no config.json",
        ),
    ],
)
def test_side_by_side_of_nothing(flags, message, tmp_path, capsys):
    done = run(capsys, f"{QUICKSTART},causal", *flags, f"--workdir={tmp_path / 'w'}")
    assert done.code == 2
    assert message in done.error()
    assert not (tmp_path / "w").exists()
