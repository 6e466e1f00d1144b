"""configs/pretrain_*.py at their published sizes; benchmarks/topologies.py, which lowers them."""

import dataclasses

import jax
import pytest

from benchmarks import topologies
from maskgit_prompt.config import rules, uses
from maskgit_prompt.models import causal_sizes, masked, tokenizer, vqgan

PUBLISHED = {
    "imagenet256:tokenizer": tokenizer.CONFIGS["imagenet256"],
    "imagenet512:tokenizer": tokenizer.CONFIGS["imagenet512"],
    "taming:tokenizer": vqgan.CONFIGS["taming_f16_16384"],
    "imagenet256:transformer": masked.CONFIGS["imagenet256"],
    "imagenet512:transformer": masked.CONFIGS["imagenet512"],
    "taming:transformer": causal_sizes.CONFIGS["taming_imagenet_1p4b"],
}


@pytest.mark.parametrize("case", topologies.CONFIGS)
def test_sizes_are_the_published_ones(case):
    config, _ = topologies.config_of(case)
    published = dataclasses.asdict(PUBLISHED[case])
    own = {k: v for k, v in config[config.stage].items() if k != "dropout"}
    assert own == {k: published[k] for k in own}
    rules.check(config)
    uses.check(config, {"transformer": config.model})


SMALL = {
    "tokenizer": {"image_size": 32, "filters": 32, "multipliers": (1, 2), "blocks": 1},
    "transformer": {"width": 64, "layers": 2, "heads": 4, "mlp": 64},
}


@pytest.mark.slow
@pytest.mark.parametrize("case", ["taming:tokenizer", "imagenet256:transformer"])
def test_a_whole_step_is_lowered(case):
    config, own = topologies.config_of(case, batch_size=16)
    config.train.steps, config.data.size = 300_000, 32
    for each in (config, own):
        each[each.stage].update(SMALL[each.stage])
        if "attention" in each[each.stage]:
            each.tokenizer.attention = (1,)
    lowered, count = topologies.lower(config, own, jax.devices())
    text = lowered.as_text()
    assert count > 10_000
    # Batches are split over all devices, a transformer's heads' width over those of a host.
    assert '{"data", "fsdp"}' in text
    assert ('{"fsdp"}' in text) == (config.stage == "transformer")
