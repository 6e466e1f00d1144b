"""The arguments that both samplers take, apart from their settings."""

from collections.abc import Callable

import jax
from jax.typing import ArrayLike

from maskgit_prompt.errors import UsageError
from maskgit_prompt.models.prompts import Prompt

DIMENSIONS = {
    "tokens": ("images", "prompts", "tokens", "width"),
    "layers": ("images", "prompts", "layers", "tokens", "width"),
    "prefix": ("images", "prompts", "layers", "2", "tokens", "width"),
}


def bound(model: Callable) -> jax.tree_util.Partial:
    """A function as an argument of jit: a Partial is a pytree and brings its bound arrays along."""
    return model if isinstance(model, jax.tree_util.Partial) else jax.tree_util.Partial(model)


def check(prompts: Prompt, uncond: Prompt | None, start: ArrayLike, guided: bool) -> None:
    """Refuses prompts that do not fit the images or each other.

    Args:
      prompts: each image's own K prompts, in the order they scroll past: shapes [B, K, …].
      uncond: the prompt of the dropped condition, [B, …]; None without guidance, or for guidance by
        the bare backbone.
      start: [B, L] codes.
      guided: whether there is guidance.

    Raises:
      UsageError: shapes that do not fit, or an unconditional prompt without guidance.
    """
    images, place, shape = len(start), prompts.place, prompts.array.shape
    names = DIMENSIONS[place]
    if len(shape) != len(names) or shape[1] < 1 or shape[0] != images:
        raise UsageError(
            f"prompts have {place} of shape {shape} for {images} images; use [{', '.join(names)}] "
            "with at least one prompt per image"
        )
    if uncond is None:
        return
    if not guided:
        raise UsageError(
            "got an unconditional prompt, but guidance 1 means no guidance; set another guidance, "
            "or give None"
        )
    expected = (images, *shape[2:])
    if (uncond.place, uncond.array.shape) != (place, expected):
        raise UsageError(
            f"the unconditional prompt has {uncond.place} of shape {uncond.array.shape}; expected "
            f"{place} of shape {expected}, a prompt for each image"
        )
