"""configs/pretrain_*.py at their published sizes, and benchmarks/topologies.py, which lowers them."""

import dataclasses

import jax
import pytest

from benchmarks import topologies
from maskgit_prompt.config import rules, uses
from maskgit_prompt.models import causal, masked, tokenizer, vqgan

PUBLISHED = {
    "imagenet256:tokenizer": tokenizer.CONFIGS["imagenet256"],
    "imagenet512:tokenizer": tokenizer.CONFIGS["imagenet512"],
    "taming:tokenizer": vqgan.CONFIGS["taming_f16_16384"],
    "imagenet256:transformer": masked.CONFIGS["imagenet256"],
    "imagenet512:transformer": masked.CONFIGS["imagenet512"],
    "taming:transformer": causal.CONFIGS["taming_imagenet_1p4b"],
}


@pytest.mark.parametrize("case", topologies.CONFIGS)
def test_sizes_are_the_published_ones(case):
    config, _ = topologies.config_of(case)
    published = dataclasses.asdict(PUBLISHED[case])
    own = {k: v for k, v in config[config.stage].items() if k != "dropout"}
    assert own == {k: published[k] for k in own}
    rules.check(config)
    uses.check(config, {"transformer": config.model})


@pytest.mark.slow
@pytest.mark.parametrize("case", topologies.CONFIGS)
def test_a_whole_step_of_the_published_size_is_lowered(case):
    lowered, count = topologies.lower(*topologies.config_of(case), jax.devices())
    assert count > 50e6 and "stablehlo" in lowered.as_text()[:100_000]
