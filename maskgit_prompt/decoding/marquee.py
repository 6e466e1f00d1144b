"""The marquee header: K prompts scroll past while one image is decoded.

With progress p in [0, 1] the header stands at x = min(p / cutoff, 1)**power * (K - 1) and reads

    (1 - frac x) * prompt[floor x]  +  frac x * prompt[floor x + 1].

With four steps p is 0, 1/3, 2/3, 1. With cutoff 1 and power 1

    two prompts     weights of the second    0   1/3   2/3   1
    three prompts   positions x              0   2/3   4/3   2

With cutoff 1/3 two prompts have 0, 1, 1, 1: the last prompt stays once the header has passed.
Typically an instance's prompt comes first (fidelity) and its class's prompt last (diversity).
Source: generative transfer by prompt tuning, arXiv 2210.00990 (marquee header prompt).
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from maskgit_prompt.models.prompts import Prompt


def progress(step: ArrayLike, steps: int) -> jax.Array:
    """p = step / (steps - 1), so the first step has 0 and the last 1. A single step has 0."""
    return jnp.asarray(step, jnp.float32) / max(steps - 1, 1)


def position(p: ArrayLike, cutoff: ArrayLike, power: ArrayLike, num_prompts: int) -> jax.Array:
    """Where the header stands, x in [0, num_prompts - 1], float32, of p's shape."""
    return jnp.minimum(jnp.asarray(p, jnp.float32) / cutoff, 1.0) ** power * (num_prompts - 1)


def header(prompts: Prompt, p: ArrayLike, cutoff: ArrayLike, power: ArrayLike) -> Prompt:
    """The prompt at progress p: [B, K, ...] -> [B, ...], for any K >= 1.

    `p`, cutoff in (0, 1] and power > 0 may be traced scalars: one compilation serves them all. An
    array p [B] holds the progress of each image.
    """
    if jnp.ndim(p):
        # Images one by one, each a batch of one: a gather over the batch would not stay split.
        alone = lambda one, p: header(_batch_of(one), p, cutoff, power)[0]
        return jax.vmap(alone)(prompts, jnp.asarray(p))
    count = prompts.array.shape[1]
    x = position(p, cutoff, power, count)
    low = jnp.minimum(jnp.floor(x).astype(jnp.int32), count - 1)

    def mixed(vectors: jax.Array) -> jax.Array:  # [B, K, ...] -> [B, ...]
        weight = (x - low).astype(vectors.dtype)
        here = jnp.take(vectors, low, axis=1)
        there = jnp.take(vectors, jnp.minimum(low + 1, count - 1), axis=1)
        return (1 - weight) * here + weight * there

    return jax.tree.map(mixed, prompts)


def _batch_of(one: Prompt) -> Prompt:
    return jax.tree.map(lambda x: x[None], one)
