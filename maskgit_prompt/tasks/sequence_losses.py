"""Losses of sequences of token ids: smoothing, allowed ids, the worst tokens dropped, R-Drop.

All are computed in float32. Shapes: B batch, L tokens, V vocabulary.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

Array = jax.Array
_ALONE = 1e-6  # added to the number of other ids, which is 0 where one id alone is allowed


@struct.dataclass
class Sums:
    """Sums over the tokens that count, for means over a batch that is split among devices.

    Attributes:
      loss: what is minimized, divided by `count`; nll: without smoothing and R-Drop.
      count: how many tokens; those that were dropped are not among them.
    """

    loss: Array
    nll: Array
    count: Array


def smoothed_and_plain(
    logits: Array, targets: Array, smoothing: float, allowed: Array | None = None
) -> tuple[Array, Array]:
    """Cross entropy with label smoothing and without, [..., V], [...] -> ([...], [...]).

    The target has the weight 1 - smoothing, and each of the other n - 1 allowed ids
    smoothing / (n - 1). With logits 0 of 3 ids, log p is -ln 3 whatever the smoothing. With
    logits (ln 2, 0, 0), target 0 and smoothing 0.1: 0.9 ln 2 + 2 · 0.05 ln 4.

    Args:
      allowed: bool [..., V], the ids that probabilities are shared among, as `constraints.along`
        gives them for a trie or a range; None: all.
    """
    scores = _log_softmax(logits, allowed)
    plain = -jnp.take_along_axis(scores, targets[..., None], axis=-1)[..., 0]
    if not smoothing:
        return plain, plain
    if allowed is None:
        number, total = logits.shape[-1], -jnp.sum(scores, -1)
    else:
        number, total = jnp.sum(allowed, -1), -jnp.sum(jnp.where(allowed, scores, 0.0), -1)
    other = smoothing / (number - 1 + _ALONE)
    # `total` has the target in it: its own share is taken off here.
    return (1 - smoothing - other) * plain + other * total, plain


def sequence_sums(
    logits: Array,
    targets: Array,
    weights: Array,
    *,
    smoothing: float = 0.0,
    allowed: Array | None = None,
    confidence: Array | None = None,
    drop_worst: float = 0.0,
    r_drop: float = 0.0,
) -> Sums:
    """The loss of a batch of sequences, as sums.

    Args:
      logits: [B, L, V]; targets: [B, L]; weights: [B, L], 1 where a token counts, 0 for padding
        and for what was given, such as a question in front of its answer.
      smoothing, allowed: see `smoothed_and_plain`; allowed is [B, L, V].
      confidence: [B], factors of each example's losses, such as how many people gave an answer.
      drop_worst: the share of tokens with the largest losses to leave out, as wrong captions have.
      r_drop: the factor of R-Drop. Rows b and b + B / 2 are then two passes of one example, with
        dropout of their own, and their distributions are drawn together (arXiv 2106.14448).
    """
    if allowed is not None:  # all ids of padding, so that no softmax is of nothing
        allowed = allowed | (weights <= 0)[..., None]
    loss, nll = smoothed_and_plain(logits, targets, smoothing, allowed)  # [B, L]
    if confidence is not None:
        loss, nll = loss * confidence[:, None], nll * confidence[:, None]
    kept = keep_best(loss, weights, drop_worst) if drop_worst else weights
    # Not a product: the loss of padding may be infinite where its id is not allowed.
    total = lambda values: jnp.sum(jnp.where(kept > 0, values, 0.0))
    summed = total(loss)
    if r_drop:
        both = 0.5 * (weights[: len(weights) // 2] + weights[len(weights) // 2 :])
        divergence = symmetric_divergence(logits, allowed)  # [B / 2, L]
        summed += r_drop * jnp.sum(jnp.where(both > 0, divergence, 0.0))
    return Sums(summed, total(nll), jnp.sum(kept))


def keep_best(loss: Array, weights: Array, drop_worst: float) -> Array:
    """Weights [B, L] without the worst tokens of the whole batch: floor(n (1 - drop_worst)) stay.

    Losses 1, 4, 2, 3 and weights 1, 1, 1, 0 with drop_worst 0.3: 2 of 3 stay, 1, 0, 1, 0.
    """
    flat, counted = loss.ravel(), weights.ravel() > 0
    order = jnp.argsort(jnp.where(counted, flat, jnp.inf), stable=True)
    rank = jnp.zeros_like(order).at[order].set(jnp.arange(len(flat)))
    # On the host and in float64: 10 · (1 - 0.2) is 8 there, which float32 may miss from below.
    stay = np.floor(np.arange(len(flat) + 1) * (1 - drop_worst)).astype(np.int32)
    kept = (rank < jnp.asarray(stay)[jnp.sum(counted)]) & counted
    return jnp.where(kept, weights.ravel(), 0).reshape(weights.shape)


def symmetric_divergence(logits: Array, allowed: Array | None = None) -> Array:
    """(KL(a||b) + KL(b||a)) / 2 of the rows' first half a and second half b, [B, …, V] -> [B/2, …].

    Probabilities (1/2, 1/2) and (1/4, 3/4): (1/4 · ln 2 + 1/4 · ln 3/2) / 2 = (ln 3) / 8.
    """
    a, b = jnp.split(_log_softmax(logits, allowed), 2)
    apart = a - b
    if allowed is not None:  # of the other ids it is inf - inf
        apart = jnp.where(allowed[: len(a)], apart, 0.0)
    return 0.5 * jnp.sum((jnp.exp(a) - jnp.exp(b)) * apart, -1)


def _log_softmax(logits: Array, allowed: Array | None) -> Array:
    logits = logits.astype(jnp.float32)
    return jax.nn.log_softmax(logits if allowed is None else jnp.where(allowed, logits, -jnp.inf))
