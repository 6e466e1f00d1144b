"""A sampler of images' codes: parallel decoding with a marquee header and guidance, compiled once.

The model comes in as a function, so nothing here knows a network:

    weights = ...                                     # nested dicts of arrays
    def logits_of(weights, codes, prompt): ...        # [B, L], [B, depth, P, D] -> [B, L, V]

    sample = make_sampler(jax.tree_util.Partial(logits_of, weights), steps=12)
    codes = sample(key, prompts, None, start, cutoff=0.5)

Bind the weights with `jax.tree_util.Partial`: they are then arguments of the compiled function and
keep their shardings. A plain closure works, but makes them constants of the program.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from maskgit_prompt.decoding import filters, guidance, marquee, parallel
from maskgit_prompt.errors import UsageError

LogitsOf = Callable[[jax.Array, jax.Array | None], jax.Array]


def scalars(**values: ArrayLike) -> dict[str, jax.Array]:
    """float32 arrays on the device: one type for all, so that no value compiles anew."""
    return {
        name: x.astype(jnp.float32) if isinstance(x, jax.Array) else jax.device_put(np.float32(x))
        for name, x in values.items()
    }


def make_sampler(
    logits_of: LogitsOf,
    *,
    steps: int,
    schedule: str = "cosine",
    start_step: int = 0,
    order: str = "confidence",
    grid: tuple[int, int] | None = None,
    top_k: int = 0,
    guided: bool = False,
    guidance_schedule: str = "constant",
    keep_trace: bool = False,
) -> Callable[..., jax.Array | tuple[jax.Array, parallel.Trace]]:
    """Builds sample(key, prompts, uncond, start, ...) -> codes [B, L].

    What is given here is compiled in; everything given to `sample` may change without a new
    compilation, as long as shapes (so K, too) stay.

    Args:
      logits_of: (codes [B, L] with -1 where masked, prompt [B, depth, P, D]) -> logits [B, L, V].
        Called with 2B rows under guidance by a prompt, and with prompt None under guidance by
        the bare backbone.
      steps, schedule, start_step, order, grid, top_k, keep_trace: see `parallel.decode`.
      guided: whether logits are guided; without it there is no second half of the batch.
      guidance_schedule: a name of `guidance`; progress is that of the marquee.

    Returns:
      A function of
        key: JAX random key.
        prompts: [B, K, depth, P, D], each image's own K prompts, in the order they scroll past;
          [B, K, depth, 2, P, D] for keys and values.
        uncond: as one prompt, [B, …]: that of the dropped condition; None without guidance, or
          for guidance by the bare backbone.
        start: int32 [B, L], -1 where masked.
        cutoff, power: of the marquee (keywords from here on). Default 1, 1.
        guidance_scale, guidance_power: see `guidance`. Default 1, 1.
        choice_temperature, temperature, top_p: see `parallel.decode`. Default 4.5, 1, 1.
      that raises UsageError for values out of range and shapes that do not fit.

    Raises:
      UsageError: for an unknown schedule or order, or steps out of range.
    """
    parallel.check(steps, start_step, schedule, order)
    scale_schedule = guidance.schedule(guidance_schedule)

    @jax.jit
    def run(logits_of, key, prompts, uncond, start, values):
        def guided_logits(codes, prompt, p):
            if uncond is None:
                cond, free = logits_of(codes, prompt), logits_of(codes, None)
            else:
                both = logits_of(jnp.tile(codes, (2, 1)), jnp.concatenate([prompt, uncond]))
                cond, free = jnp.split(both, 2)  # [2B, L, V] -> [B, L, V] each
            scale = scale_schedule(p, values["guidance_scale"], values["guidance_power"])
            return guidance.guide(cond.astype(jnp.float32), free.astype(jnp.float32), scale)

        def logits_fn(codes, t):
            p = marquee.progress(t, steps)
            prompt = marquee.header(prompts, p, values["cutoff"], values["power"])
            return guided_logits(codes, prompt, p) if guided else logits_of(codes, prompt)

        return parallel.decode(
            key,
            start,
            logits_fn,
            steps=steps,
            schedule=schedule,
            start_step=start_step,
            choice_temperature=values["choice_temperature"],
            temperature=values["temperature"],
            top_k=top_k,
            top_p=values["top_p"],
            order=order,
            grid=grid,
            keep_trace=keep_trace,
        )

    # Only a Partial is a pytree, whose bound arrays jit takes as arguments.
    model = logits_of
    if not isinstance(model, jax.tree_util.Partial):
        model = jax.tree_util.Partial(model)

    def sample(
        key: jax.Array,
        prompts: jax.Array,
        uncond: jax.Array | None,
        start: ArrayLike,
        *,
        cutoff: ArrayLike = 1.0,
        power: ArrayLike = 1.0,
        guidance_scale: ArrayLike = 1.0,
        guidance_power: ArrayLike = 1.0,
        choice_temperature: ArrayLike = 4.5,
        temperature: ArrayLike = 1.0,
        top_p: ArrayLike = 1.0,
    ) -> jax.Array | tuple[jax.Array, parallel.Trace]:
        marquee.check(cutoff, power)
        filters.check(temperature, top_k, top_p)
        check_shapes(prompts, uncond, start, guided)
        values = scalars(
            cutoff=cutoff,
            power=power,
            guidance_scale=guidance_scale,
            guidance_power=guidance_power,
            choice_temperature=choice_temperature,
            temperature=temperature,
            top_p=top_p,
        )
        return run(model, key, prompts, uncond, start, values)

    return sample


def check_shapes(prompts, uncond, start, guided: bool) -> None:
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
