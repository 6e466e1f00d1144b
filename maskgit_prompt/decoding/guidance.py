"""Classifier-free guidance: away from the unconditional logits, with a scale that may grow.

Convention: logits = u + s * (c - u). So s = 1 means no guidance and s = 0 the unconditional model.
The other convention, (1 + w) * c - w * u, is the same with s = 1 + w (w = 0: no guidance).
For example c = 2, u = 1, s = 3 gives 4, and so does w = 2: 3 * 2 - 2 * 1.

Scale schedules, except constant, start at 1 and end at the full scale, here s = 5:

    progress        0     0.25     0.5      0.75     1
    constant        5     5        5        5        5
    linear          1     2        3        4        5
    cosine          1     1.5858   3        4.4142   5
    power-cosine    1     1.0384   1.5858   3.3902   5       (power 2)

Guidance may act in an interval of the progress alone, both ends included. Outside of it the scale
is 1. The constant scale of 5 from 0.25 to 0.5 is 1, 5, 5, 1, 1.

Sources: classifier-free guidance, arXiv 2207.12598; power-cosine, RAR (arXiv 2411.00776); the
interval, arXiv 2404.07724, equation 6, there of noise levels.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from maskgit_prompt.errors import UsageError
from maskgit_prompt.models.prompts import Prompt

# (progress in [0, 1], power) -> how much of (scale - 1) is applied.
_SHARES = {
    "constant": lambda p, power: jnp.ones_like(p),
    "linear": lambda p, power: p,
    "cosine": lambda p, power: (1.0 - jnp.cos(jnp.pi * p)) / 2.0,
    "power-cosine": lambda p, power: (1.0 - jnp.cos(jnp.pi * p**power)) / 2.0,
}
SCHEDULES = tuple(_SHARES)

ScaleSchedule = Callable[..., jax.Array]


def guide(cond: jax.Array, uncond: jax.Array, scale: ArrayLike) -> jax.Array:
    """Guided logits u + s * (c - u), with the shape of `cond` and `uncond` ([B, L, V])."""
    return uncond + scale * (cond - uncond)


def both(cond: Prompt, uncond: Prompt) -> Prompt:
    """One batch of 2B rows for both logits at once: first the rows of `cond`, then of `uncond`."""
    return jax.tree.map(lambda *rows: jnp.concatenate(rows), cond, uncond)


def schedule(name: str) -> ScaleSchedule:
    """The scale schedule of this name: f(progress, scale, power, begin, end) -> scale, float32.

    `progress` runs over [0, 1]; only power-cosine reads `power`; `begin` and `end` are the interval
    that has guidance. All may be traced, and of shapes that broadcast.

    Raises:
      UsageError: for an unknown name; the message lists the names.
    """
    if name not in _SHARES:
        raise UsageError(f"unknown guidance schedule {name!r}; use one of {', '.join(SCHEDULES)}")

    def scale_now(
        progress: ArrayLike,
        scale: ArrayLike,
        power: ArrayLike = 1.0,
        begin: ArrayLike = 0.0,
        end: ArrayLike = 1.0,
    ) -> jax.Array:
        p = jnp.asarray(progress, jnp.float32)
        share = jnp.where((begin <= p) & (p <= end), _SHARES[name](p, power), 0.0)
        return 1.0 + (scale - 1.0) * share

    return scale_now
