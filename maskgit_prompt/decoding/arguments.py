"""What both samplers are called with, checked at the Python edge and brought to one type."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from maskgit_prompt.decoding import filters, marquee
from maskgit_prompt.errors import UsageError


def bound(model: Callable) -> jax.tree_util.Partial:
    """A function as an argument of jit: only a Partial is a pytree, whose bound arrays go along."""
    return model if isinstance(model, jax.tree_util.Partial) else jax.tree_util.Partial(model)


def scalars(**values: ArrayLike) -> dict[str, jax.Array]:
    """float32 arrays on the device: one type for all, so that no value compiles anew."""
    return {
        name: x.astype(jnp.float32) if isinstance(x, jax.Array) else jax.device_put(np.float32(x))
        for name, x in values.items()
    }


def checked(
    prompts,
    uncond,
    start,
    guided: bool,
    top_k: int,
    *,
    cutoff: ArrayLike = 1.0,
    power: ArrayLike = 1.0,
    guidance_scale: ArrayLike = 1.0,
    guidance_power: ArrayLike = 1.0,
    temperature: ArrayLike = 1.0,
    top_p: ArrayLike = 1.0,
) -> dict[str, jax.Array]:
    """The values of marquee, guidance and filters as `scalars`.

    Args:
      prompts: [B, K, depth, P, D], each image's own K prompts, in the order they scroll past;
        [B, K, depth, 2, P, D] for keys and values.
      uncond: as one prompt, [B, …]: that of the dropped condition; None without guidance, or for
        guidance by the bare backbone.
      start: [B, L] codes.
      guided, top_k: what the sampler was made with.
      cutoff, power: see `marquee`; guidance_scale, guidance_power: see `guidance`.
      temperature, top_p: see `filters`.

    Raises:
      UsageError: values out of range, or shapes that do not fit.
    """
    marquee.check(cutoff, power)
    filters.check(temperature, top_k, top_p)
    _check_shapes(prompts, uncond, start, guided)
    return scalars(
        cutoff=cutoff,
        power=power,
        guidance_scale=guidance_scale,
        guidance_power=guidance_power,
        temperature=temperature,
        top_p=top_p,
    )


def _check_shapes(prompts, uncond, start, guided: bool) -> None:
    """Raises UsageError for prompts that are not those of `start`'s images, or of one another."""
    if prompts.ndim not in (5, 6) or prompts.shape[1] < 1 or prompts.shape[0] != start.shape[0]:
        raise UsageError(
            f"prompts have shape {prompts.shape} for {start.shape[0]} images; "
            "use [images, prompts, depth, tokens, width], or for keys and values [images, prompts, "
            "depth, 2, tokens, width], with at least one prompt an image"
        )
    if uncond is None:
        return
    if not guided:
        raise UsageError(
            "got an unconditional prompt, but this sampler was made with guided=False; "
            "make it with guided=True, or give None"
        )
    expected = (prompts.shape[0], *prompts.shape[2:])
    if uncond.shape != expected:
        raise UsageError(
            f"the unconditional prompt has shape {uncond.shape}; expected {expected}, "
            "a prompt for each image"
        )
