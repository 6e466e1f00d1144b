"""The pre-norm block of the causal and the vision transformer, with its parameters alone.

Shapes: D width.
"""

from typing import Any

import jax.numpy as jnp
from flax import nnx

from maskgit_prompt.models.attention import Attention
from maskgit_prompt.models.layers import Mlp


class PreNorm(nnx.Module):
    """What stands in x + attention(LN(x)) and x + mlp(LN(x)); the GELU is exact.

    Args:
      cfg: the transformer's: width, heads, mlp, dtype, attention_implementation.
      epsilon: of both norms.
    """

    def __init__(self, cfg: Any, epsilon: float, *, rngs: nnx.Rngs):
        dtype = jnp.dtype(cfg.dtype)
        norm = lambda: nnx.LayerNorm(cfg.width, epsilon=epsilon, dtype=dtype, rngs=rngs)
        self.attention_norm = norm()
        self.attention = Attention(
            cfg.width,
            cfg.heads,
            implementation=cfg.attention_implementation,
            dtype=dtype,
            rngs=rngs,
        )
        self.mlp_norm = norm()
        self.mlp = Mlp(cfg.width, cfg.mlp, approximate=False, dtype=dtype, rngs=rngs)
