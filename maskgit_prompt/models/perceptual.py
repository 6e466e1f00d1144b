"""The difference of two images in a network's activations, as all perceptual distances take it.

Source: LPIPS (arXiv 1801.03924, eq. 1). Shapes: B batch, H height, W width, C channels.
"""

import jax
import jax.numpy as jnp

Array = jax.Array

EPSILON = 1e-10  # LPIPS adds it to the norm, outside of the root
# Inside the root, for losses. A column of zeros, as ReLUs make, has no gradient without it, and the
# gradient of a small column grows without bound. Norms are now at least 1e-4, and one of 0.1 grows
# by 5e-7 of itself.
GUARD = 1e-8


def difference(x: Array, y: Array, weights: Array | None = None, guard: float = GUARD) -> Array:
    """Weighted squares of the difference of unit vectors, [B, H, W, C] twice -> [B, H, W].

    Columns (3, 4) and (0, 2) become (0.6, 0.8) and (0, 1): 0.36 + 0.04 = 0.4 without weights, and
    2 · 0.36 + 0.04 = 0.76 with weights 2 and 1. A column of zeros stays one.

    Args:
      x, y: activations of any dtype; the result is float32.
      weights: [C], not negative.
      guard: added inside the root; 0 for the numbers that LPIPS publishes, without a gradient.
    """
    squares = (_unit(x, guard) - _unit(y, guard)) ** 2
    return jnp.sum(squares if weights is None else squares * weights.astype(jnp.float32), -1)


def _unit(x: Array, guard: float) -> Array:
    """Each position's channels over their norm."""
    x = x.astype(jnp.float32)
    return x / (jnp.sqrt(jnp.sum(x**2, -1, keepdims=True) + guard) + EPSILON)
