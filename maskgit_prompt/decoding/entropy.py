"""Entropy-bounded unmasking: a step decides as many codes as are nearly independent of each other.

Codes decided in one step are drawn each for itself, as if none depended on another. What that
misses is at most the sum of their entropies without the largest one. So the codes are taken in
their order for as long as this stays within a bound, in nats. With entropies in that order

    entropy                  0.2   0.7   0.1   1.5
    sum without the largest  0     0.2   0.3   1.0      bound 0.5 decides three codes

The first is always decided: a bound of 0 decides one code per step, and those that are certain with
it. Until no code is unknown, with n0 the number of unknown codes at the start and n that of now:

 1. Predict, at progress (n0 - n) / (n0 - 1).
 2. Sample and rate, as `parallel.propose` does, at r = (n0 - n + 1) / n0: the noise on the
    confidence fades as if each code were a step.
 3. Measure the entropy of each prediction, before the filters: what they cut off is still unknown.
 4. Decide, the best rated first.

Every image has its own progress and number of steps. The loop goes on until the last is done.
Source: EB-Sampler (arXiv 2505.24857), section 4.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from maskgit_prompt.decoding import parallel
from maskgit_prompt.decoding.config import DecodeConfig
from maskgit_prompt.decoding.parallel import MASKED


def within(entropy: jax.Array, bound: ArrayLike) -> jax.Array:
    """How many codes in front stay within the bound, at least one: [B, N] nats in their order ->
    [B, 1]."""
    error = jnp.cumsum(entropy, axis=-1) - jax.lax.cummax(entropy, axis=entropy.ndim - 1)
    # NaN is within no bound, and a loop that decides nothing would never end.
    return jnp.maximum(1, jnp.sum(error <= bound, axis=-1, keepdims=True))


def decode(
    key: jax.Array,
    start: ArrayLike,
    logits_fn: Callable[[jax.Array, jax.Array], jax.Array],
    config: DecodeConfig,
    *,
    grid: tuple[int, int] | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Fills the masked codes of `start` in a compiled loop of as many steps as they need.

    Args:
      key: JAX random key, typed or raw.
      start: int32 [B, L], -1 where masked. Known codes are kept, whatever their value.
      logits_fn: (codes [B, L], progress [B] in [0, 1]) -> logits [B, L, V].
      config: entropy_bound, and what `parallel.decode` reads but steps and schedule.
      grid: (height, width) of the codes, for the Halton orders.

    Returns:
      (codes int32 [B, L], no -1 left; how often the model was called, a scalar).

    Raises:
      UsageError: a Halton order whose grid does not hold the L codes.
    """
    start = jnp.asarray(start, jnp.int32)
    unknown_at_start = jnp.sum(start == MASKED, axis=-1, keepdims=True)  # [B, 1]
    places = parallel.places(key, config.order, grid, *start.shape)

    def step(carry):
        codes, key, calls = carry
        left = jnp.sum(codes == MASKED, axis=-1, keepdims=True)  # [B, 1]
        done = unknown_at_start - left

        # 1. Predict.
        progress = done / jnp.maximum(unknown_at_start - 1, 1)
        logits = logits_fn(codes, progress[:, 0]).astype(jnp.float32)  # [B, L, V]

        # 2. Sample and rate.
        r = (done + 1) / jnp.maximum(unknown_at_start, 1)
        key, found = parallel.propose(key, codes, logits, r, places, config)

        # 3. Measure.
        log_probs = jax.nn.log_softmax(logits, axis=-1)
        terms = jnp.exp(log_probs) * jnp.where(jnp.isfinite(log_probs), log_probs, 0.0)
        entropy = -jnp.sum(terms, axis=-1)  # [B, L]

        # 4. Decide. Known codes come last, so that their entropy does not count.
        order = jnp.argsort(jnp.where(found.unknown, -found.rating, jnp.inf), axis=-1)
        count = within(jnp.take_along_axis(entropy, order, axis=-1), config.entropy_bound)
        chosen = found.unknown & (jnp.argsort(order, axis=-1) < count)
        return jnp.where(chosen, found.filled, codes), key, calls + 1

    unfinished = lambda carry: jnp.any(carry[0] == MASKED)
    codes, _, calls = jax.lax.while_loop(unfinished, step, (start, key, jnp.int32(0)))
    return codes, calls
