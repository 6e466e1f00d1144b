"""A layer that was trained by slice, in the files of a run: the prompt, and a backbone with it."""

import jax
import numpy as np
import pytest

from maskgit_prompt import backbones, params
from maskgit_prompt.data.codes import Codes
from maskgit_prompt.devices import sharding
from maskgit_prompt.tasks.generation.outputs import save_prompt
from maskgit_prompt.tasks.generation.plan import Plan, check_trainable, prompt_config
from maskgit_prompt.tasks.generation.prompt_tuning import TuningCodes, tune_prompt
from maskgit_prompt.tuning import tuned_prompt
from tests import tiny
from tests.tasks.generation import stubs

TRAINABLE = ("prompt/.*", "transformer/blocks/.*[-1:]")


@pytest.fixture(scope="module", params=[False, True], ids=["last", "best"])
def run(request, tmp_path_factory):
    """(plan, what was tuned, folder); two steps on three images."""
    home = tmp_path_factory.mktemp("run")
    config = stubs.config(
        trainable=TRAINABLE,
        backbone=tiny.write(home / "tiny"),
        train__steps=2,
        train__batch_size=4,
        train__evaluate_every=1,
        train__tensorboard=False,
        prompt__tokens=2,
        score__rounds=1,
    )
    backbone, mesh = backbones.load(config.backbone), sharding.make_mesh(devices=jax.devices()[:1])
    plan = Plan(config, backbone, mesh, stubs.data(), prompt_config(config, backbone, 2, 3))
    check_trainable(plan, TRAINABLE, "config.trainable")
    codes = np.random.default_rng(0).integers(0, 24, (3, 1, tiny.TOKENIZER.length), np.uint16)
    labels = np.array([0, 0, 1], np.int32)
    given = TuningCodes(Codes([codes]), labels, np.arange(3), codes[:, 0].astype(np.int32), labels)
    return plan, tune_prompt(plan, given, home, keep_best=request.param), home


def test_the_backbone_beside_the_prompt_has_the_trained_layer(run, tmp_path):
    plan, tuned, _ = run
    scores = {name: {} for name in ("accuracy", "frechet", "kid", "loss")}
    path, command = save_prompt(plan, tuned, scores, tmp_path)
    assert command.endswith(f"--config.backbone={tmp_path / 'backbone'}")
    backbone = backbones.load(tmp_path / "backbone")
    tuned_prompt.load(path).backbone.check(backbone, path)
    before = params.flatten(plan.backbone.part("transformer").tree)
    after = params.flatten(backbone.part("transformer").tree)
    assert after.keys() == before.keys()
    for name, x in after.items():
        found, was = x.read(), before[name].read()
        np.testing.assert_array_equal(found, params.flatten(tuned.transformer)[name], err_msg=name)
        if not name.startswith("blocks/"):
            np.testing.assert_array_equal(found, was, err_msg=name)
            continue
        np.testing.assert_array_equal(found[0], was[0], err_msg=name)
        assert np.any(found[1] != was[1]), name


def test_what_was_trained_is_counted_by_layers(run):
    plan, tuned, _ = run
    blocks = params.count(plan.backbone.part("transformer").tree["blocks"])
    transformer = params.count(plan.backbone.part("transformer").tree)
    tokenizer = params.count(plan.backbone.part("tokenizer").tree)
    prompt = params.count(tuned.prompt)
    assert tuned.run.trainable == prompt + blocks // 2
    assert tuned.frozen == transformer - blocks // 2 + tokenizer
