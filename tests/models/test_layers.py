"""What the transformers share."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from maskgit_prompt.models.layers import per_layer
from maskgit_prompt.models.masked import MaskedConfig, MaskedTransformer
from maskgit_prompt.models.prompts import Prompt
from tests.golden_models import close

RNG = np.random.default_rng(0)


def draw(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape, np.float32)


def test_a_prefix_in_front_of_a_masked_transformer():
    cfg = MaskedConfig(codebook=5, classes=2, length=4, width=8, layers=2, heads=2, mlp=16)
    model = MaskedTransformer(cfg, rngs=nnx.Rngs(0))
    codes, prefix = np.array([[1, -1, 3, -1]]), draw(1, 2, 2, 3, 8)
    logits = model.code_logits(codes, Prompt(prefix=prefix))
    # By hand: the class slot without a class stands in front of the codes.
    x = jnp.concatenate([model.embed(np.array([[-1]]), 0), model.embed(codes, 1)], axis=1)
    for i in range(2):
        block = nnx.merge(
            nnx.graphdef(model.blocks),
            nnx.map_state(lambda _, leaf, i=i: leaf[i], nnx.state(model.blocks)),
        )
        x = block(x, prefix[:, i])
    close(logits, model._logits(x[:, -4:], 5), 1e-5)
    assert np.abs(logits - model.code_logits(codes)).max() > 1e-4


def test_prompts_by_layer():
    once = Prompt(tokens=draw(2, 4, 8))
    assert per_layer(None, 3, jnp.float32) == per_layer(once, 3, jnp.float32) == (None, None)
    layers = draw(2, 3, 4, 8)
    fresh, none = per_layer(Prompt(layers=layers), 3, jnp.bfloat16)
    assert fresh.shape == (3, 2, 4, 8) and fresh.dtype == jnp.bfloat16 and none is None
    np.testing.assert_array_equal(fresh[2, 1], layers[1, 2].astype(jnp.bfloat16))
    prefixes = draw(2, 3, 2, 4, 8)
    none, prefix = per_layer(Prompt(prefix=prefixes), 3, jnp.float32)
    assert prefix.shape == (3, 2, 2, 4, 8) and none is None
    np.testing.assert_array_equal(prefix[2, 1], prefixes[1, 2])


@pytest.mark.parametrize(
    "prompt, message",
    [
        (Prompt(layers=draw(2, 2, 4, 8)), r"layers \(2, 2, 4, 8\): depth 2, expected the 3 layers"),
        (Prompt(layers=draw(2, 1, 4, 8)), r"layers \(2, 1, 4, 8\): depth 1, expected the 3 layers"),
        (Prompt(prefix=draw(2, 1, 2, 4, 8)), r"prefix \(2, 1, 2, 4, 8\): depth 1, expected the 3"),
    ],
)
def test_prompts_for_another_number_of_layers(prompt, message):
    with pytest.raises(ValueError, match=message):
        per_layer(prompt, 3, jnp.float32)
