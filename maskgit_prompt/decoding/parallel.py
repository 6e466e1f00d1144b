"""Parallel decoding of a masked transformer (MaskGIT, arXiv 2202.04200, section 3.2).

Codes [B, L] are image codes, -1 where masked. Codes known at the start stay: with none known this
is generation, with some it is inpainting or outpainting. n0 is each image's number of unknown codes
at the start. For t = start_step .. steps - 1:

 1. Predict: logits for all positions from the current codes.
 2. Sample a code for each position; known codes stay. At the last step these are the result.
 3. Rate: confidence = log p(sampled code) + choice_temperature * (1 - r) * Gumbel noise, where
    r = (t + 1) / steps, and infinite for known codes. The Halton and random orders rate a position
    by how early they visit it instead.
 4. Count: floor(n0 * schedule(r, n0)) codes stay masked, at least one, and at most one fewer than
    now.
 5. Re-mask that many unknown positions, the lowest rated; the others are known from now on. With
    the sampler "remasking" some of them are codes decided before, see `remasking`.

For example, 16 codes, cosine, 4 steps: n0 * schedule = 14.78, 11.31, 6.12, 0.00, so the steps begin
with 16, 14, 11 and 6 unknown codes. Counts are exact under ties: the lower position is masked
first. The product is rounded down as float32 has it (14 codes, linear, 7 steps: 14 * 6/7 gives 11),
and a step with one unknown code left masks it again, both as the published sampler does.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from maskgit_prompt.decoding import orders, remasking, schedules
from maskgit_prompt.decoding.config import DecodeConfig
from maskgit_prompt.decoding.filters import draw, filter_logits
from maskgit_prompt.errors import UsageError

MASKED = -1


class Trace(NamedTuple):
    """What each of the T steps saw and did. Steps before start_step hold the start itself.

    Attributes:
      codes: int32 [T, B, L], after sampling and before re-masking.
      unknown: bool [T, B, L], the positions that the step predicted.
      confidence: float32 [T, B, L], infinite where known; -inf where no step has predicted yet.
    """

    codes: jax.Array
    unknown: jax.Array
    confidence: jax.Array


class Proposal(NamedTuple):
    """What a step draws and how it rates it, [B, L] each.

    Attributes:
      unknown: the positions that the step predicts.
      filled: the codes, with a drawn one where unknown.
      confidence: as in Trace.
      rating: which positions to keep first, the highest; infinite where known.
    """

    unknown: jax.Array
    filled: jax.Array
    confidence: jax.Array
    rating: jax.Array


def log_confidence(key: jax.Array, probs: jax.Array, temperature: ArrayLike) -> jax.Array:
    """log p + temperature * Gumbel noise, for probabilities [B, L]; infinite stays infinite."""
    return jnp.log(probs) + temperature * jax.random.gumbel(key, probs.shape)


def lowest(rating: jax.Array, count: jax.Array) -> jax.Array:
    """Marks the `count` lowest-rated positions of each row; never an infinite one.

    Ratings 0.5 0.2 0.2 0.2 inf with count 2 give 0 1 1 0 0: exactly two, the first of equals.

    Args:
      rating: [B, L].
      count: [B, 1].
    """
    rank = jnp.argsort(jnp.argsort(rating, axis=-1, stable=True), axis=-1)
    return (rank < count) & (rating < jnp.inf)


def places(key: jax.Array, order: str, grid, batch: int, length: int) -> jax.Array | None:
    """When each position is visited, [1 or B, L]; None where confidence decides.

    Raises:
      UsageError: a Halton order whose grid does not hold `length` codes.
    """
    if order.startswith("halton") and (grid is None or grid[0] * grid[1] != length):
        raise UsageError(
            f"order {order!r} got grid {grid} for {length} codes; give grid=(height, width) "
            f"with height * width = {length}"
        )
    # The steps' keys come from split(key, 2), which are fold_in 0 and 1.
    key = jax.random.fold_in(key, 2)
    if order == "halton":
        return orders.places(orders.halton(*grid))[None]
    if order == "halton-rolled":
        return orders.places(orders.rolled(key, orders.halton(*grid), batch))
    if order == "random":
        return orders.places(orders.random(key, batch, length))
    return None


def propose(
    key: jax.Array,
    codes: jax.Array,
    logits: jax.Array,
    r: ArrayLike,
    places: jax.Array | None,
    config: DecodeConfig,
) -> tuple[jax.Array, Proposal]:
    """Samples a code for each masked position and rates them.

    Args:
      key: JAX random key.
      codes: int32 [B, L], -1 where masked.
      logits: float32 [B, L, V].
      r: share of the decoding that is done with this step; a scalar, or [B, 1].
      places: as `places` gives them.
      config: as in `decode`.

    Returns:
      (the key of the next step, the proposal).
    """
    unknown = codes == MASKED  # [B, L]
    key, sample_key = jax.random.split(key)
    kept = filter_logits(logits, config.temperature, config.top_k, config.top_p)
    sampled = draw(sample_key, kept)  # [B, L]
    filled = jnp.where(unknown, sampled, codes)

    probs = jax.nn.softmax(logits, axis=-1)
    probs = jnp.take_along_axis(probs, sampled[..., None], axis=-1)[..., 0]  # [B, L]
    key, noise_key = jax.random.split(key)
    confidence = log_confidence(
        noise_key, jnp.where(unknown, probs, jnp.inf), config.choice_temperature * (1.0 - r)
    )
    rating = confidence if places is None else jnp.where(unknown, -places, jnp.inf)
    return key, Proposal(unknown, filled, confidence, rating)


def decode(
    key: jax.Array,
    start: ArrayLike,
    logits_fn: Callable[[jax.Array, jax.Array], jax.Array],
    config: DecodeConfig,
    *,
    start_step: int = 0,
    grid: tuple[int, int] | None = None,
    keep_trace: bool = False,
) -> jax.Array | tuple[jax.Array, Trace]:
    """Fills the masked codes of `start`, all steps in one compiled loop.

    Call it under `jax.jit` with static start_step, grid and keep_trace, as
    `generate.make_sampler` does.

    Args:
      key: JAX random key, typed or raw.
      start: int32 [B, L], -1 where masked. Known codes are kept, whatever their value.
      logits_fn: (codes [B, L], step t) -> logits [B, L, V]; t is a traced int32. Prompts and
        guidance that change with the steps live in this function.
      config: this reads
        steps: T.
        schedule: a name of `schedules`.
        choice_temperature: weight of the Gumbel noise on the confidence; 0 means none.
        temperature, top_k, top_p: see `filters`. Confidence is rated before them: if a filter
          leaves one code, that code would seem certain.
        sampler, remask: see `remasking`.
        order: confidence, halton, halton-rolled (begun at a random place per image), or random.
      start_step: the first step to run; above 0 if many codes are known already.
      grid: (height, width) of the codes, for the Halton orders.
      keep_trace: also return a Trace.

    Returns:
      Codes int32 [B, L], no -1 left; with keep_trace (codes, Trace).

    Raises:
      UsageError: start_step outside 0 .. steps - 1, or a Halton order whose grid does not hold the
        L codes.
    """
    start = jnp.asarray(start, jnp.int32)
    batch, length = start.shape
    steps = config.steps
    if not 0 <= start_step < steps:
        raise UsageError(f"start_step is {start_step}; use 0 to {steps - 1} for {steps} steps")
    masked_share = schedules.schedule(config.schedule)
    unknown_at_start = jnp.sum(start == MASKED, axis=-1, keepdims=True)  # [B, 1]
    visited = places(key, config.order, grid, batch, length)

    def step(carry, t):
        codes, _, key = carry

        # 1. Predict.
        logits = logits_fn(codes, t).astype(jnp.float32)  # [B, L, V]

        # 2. Sample, and 3. rate.
        r = (t + 1) / steps
        key, (unknown, filled, confidence, rating) = propose(key, codes, logits, r, visited, config)

        # 4. Count.
        unknown_now = jnp.sum(unknown, axis=-1, keepdims=True)  # [B, 1]
        planned = jnp.floor(unknown_at_start * masked_share(r, unknown_at_start)).astype(jnp.int32)
        count = jnp.maximum(1, jnp.minimum(unknown_now - 1, planned))

        # 5. Re-mask.
        again = jnp.zeros_like(unknown)
        if config.sampler == "remasking":
            # The next step splits this key, which is fold_in 0 and 1.
            again_key, decided = jax.random.fold_in(key, 2), ~unknown & (start == MASKED)
            again = remasking.hidden_again(again_key, decided, config.remask, count)
            count -= jnp.sum(again, axis=-1, keepdims=True)
        codes = jnp.where(lowest(rating, count) | again, MASKED, filled)
        return (codes, filled, key), Trace(filled, unknown, confidence) if keep_trace else None

    (_, codes, _), trace = jax.lax.scan(step, (start, start, key), jnp.arange(start_step, steps))
    return (codes, _prepend(start, start_step, trace)) if keep_trace else codes


def _prepend(start: jax.Array, count: int, trace: Trace) -> Trace:
    """The trace with `count` entries of the start itself in front."""
    unknown = start == MASKED
    before = Trace(start, unknown, jnp.where(unknown, -jnp.inf, jnp.inf))
    return Trace(
        *(
            jnp.concatenate([jnp.broadcast_to(b, (count, *b.shape)), x])
            for b, x in zip(before, trace, strict=True)
        )
    )
