"""What the transformers share."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from maskgit_prompt.models.layers import per_layer
from maskgit_prompt.models.masked import MaskedConfig, MaskedTransformer
from tests.golden_models import close

RNG = np.random.default_rng(0)


def draw(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape, np.float32)


def test_a_prefix_in_front_of_a_masked_transformer():
    cfg = MaskedConfig(codebook=5, classes=2, length=4, width=8, layers=2, heads=2, mlp=16)
    model = MaskedTransformer(cfg, rngs=nnx.Rngs(0))
    codes, prefix = np.array([[1, -1, 3, -1]]), draw(1, 2, 2, 3, 8)
    logits = model.code_logits(codes, prefix)
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
    assert (
        per_layer(None, 3, jnp.float32) == per_layer(draw(2, 1, 4, 8), 3, "float32") == (None, None)
    )
    fresh, none = per_layer(draw(2, 3, 4, 8), 3, jnp.float32)
    assert fresh.shape == (3, 2, 4, 8) and none is None
    none, prefix = per_layer(draw(2, 3, 2, 4, 8), 3, jnp.float32)
    assert prefix.shape == (3, 2, 2, 4, 8) and none is None
    with pytest.raises(ValueError, match="prompt depth 2, expected 1 or the 3 layers"):
        per_layer(draw(2, 2, 4, 8), 3, jnp.float32)
    with pytest.raises(ValueError, match="prompt depth 1, expected the 3 layers"):
        per_layer(draw(2, 1, 2, 4, 8), 3, jnp.float32)
