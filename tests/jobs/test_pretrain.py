"""The pretraining job, with networks of a few thousand parameters on a few pictures."""

import dataclasses
import json
import pathlib
import shutil
import types

import numpy as np
import pytest
from PIL import Image

from maskgit_prompt import backbones, params
from maskgit_prompt.config import pretraining
from maskgit_prompt.errors import UsageError
from maskgit_prompt.jobs import pretrain
from maskgit_prompt.models.tokenizer import TokenizerConfig
from maskgit_prompt.tasks.pretraining.lesson import Network
from tests.jobs.running import run

ROOT = pathlib.Path(__file__).parents[2]
TINY = {
    "tokenizer": (
        "tokenizer.codebook=16",
        "tokenizer.embedding=4",
        "tokenizer.filters=4",
        "tokenizer.multipliers=(1,1,1)",
        "tokenizer.groups=2",
        "tokenizer.image_size=16",
    ),
    "transformer": (
        "transformer.width=16",
        "transformer.layers=1",
        "transformer.heads=2",
        "transformer.mlp=16",
    ),
    "features": (
        "features.image_size=16",
        "features.width=4",
        "features.stages=2",
        "features.groups=2",
    ),
}
STEPS = (
    "train.steps=4",
    "train.batch_size=8",
    "train.log_every=1",
    "train.save_every=2",
    "optimizer.warmup_steps=0",
    "train.tensorboard=False",
    "data.num=64",
    "data.size=16",
)
ADVERSARY = (
    "adversarial.weight=0.5",
    "adversarial.layers=1",
    "adversarial.width=4",
    "adversarial.start=2",
    "adversarial.penalty=1.0",
    "adversarial.penalty_every=2",
    "adversarial.adaptive=True",
)


@pytest.mark.parametrize(
    "stage, parts, classes",
    [
        ("tokenizer", (), ("new",)),
        ("transformer", ("tokenizer",), ("new",)),
        ("transformer", ("tokenizer", "transformer"), ("new",)),
        ("features", ("tokenizer", "transformer"), ("old",)),
        ("tokenizer", ("transformer",), ("old",)),
    ],
)
def test_a_backbones_classes_are_those_that_its_transformer_learnt(stage, parts, classes):
    config = pretraining.pretrain(stage)
    before = backbones.Backbone("b", dict.fromkeys(parts), classes=("old",))
    assert pretrain._classes(config, before, ("new",)) == classes


def tiny_tokenizer(**changes) -> backbones.Part:
    """A tokenizer whose parameters at changed paths differ from the others' ones."""
    sizes = dict(codebook=16, embedding=4, filters=4, multipliers=(1, 1), blocks=1, groups=2)
    cfg = TokenizerConfig(image_size=8, **sizes)
    tree = params.flatten(backbones.abstract(backbones.make_module("vq", cfg)))
    ones = {path: np.full(x.shape, changes.get(path, 1.0), x.dtype) for path, x in tree.items()}
    return backbones.Part("vq", cfg, params.unflatten(ones))


@pytest.mark.parametrize(
    "changes, kept",
    [
        ({}, True),
        ({"decoder/conv_out/kernel": 2.0}, True),
        ({"encoder/conv_out/kernel": 2.0}, False),
        ({"codebook": 2.0}, False),
    ],
)
def test_a_transformer_stays_with_a_tokenizer_that_makes_the_same_codes(changes, kept):
    parts = {"tokenizer": tiny_tokenizer(), "transformer": None, "features": None}
    before = backbones.Backbone("b", parts)
    found = pretrain._still_fit(before, "tokenizer", tiny_tokenizer(**changes).tree)
    assert ("transformer" in found) == kept and "features" in found
    assert pretrain._still_fit(before, "features", {}) == parts


def test_weights_to_go_on_from_are_those_of_the_backbones_part():
    part = tiny_tokenizer()
    network = Network("tokenizer", "vq", part.cfg, None, lambda key: part.tree)
    config = pretraining.pretrain("tokenizer")
    before = backbones.Backbone("b", {"tokenizer": part})
    assert pretrain._given(config, before) is None
    config.initial_weights = "backbone"
    assert pretrain._given(config, before) is part
    pretrain._check_given(config, network, part)
    with pytest.raises(UsageError, match="has no tokenizer; give a backbone that has one"):
        pretrain._given(config, backbones.Backbone("b", {}))
    other = {**part.tree, "codebook": np.ones((8, 4))}
    network = dataclasses.replace(network, init=lambda key: other)
    with pytest.raises(UsageError, match=r"codebook: \(16, 4\), expected \(8, 4\); set config.tok"):
        pretrain._check_given(config, network, part)
    network = dataclasses.replace(network, kind="vqgan")
    with pytest.raises(UsageError, match="kind vq, expected vqgan"):
        pretrain._check_given(config, network, part)


@pytest.mark.parametrize(
    "stage, found, fits",
    [
        ("transformer", ("sun", "moon"), True),
        ("transformer", ("moon", "sun"), False),
        ("transformer", ("sun", "moon", "star"), False),
        ("features", ("moon", "sun"), True),
        ("features", ("sun",), False),
        ("tokenizer", ("sun",), True),
    ],
)
def test_a_part_goes_on_with_the_classes_that_it_learnt(stage, found, fits):
    sizes = types.SimpleNamespace() if stage == "tokenizer" else types.SimpleNamespace(classes=2)
    part = backbones.Part("masked", sizes, {})
    before = backbones.Backbone("b", {stage: part}, classes=("sun", "moon"))
    if fits:
        pretrain._check_classes(stage, part, before, found)
        return
    with pytest.raises(UsageError, match=f"{len(found)} classes, and the {stage} learnt 2, not"):
        pretrain._check_classes(stage, part, before, found)


@pytest.mark.slow
def test_training_goes_on_from_a_backbones_decoder(pictures, tmp_path, capsys):
    assert run(capsys, *flags("tokenizer", tmp_path / "1", *own(pictures))).code == 0
    went_on = (
        f"backbone={tmp_path}/1/backbone",
        "initial_weights=backbone",
        "trainable=('tokenizer/decoder/.*',)",
    )
    assert run(capsys, *flags("tokenizer", tmp_path / "2", *own(pictures), *went_on)).code == 0
    trees = [backbones.load(f"{tmp_path}/{n}/backbone").part("tokenizer").tree for n in (1, 2)]
    for path, old in params.flatten(trees[0]).items():
        same = np.array_equal(old, params.flatten(trees[1])[path])
        assert same != path.startswith("decoder/"), path


def flags(stage: str, home, *more: str) -> list[str]:
    part = "transformer" if stage == "causal" else stage
    settings = (*STEPS, *TINY[part], *more)
    return [
        f"--config={ROOT}/configs/mini.py:{stage}",
        f"--workdir={home}",
        *(f"--config.{setting}" for setting in settings),
    ]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> pathlib.Path:
    """Icons on nothing, of two classes, and photographs of one."""
    home = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for name, mode in (("icons/sun", "RGBA"), ("icons/moon", "RGBA"), ("photos/wall", "RGB")):
        (home / name).mkdir(parents=True)
        for number in range(12):
            pixels = rng.integers(0, 256, (20, 20, len(mode)), np.uint8)
            Image.fromarray(pixels, mode).save(home / name / f"{number}.png")
    return home


def metrics(home) -> list[dict]:
    return [json.loads(line) for line in (home / "metrics.jsonl").read_text().splitlines()]


def own(pictures: pathlib.Path) -> tuple[str, ...]:
    """Both folders, with everything that views can do."""
    icons, photos = pictures / "icons", pictures / "photos"
    return (
        f"data.sets=('{icons}','{photos}')",
        "data.weights=(1.0,3.0)",
        f"data.flips=('{photos}',)",
        f"data.photographs=('{photos}',)",
        "data.grounds=(0.25,0.25,0.25,0.25)",
        "data.zoom=(0.7,1.3)",
        "data.heldout=0.25",
    )


@pytest.mark.slow
def test_three_stages_on_own_pictures(pictures, tmp_path, capsys):
    before = ""
    for stage in ("tokenizer", "transformer", "features"):
        home = tmp_path / stage
        given = [
            *flags(stage, home, *own(pictures)),
            *([f"--config.backbone={before}"] if before else []),
            *(["--config.train.show_every=2"] if stage != "features" else []),
            *(["--config.data.views=3"] if stage == "transformer" else []),
        ]
        done = run(capsys, *given)
        assert done.code == 0, done.err
        before = home / "backbone"
        assert "parts: 27 images to train on, 9 held out" not in done.out  # a line for each set
        assert "parts: 18 images to train on, 6 held out" in done.out
        rows = metrics(home)
        assert all(np.isfinite(value) for row in rows for value in row.values())
        assert "evaluated_heldout" in rows[-1]
        if stage != "features":
            assert sorted(p.name for p in (home / "progress").glob("*.png")) == ["2.png", "4.png"]
            assert f"{stage.capitalize()}: mini" in (home / "progress.html").read_text()
    found = backbones.load(str(before))
    assert list(found.parts) == ["tokenizer", "transformer", "features"]
    assert found.classes == ("moon", "sun", "wall")
    assert found.part("transformer").cfg.classes == 3
    assert found.provenance["stages"]["tokenizer"]["images"] == 27


@pytest.mark.slow
def test_a_run_that_is_stopped_equals_one_that_is_not(pictures, tmp_path, capsys):
    more = [*ADVERSARY, *own(pictures), "quantizer.ema=0.9", "quantizer.revive=0.2"]
    more = [*more, "train.ema_decay=0.5", "train.evaluate_every=2"]
    settings = flags("tokenizer", tmp_path / "whole", *more)
    assert run(capsys, *settings).code == 0
    parted = [
        f"--workdir={tmp_path / 'parted'}" if s.startswith("--workdir") else s for s in settings
    ]
    # The schedule of the learning rate is that of 4 steps, so the first half is taken by a stop.
    shutil.copytree(tmp_path / "whole", tmp_path / "parted")
    shutil.rmtree(tmp_path / "parted" / "checkpoints" / "4")
    shutil.rmtree(tmp_path / "parted" / "backbone")
    again = run(capsys, *parted)
    assert again.code == 0, again.err
    trees = [
        backbones.load(str(tmp_path / n / "backbone")).part("tokenizer").sha256
        for n in ("whole", "parted")
    ]
    assert trees[0] == trees[1]
    last = [metrics(tmp_path / name)[-1] for name in ("whole", "parted")]
    assert last[0] == last[1]


@pytest.mark.slow
def test_a_perceptual_distance_in_the_features_of_a_backbone(tmp_path, capsys):
    more = ("reconstruction.perceptual=0.5", "reconstruction.network=mini")
    more = (*more, "data.num=712", "data.heldout=0.25")
    done = run(capsys, *flags("tokenizer", tmp_path / "run", *more, "train.evaluate_every=4"))
    assert done.code == 0, done.err
    rows = metrics(tmp_path / "run")
    assert all(row["perceptual"] > 0 for row in rows if "perceptual" in row)
    assert rows[-1]["evaluated_heldout"] > 0
    assert list(backbones.load(str(tmp_path / "run" / "backbone")).parts) == ["tokenizer"]


def test_the_discriminator_plays_from_its_first_step_on(tmp_path, capsys):
    done = run(capsys, *flags("tokenizer", tmp_path / "run", *ADVERSARY))
    assert done.code == 0, done.err
    rows = [row for row in metrics(tmp_path / "run") if "tokenizer/loss" in row]
    played = [row["discriminator/grad_norm"] > 0 for row in rows]
    assert played == [False, False, True, True]
    penalties = [row["discriminator/penalty"] > 0 for row in rows]
    assert penalties == [False, False, True, False]
    assert list(backbones.load(str(tmp_path / "run" / "backbone")).parts) == ["tokenizer"]


@pytest.mark.parametrize(
    "stage, more, message",
    [
        (
            "tokenizer",
            ("adversarial.weight=1", "adversarial.start=4"),
            "config.adversarial.start = 4 is after the last of 4 steps",
        ),
        ("tokenizer", ("adversarial.start=2",), "config.adversarial.start = 2 has no use"),
        (
            "tokenizer",
            ("adversarial.weight=1", "adversarial.layers=4"),
            "4 layers leave no patch of images of 16 pixels",
        ),
        ("tokenizer", ("data.zoom=(1.0,0.5)",), "config.data.zoom = (1.0, 0.5), expected"),
        ("tokenizer", ("data.grounds=(1.0,1.0,0.0,0.0)",), "that sum to 1"),
        ("tokenizer", ("data.sets=('no/where',)",), "no folder no/where"),
        ("tokenizer", ("quantizer.revive=0.1",), "config.quantizer.revive = 0.1 has no use"),
        ("tokenizer", ("tokenizer_kind=vqg",), "config.tokenizer_kind = 'vqg', expected vq"),
        (
            "tokenizer",
            ("reconstruction.perceptual=1", "reconstruction.network=nope"),
            "config.reconstruction.network = 'nope', expected efficientnet-lite0",
        ),
        ("tokenizer", ("reconstruction.network=mini",), "config.reconstruction.network = 'mini'"),
        ("features", ("data.views=2",), "config.data.views = 2 has no use"),
        ("transformer", (), "has no tokenizer"),
        ("transformer", ("sample.sampler=jacobi",), "expected plain or entropy or remasking with"),
    ],
)
def test_what_can_be_known_is_said_before_anything_is_written(
    stage, more, message, tmp_path, capsys
):
    done = run(capsys, *flags(stage, tmp_path / "run", *more))
    assert done.code in (1, 2)
    assert message in done.err and len(done.err.splitlines()) == 1
    assert not (tmp_path / "run").exists()
