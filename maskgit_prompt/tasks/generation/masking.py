"""Which codes are hidden in training: BERT-style masking of image codes."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from maskgit_prompt.models.masked import MASK

Array = jax.Array


def draw_rates(key: Array, batch: int, schedule: Callable, length: int, shared: bool) -> Array:
    """[B] shares of codes to mask: schedule(u) for u uniform in [0, 1) (arXiv 2202.04200, 3.1).

    shared: one rate for the whole batch, as the reference draws it.
    """
    shares = jax.random.uniform(key, (1 if shared else batch,))
    return jnp.broadcast_to(schedule(shares, length), (batch,))


def mask_codes(
    key: Array,
    codes: Array,
    rates: Array,
    *,
    mask_share: float = 1.0,
    random_share: float = 0.0,
    codebook: int = 0,
    pad: int | None = None,
) -> tuple[Array, Array]:
    """Hides ceil(rate · length) random codes of each row, at least one.

    Of the chosen codes a share `mask_share` becomes MASK, a share `random_share` a random code of
    0..codebook-1, the rest stays as it is; all chosen ones have weight 1. Codes equal to `pad`
    are never chosen and do not count as length.

    Args:
      codes: [B, L] int; rates: [B] or scalar in [0, 1].

    Returns:
      (codes with some hidden [B, L], weights [B, L] float32 of 0 and 1).
    """
    key, score_key = jax.random.split(key)
    scores = jax.random.uniform(score_key, codes.shape)
    length = codes.shape[1]
    if pad is not None:
        scores = jnp.where(codes == pad, 2.0, scores)
        length = jnp.sum(codes != pad, axis=1)
    chosen_count = jnp.maximum(jnp.ceil(jnp.clip(rates, 1e-6, 1.0) * length), 1)  # [B] or []
    rank = jnp.argsort(jnp.argsort(scores, axis=1), axis=1)  # exact under ties
    chosen = rank < jnp.broadcast_to(chosen_count, codes.shape[:1])[:, None]
    masked = MASK
    if mask_share < 1.0:
        key, code_key = jax.random.split(key)
        randoms = jax.random.randint(code_key, codes.shape, 0, codebook)
        fate = jax.random.uniform(key, codes.shape)
        masked = jnp.where(fate < mask_share + random_share, randoms, codes)
        masked = jnp.where(fate < mask_share, MASK, masked)
    return jnp.where(chosen, masked, codes), chosen.astype(jnp.float32)
