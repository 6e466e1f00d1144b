"""The network of a stage: what of the config goes into it, and what is stored."""

import jax
import pytest
from flax import nnx
from ml_collections import ConfigDict

from maskgit_prompt.config.pretraining import pretrain
from maskgit_prompt.tasks.pretraining.networks import make_network
from tests import tiny

SIZES = {
    "transformer": {"width": 16, "layers": 2, "heads": 2, "mlp": 32},
    "encoder": {"patch": 8, "width": 16, "layers": 2, "heads": 2, "mlp": 32},
}


@pytest.mark.parametrize("stage", SIZES)
def test_recomputing_is_how_a_network_runs_and_not_what_it_is(stage):
    """config.train.remat reaches the network that is trained, and no file."""
    before = tiny.backbone()
    for remat in (False, True):
        config = pretrain(stage)
        config[stage], config.train.remat = ConfigDict(SIZES[stage]), remat
        made = make_network(config, before, 3)
        assert made.cfg.remat is False
        running = nnx.merge(made.graphdef, jax.eval_shape(made.init, jax.random.key(0)))
        assert running.cfg.remat is remat
