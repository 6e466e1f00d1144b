"""Layers that the transformers share. Shapes: B batch, S sequence, D width, N heads, H per head."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

Array = jax.Array


def dropout(x: Array, rate: float, key: Array | None) -> Array:
    """Zeroes a share `rate` of x, scales the rest by 1 / (1 - rate); x itself without a key."""
    if key is None or rate == 0.0:
        return x
    keep = jax.random.bernoulli(key, 1.0 - rate, x.shape)
    return jnp.where(keep, x / (1.0 - rate), 0).astype(x.dtype)


class Attention(nnx.Module):
    """Multi-head self-attention with biases (arXiv 1706.03762, eq. 1); softmax in float32."""

    def __init__(self, width: int, heads: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        def project(features: int | tuple[int, ...], axis: int | tuple[int, ...], inputs):
            return nnx.LinearGeneral(
                inputs, features, axis=axis, dtype=dtype, kernel_init=kernel_init, rngs=rngs
            )

        size = (heads, width // heads)
        self.query = project(size, -1, width)
        self.key = project(size, -1, width)
        self.value = project(size, -1, width)
        self.out = project(width, (-2, -1), size)

    def __call__(self, x: Array, mask: np.ndarray | Array | None = None) -> Array:
        """[B, S, D] -> [B, S, D]; mask: bool [S, S], which (row) sees which; None: all see all."""
        q, k, v = self.query(x), self.key(x), self.value(x)  # [B, S, N, H] each
        mask = None if mask is None else mask[None, None]  # [1, 1, S, S]
        return self.out(jax.nn.dot_product_attention(q, k, v, mask=mask))


class Mlp(nnx.Module):
    """Dense, GELU, dense. approximate: the GELU's tanh form in place of the error function."""

    def __init__(
        self,
        width: int,
        hidden: int,
        *,
        approximate: bool = True,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        self.approximate = approximate
        self.up = nnx.Linear(width, hidden, dtype=dtype, kernel_init=kernel_init, rngs=rngs)
        self.down = nnx.Linear(hidden, width, dtype=dtype, kernel_init=kernel_init, rngs=rngs)

    def __call__(self, x: Array) -> Array:  # [B, S, D] -> [B, S, D]
        return self.down(jax.nn.gelu(self.up(x), approximate=self.approximate))


def kernel_init(key: Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> Array:
    """Truncated normal of standard deviation 0.02, as BERT and MaskGIT start."""
    return 0.02 * jax.random.truncated_normal(key, -2.0, 2.0, shape, dtype)
