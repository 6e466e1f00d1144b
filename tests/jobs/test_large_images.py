"""Images of 512 x 512 with 1024 codes, as the published 512 models have, through the main job."""

import dataclasses
import json

import jax
import pytest

from maskgit_prompt import backbones, params
from maskgit_prompt.models import masked, tokenizer
from tests.jobs.running import FOLDER, TINY, run, write_images

pytestmark = pytest.mark.slow


@pytest.fixture
def large(tmp_path) -> str:
    """Levels, codes and positions as published; narrow, and of random weights."""
    narrow = {"filters": 8, "embedding": 4, "blocks": 1, "groups": 4}
    sizes = {
        "tokenizer": ("vq", tokenizer.CONFIGS["imagenet512"], narrow),
        "transformer": (
            "masked",
            masked.CONFIGS["imagenet512"],
            {"width": 16, "layers": 2, "heads": 2, "mlp": 32},
        ),
    }
    parts = {}
    for name, (kind, cfg, changes) in sizes.items():
        cfg = dataclasses.replace(cfg, **changes)
        _, init = params.create(backbones.make_module(kind, cfg))
        parts[name] = backbones.Part(kind, cfg, jax.jit(init)(jax.random.key(0)))
    backbones.save(backbones.Backbone("large", parts), tmp_path / "large")
    return str(tmp_path / "large")


def test_encode_tune_decode(large, tmp_path, capsys):
    images = write_images(tmp_path / "images", cat=4, dog=4)
    home = tmp_path / "run"
    done = run(
        capsys,
        f"{FOLDER}:{images}",
        *TINY,
        f"--config.backbone={large}",
        f"--workdir={home}",
        "--config.train.steps=1",
        "--config.score.marquee_images=1",
    )
    assert done.code == 0, done.err
    found = json.loads((home / "results.json").read_text())
    assert found["config"]["backbone"] == large
    # An even choice among 1024 codes costs ln 1024 = 6.93 nats.
    assert 6.5 < found["loss"]["train"] < 7.5
    assert any("no network to measure them with" in line for line in found["warnings"])
    assert found["frechet"]["prompt"] is None
