"""The evaluation of a prompt: the same numbers on any number of devices, and for any padding."""

import jax
import numpy as np
import pytest

from maskgit_prompt import params
from maskgit_prompt.config import defaults
from maskgit_prompt.devices import sharding
from maskgit_prompt.models.prompt import PromptConfig, PromptGenerator
from maskgit_prompt.tasks.generation import evaluator, prompt_tuning
from maskgit_prompt.tasks.generation.objectives import make_objective
from maskgit_prompt.tasks.generation.plan import Plan
from tests import tiny


def losses_of(count: int, devices: int, monkeypatch, rows: int) -> float:
    monkeypatch.setattr(evaluator, "ROWS", rows)
    config = defaults.transfer()
    config.score.rounds = 2
    mesh = sharding.make_mesh(devices=jax.devices()[:devices])
    part = tiny.backbone().part("transformer")
    cfg = PromptConfig(tokens=2, width=part.cfg.width, classes=10)
    generator, init = params.create(lambda rngs: PromptGenerator(cfg, rngs=rngs))
    tree = {"transformer": part.tree, "prompt": jax.device_get(init(jax.random.key(0)))}
    objective = make_objective(config, part.kind, part.cfg.codebook)
    model = part.graphdef("transformer")
    evaluate = evaluator.make_evaluator(config, objective, model, generator, mesh)
    rng = np.random.default_rng(0)
    codes = rng.integers(0, part.cfg.codebook, (count, part.cfg.length)).astype(np.int32)
    labels = np.arange(count, dtype=np.int32) % 10
    return evaluate(sharding.place(tree, mesh), codes, labels)


@pytest.mark.parametrize("count, rows", [(11, 4), (3, 64)])
def test_one_device_equals_several(count, rows, monkeypatch):
    # Of 11 images chunks of 4, 4 and 3; on 8 devices each is padded to 8, on 3 devices to 6 and 3.
    found = [losses_of(count, devices, monkeypatch, rows) for devices in (1, 3, 8)]
    np.testing.assert_allclose(found, found[0], rtol=1e-6)


def test_large_images_are_scored_few_at_once(monkeypatch):
    seen = []
    real = sharding.to_global
    monkeypatch.setattr(
        sharding,
        "to_global",
        lambda batch, mesh: seen.append(len(batch["codes"])) or real(batch, mesh),
    )
    length = tiny.TOKENIZER.length
    monkeypatch.setattr(evaluator, "CODES", 3 * length)
    losses_of(7, 1, monkeypatch, 64)
    assert seen == [3, 3, 3]


def test_the_transformer_computes_attention_as_asked(tmp_path):
    config = defaults.transfer()
    config.update({"attention": "cudnn", "train": {"batch_size": 8, "tensorboard": False}})
    codes, labels = np.zeros((8, 1, tiny.TOKENIZER.length), np.int16), np.zeros(8, np.int32)
    seen = prompt_tuning.TuningCodes(codes, labels, np.arange(8), codes[:, 0], labels)
    cfg = PromptConfig(tokens=2, width=tiny.TRANSFORMER.width)
    plan = Plan(config, tiny.backbone(), sharding.make_mesh(), None, cfg)
    with pytest.raises(ValueError, match="'cudnn' needs an NVIDIA GPU"):
        prompt_tuning.tune_prompt(plan, seen, tmp_path)


def test_no_images_no_loss(monkeypatch):
    assert losses_of(0, 1, monkeypatch, 64) is None


def test_many_images_are_scored_with_fewer_masks_each(monkeypatch):
    few = losses_of(12, 1, monkeypatch, rows=64)
    monkeypatch.setattr(evaluator, "DRAWS", 23)  # of 12 images one each, in place of two
    assert losses_of(12, 1, monkeypatch, rows=64) != few
    monkeypatch.setattr(evaluator, "DRAWS", 24)
    assert losses_of(12, 1, monkeypatch, rows=64) == few
