"""Adversarial images: the smallest changes that gradients find to mislead a model.

Images are floats of 0 to 1; epsilon is the largest change of a value, such as 4 / 255.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

Array = jax.Array
Loss = Callable[[Array], Array]  # images [B, S, S, 3] -> the sum of their losses


def fgsm(loss: Loss, images: Array, epsilon: float | Array) -> Array:
    """One step of epsilon along the gradient's sign (arXiv 1412.6572, section 4)."""
    return jnp.clip(images + epsilon * jnp.sign(jax.grad(loss)(images)), 0.0, 1.0)


def pgd(
    loss: Loss, images: Array, epsilon: float | Array, key: Array, *, steps: int, size: float = 2.5
) -> Array:
    """`steps` steps from a random start, each put back to within epsilon (arXiv 1706.06083).

    size: of a step, in multiples of epsilon / steps.
    """
    start = jax.random.uniform(key, images.shape, minval=-1.0, maxval=1.0)
    least, most = jnp.maximum(images - epsilon, 0.0), jnp.minimum(images + epsilon, 1.0)
    gradient = jax.grad(loss)

    def step(x: Array, _) -> tuple[Array, None]:
        moved = x + size * epsilon / steps * jnp.sign(gradient(x))
        return jnp.clip(moved, least, most), None

    return jax.lax.scan(step, jnp.clip(images + epsilon * start, least, most), None, length=steps)[
        0
    ]
