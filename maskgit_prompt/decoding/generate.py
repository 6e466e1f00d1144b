"""Samples the codes of images: parallel decoding with a marquee header and guidance, compiled once.

The caller passes the model as a function, so nothing here knows a network:

    weights = ...                                     # nested dicts of arrays
    def logits_of(weights, codes, prompt): ...        # [B, L], a Prompt -> [B, L, V]

    sample = make_sampler(jax.tree_util.Partial(logits_of, weights))
    codes = sample(key, prompts, None, start, DecodeConfig(steps=12, cutoff=0.5))

Bind the weights with `jax.tree_util.Partial`: they are then arguments of the compiled function and
keep their shardings. A plain closure works, but it makes them constants of the program.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from maskgit_prompt.decoding import arguments, entropy, guidance, marquee, parallel
from maskgit_prompt.decoding.config import DecodeConfig
from maskgit_prompt.models.prompts import Prompt

LogitsOf = Callable[[jax.Array, Prompt | None], jax.Array]
Codes = jax.Array | tuple[jax.Array, parallel.Trace]


def make_sampler(
    logits_of: LogitsOf,
    *,
    grid: tuple[int, int] | None = None,
    start_step: int = 0,
    keep_trace: bool = False,
    keep_calls: bool = False,
) -> Callable[[jax.Array, Prompt, Prompt | None, ArrayLike, DecodeConfig], Codes]:
    """Builds sample(key, prompts, uncond, start, config) -> codes [B, L].

    Keys, prompts, codes and the numbers that `config.TRACED` names may change without a new
    compilation if all shapes stay (and so K); everything else is compiled in.

    Args:
      logits_of: (codes [B, L] with -1 where masked, a prompt of B rows) -> logits [B, L, V].
        With guidance by a prompt it is called with 2B rows, otherwise with B; for guidance by the
        bare backbone also with prompt None.
      grid: see `parallel.decode`.
      start_step, keep_trace: see `parallel.decode`; the sampler "entropy", which has no steps to
        count, has no use for them.
      keep_calls: also return how often the model is called, in place of a trace.

    Returns:
      A function of
        key: JAX random key.
        prompts, uncond: see `arguments.check`.
        start: int32 [B, L], -1 where masked.
        config: the settings; header and guidance progress with the steps, with the sampler
          "entropy" with the share of an image's codes that is known.
      It raises UsageError for shapes that do not fit.
    """
    model = arguments.bound(logits_of)

    def sample(
        key: jax.Array,
        prompts: Prompt,
        uncond: Prompt | None,
        start: ArrayLike,
        config: DecodeConfig,
    ) -> Codes:
        arguments.check(prompts, uncond, start, config.guided)
        run = _compiled(config.guided, grid, start_step, keep_trace)
        found = run(model, key, prompts, uncond, start, config.placed())
        if config.sampler == "entropy":
            return found if keep_calls else found[0]
        return (found, config.steps - start_step) if keep_calls else found

    return sample


@functools.cache
def _compiled(
    guided: bool, grid: tuple[int, int] | None, start_step: int, keep_trace: bool
) -> Callable:
    """The jitted function, one for all samplers of these options: equal shapes compile once."""

    @jax.jit
    def run(logits_of, key, prompts, uncond, start, config):
        scale_schedule = guidance.schedule(config.guidance_schedule)

        def guided_logits(codes, prompt, p):
            if uncond is None:
                cond, free = logits_of(codes, prompt), logits_of(codes, None)
            else:
                both = logits_of(jnp.tile(codes, (2, 1)), guidance.both(prompt, uncond))
                cond, free = jnp.split(both, 2)  # [2B, L, V] -> [B, L, V] each
            interval = config.guidance_begin, config.guidance_end
            scale = scale_schedule(p, config.guidance, config.guidance_power, *interval)
            scale = scale.reshape(-1, 1, 1)  # one, or one for each image
            return guidance.guide(cond.astype(jnp.float32), free.astype(jnp.float32), scale)

        def logits_at(codes, p):
            prompt = marquee.header(prompts, p, config.cutoff, config.power)
            return guided_logits(codes, prompt, p) if guided else logits_of(codes, prompt)

        if config.sampler == "entropy":
            return entropy.decode(key, start, logits_at, config, grid=grid)
        return parallel.decode(
            key,
            start,
            lambda codes, t: logits_at(codes, marquee.progress(t, config.steps)),
            config,
            start_step=start_step,
            grid=grid,
            keep_trace=keep_trace,
        )

    return run
