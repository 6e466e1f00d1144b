"""Mask schedules: the share of codes that is still masked when a share of the steps is done.

`schedule("cosine")(ratio, total)` takes a ratio in [0, 1] and the total of unknown codes. For
total = 16 (only log and exp depend on it):

    ratio     0         0.25      0.5       0.75      1
    linear    1         0.75      0.5       0.25      1e-6
    cosine    1         0.9239    0.7071    0.3827    1e-6
    pow2      1         0.9375    0.75      0.4375    1e-6
    log       1         0.5       0.25      0.1038    1e-6
    exp       0.9375    0.875     0.75      0.5       1e-6

Source: MaskGIT (arXiv 2202.04200), section 4.3 and its released code, which clips to [1e-6, 1].
"""

import re
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from maskgit_prompt.errors import UsageError

Schedule = Callable[[ArrayLike, ArrayLike], jax.Array]

NAMES = ("cosine", "linear", "uniform", "powX (as in pow2.5)", "log", "exp")


def _bits(total: ArrayLike) -> jax.Array:
    # log2(1) = 0 would give 0/0. With at most one code left, every schedule ends the same way.
    return jnp.log2(jnp.maximum(jnp.asarray(total, jnp.float32), 2.0))


def _shape(name: str) -> Schedule:
    if name in ("linear", "uniform"):
        return lambda r, total: 1.0 - r
    if name == "cosine":
        return lambda r, total: jnp.cos(jnp.pi / 2 * r)
    if name == "log":
        return lambda r, total: -jnp.log2(r) / _bits(total)
    if name == "exp":
        return lambda r, total: 1.0 - jnp.exp2(-_bits(total) * (1.0 - r))
    if match := re.fullmatch(r"pow(\d+(?:\.\d+)?)", name):
        exponent = float(match[1])
        if exponent > 0:
            return lambda r, total: 1.0 - r**exponent
    raise UsageError(f"unknown mask schedule {name!r}; use one of {', '.join(NAMES)}")


def is_known(name: str) -> bool:
    """Whether there is a schedule of this name."""
    try:
        _shape(name)
    except UsageError:
        return False
    return True


def schedule(name: str) -> Schedule:
    """The schedule of this name: f(ratio, total) -> float32 share still masked, in [1e-6, 1].

    `ratio` (share of the steps done) and `total` (unknown codes at the start) may be numbers or
    arrays that broadcast, traced or not.

    Raises:
      UsageError: for an unknown name; the message lists the names.
    """
    shape = _shape(name)

    def masked_share(ratio: ArrayLike, total: ArrayLike) -> jax.Array:
        return jnp.clip(shape(jnp.asarray(ratio, jnp.float32), total), 1e-6, 1.0)

    return masked_share
