"""What a transformer is asked: inputs, weights, and what an evaluation draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskgit_prompt import params
from maskgit_prompt.config import defaults
from maskgit_prompt.decoding import schedules
from maskgit_prompt.models.causal import CausalTransformer
from maskgit_prompt.models.masked import MASK
from maskgit_prompt.models.prompt import PromptConfig, PromptGenerator
from maskgit_prompt.tasks.generation.loss import prompt_loss
from maskgit_prompt.tasks.generation.objectives import Masking, NextCode, make_objective
from tests import tiny

KEYS = jax.random.split(jax.random.key(0), 2)
CODES = np.random.default_rng(0).integers(0, 24, (2000, 16)).astype(np.int32)


def test_every_code_counts_and_noise_is_in_the_input_alone():
    inputs, weights = NextCode(codebook=5, keep=0.75).inputs(KEYS, CODES)
    assert (weights == 1).all() and weights.shape == CODES.shape
    changed = inputs != CODES
    # A quarter is drawn anew out of 5 codes, of 24: 1 in 24 of those stays what it was.
    assert np.mean(changed) == pytest.approx(0.25 * (1 - 1 / 24), abs=0.01)
    assert set(np.unique(np.asarray(inputs)[changed])) == set(range(5))


def test_without_noise_codes_are_as_they_are():
    objective = NextCode(codebook=24)
    for inputs, weights in (
        objective.inputs(KEYS, CODES),
        objective.evaluated(KEYS[0], CODES, 0, 1),
        NextCode(codebook=24, keep=0.1).evaluated(KEYS[0], CODES, 0, 1),
    ):
        np.testing.assert_array_equal(inputs, CODES)
        assert (weights == 1).all()
    assert objective.rounds(8) == 1


def test_rounds_of_masking_are_spread_evenly():
    objective = Masking(schedules.schedule("linear"))
    assert objective.rounds(4) == 4
    shares = [
        np.asarray(objective.evaluated(KEYS[0], CODES[:50], r, 4)[1]).mean(-1) for r in range(4)
    ]
    # Linear: round r hides 1 - (r + u) / 4 of the codes, u an image's own in [0, 1).
    for r, share in enumerate(shares):
        assert (share > 1 - (r + 1) / 4 - 1e-6).all() and (share <= 1 - r / 4 + 1 / 16).all()


def test_the_kind_decides():
    config = defaults.transfer()
    config.next_code.keep = 0.5
    assert make_objective(config, "autoregressive", 24) == NextCode(24, keep=0.5)
    masked = make_objective(config, "parallel", 24)
    assert isinstance(masked, Masking) and masked.smoothing == 0.1
    inputs, weights = masked.inputs(KEYS, CODES)
    np.testing.assert_array_equal(np.asarray(inputs) == MASK, np.asarray(weights) == 1)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_loss_of_a_causal_model_that_knows_nothing(smoothing):
    # A head of zeros: all 24 codes are equally likely and the loss is ln 24, smoothed or not.
    graphdef, init = params.create(lambda rngs: CausalTransformer(tiny.CAUSAL, rngs=rngs))
    tree = jax.tree.map(np.array, init(jax.random.key(0)))
    tree["head"]["kernel"][:] = 0
    cfg = PromptConfig(kind="table", tokens=2, width=16, classes=3)
    generator, init_prompt = params.create(lambda rngs: PromptGenerator(cfg, rngs=rngs))
    loss_fn = prompt_loss(graphdef, generator, NextCode(24, smoothing=smoothing))
    none = jnp.full(2, -1)
    batch = {"codes": jnp.full((2, tiny.CAUSAL.length), 7), "class_ids": none}
    batch["instance_ids"] = none
    whole = {"transformer": tree, "prompt": init_prompt(jax.random.key(1))}
    (loss, _), gradient = jax.value_and_grad(loss_fn, has_aux=True)(whole, batch, KEYS[0])
    assert loss == pytest.approx(np.log(24), abs=1e-5)
    # By a logit it is 1/24 - target, with targets s/24, and 1 - s more at code 7; the head's
    # columns are those times the same activations.
    columns = np.asarray(gradient["transformer"]["head"]["kernel"])  # [D, V]
    other, own = 1 / 24 - smoothing / 24, 1 / 24 - smoothing / 24 - (1 - smoothing)
    np.testing.assert_allclose(columns[:, 7], columns[:, 0] * own / other, rtol=1e-3, atol=1e-6)
    assert np.abs(columns).max() > 1e-3
