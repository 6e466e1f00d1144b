"""From logits to the sampled distribution: temperature, then top-k, then top-p.

Removed codes get -inf, so their probability is exactly 0. With logits = log of the probabilities

    p            0.4   0.2   0.2   0.15  0.05
    top-k 2      keeps 0.4   0.2   0.2            (ties at the k-th place all stay)
    top-p 0.5    keeps 0.4   0.2                  (the first to cross 0.5 stays)
    top-p 0.3    keeps 0.4                        (the best always stays)

After temperature and top-k, top-p sorts the codes (equal values: lower index first). It drops a
code if the sum of those before it already exceeds p. Temperature 1, top-k 0 and top-p 1 turn a
filter off. Temperature 0 is greedy: only the best code, the first of equals.
Tested against the filters of CompVis/taming-transformers, whose sort leaves equals in any order.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


def filter_logits(
    logits: jax.Array, temperature: ArrayLike = 1.0, top_k: int = 0, top_p: ArrayLike = 1.0
) -> jax.Array:
    """Logits [..., V] to draw from, float32: divided by temperature, with removed codes at -inf.

    Temperature >= 0 and top-p in (0, 1] may be traced scalars; top-k in 0 .. V is static.
    With all three off the logits come back bit for bit.
    """
    logits = logits.astype(jnp.float32)
    greedy = jnp.asarray(temperature) <= 0
    kept = logits / jnp.where(greedy, 1.0, temperature)
    if top_k:
        kth = jax.lax.top_k(kept, top_k)[0][..., -1:]  # [..., 1]
        kept = jnp.where(kept < kth, -jnp.inf, kept)
    # A branch, not a select: the sort over the codebook is expensive, and top-p is mostly off.
    kept = jax.lax.cond(jnp.asarray(top_p) < 1, _nucleus, lambda x, p: x, kept, top_p)
    return jax.lax.cond(greedy, _best, lambda x, kept: kept, logits, kept)


def draw(key: jax.Array, logits: jax.Array) -> jax.Array:
    """A code for each row of logits [..., V] -> [...] int32.

    The same codes as jax.random.categorical, which on a CPU spends half of its time in argmax.
    """
    return pick(logits, jax.random.gumbel(key, logits.shape, logits.dtype))


def pick(logits: jax.Array, noise: jax.Array) -> jax.Array:
    """What `draw` draws if its Gumbel noise is this: [..., V] each -> [...] int32."""
    return _first_of_largest(logits + noise)


def _first_of_largest(x: jax.Array) -> jax.Array:
    """argmax of the last axis by a maximum and a minimum, which XLA vectorizes on a CPU."""
    at = x == jnp.max(x, axis=-1, keepdims=True)
    size = x.shape[-1]
    # NaN equals nothing, not even itself: the last code, for which no caller will look.
    first = jnp.min(jnp.where(at, jnp.arange(size, dtype=jnp.int32), size), axis=-1)
    return jnp.minimum(first, size - 1)


def _best(logits: jax.Array, kept: jax.Array) -> jax.Array:
    best = _first_of_largest(logits)[..., None] == jnp.arange(logits.shape[-1])
    return jnp.where(best, 0.0, -jnp.inf)


def _nucleus(logits: jax.Array, p: ArrayLike) -> jax.Array:
    ordered = jnp.sort(logits, axis=-1, descending=True)
    probs = jax.nn.softmax(ordered, axis=-1)
    # Exactly 0 for the first entry: a difference of sums could round above p.
    before = jnp.pad(jnp.cumsum(probs, axis=-1)[..., :-1], [(0, 0)] * (probs.ndim - 1) + [(1, 0)])
    count = jnp.sum(before <= p, axis=-1, keepdims=True)  # [..., 1]
    cut = jnp.take_along_axis(ordered, count - 1, axis=-1)
    # Codes equal to the last that stays are kept as long as there is room.
    tied = logits == cut
    room = count - jnp.sum(logits > cut, axis=-1, keepdims=True)
    kept = (logits > cut) | (tied & (jnp.cumsum(tied, axis=-1) <= room))
    return jnp.where(kept, logits, -jnp.inf)
