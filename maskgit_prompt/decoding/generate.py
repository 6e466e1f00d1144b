"""A sampler of images' codes: parallel decoding with a marquee header and guidance, compiled once.

The model comes in as a function, so nothing here knows a network:

    weights = ...                                     # nested dicts of arrays
    def logits_of(weights, codes, prompt): ...        # [B, L], [B, depth, P, D] -> [B, L, V]

    sample = make_sampler(jax.tree_util.Partial(logits_of, weights), steps=12)
    codes = sample(key, prompts, None, start, cutoff=0.5)

Bind the weights with `jax.tree_util.Partial`: they are then arguments of the compiled function and
keep their shardings. A plain closure works, but makes them constants of the program.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from maskgit_prompt.decoding import arguments, guidance, marquee, parallel

LogitsOf = Callable[[jax.Array, jax.Array | None], jax.Array]


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
        prompts, uncond: see `arguments.checked`.
        start: int32 [B, L], -1 where masked.
        choice_temperature: see `parallel.decode` (keywords from here on). Default 4.5.
        cutoff, power, guidance_scale, guidance_power, temperature, top_p: see
          `arguments.checked`. Default 1.
      that raises UsageError for values out of range and shapes that do not fit.

    Raises:
      UsageError: for an unknown schedule or order, or steps out of range.
    """
    parallel.check(steps, start_step, schedule, order)
    run = _compiled(
        steps, schedule, start_step, order, grid, top_k, guided, guidance_schedule, keep_trace
    )
    model = arguments.bound(logits_of)

    def sample(
        key: jax.Array,
        prompts: jax.Array,
        uncond: jax.Array | None,
        start: ArrayLike,
        *,
        choice_temperature: ArrayLike = 4.5,
        **values: ArrayLike,
    ) -> jax.Array | tuple[jax.Array, parallel.Trace]:
        values = arguments.checked(prompts, uncond, start, guided, top_k, **values)
        values |= arguments.scalars(choice_temperature=choice_temperature)
        return run(model, key, prompts, uncond, start, values)

    return sample


@functools.cache
def _compiled(
    steps: int,
    schedule: str,
    start_step: int,
    order: str,
    grid: tuple[int, int] | None,
    top_k: int,
    guided: bool,
    guidance_schedule: str,
    keep_trace: bool,
) -> Callable:
    """The jitted function, one for all samplers of these settings: equal shapes compile once."""
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

    return run
