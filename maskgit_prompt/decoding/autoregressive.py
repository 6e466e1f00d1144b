"""A sampler of images' codes one after the other, with a marquee header by rows and guidance.

The model comes in as a function that gives one, so nothing here knows a network: an object with

    start(codes [B, n], prompt)         -> (logits of code n [B, V], memory)
    advance(memory, code [B], index)    -> (logits of code index + 1 [B, V], memory)
    renew(memory, prompt)               -> memory, with another prompt in front

    sample = make_sampler(jax.tree_util.Partial(build, weights), grid=(16, 16))
    codes = sample(key, prompts, None, start, cutoff=0.5, top_k=100)

The prompt is read once. Every code is one step of the same compiled loop; the memory is written in
place. The header stands still within a row: of R rows, row r is written at progress r / (R - 1).
When it moves on, the prompt's own keys and values are made anew, those of the codes stay.
"""

import functools
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from maskgit_prompt.decoding import arguments, filters, guidance, marquee
from maskgit_prompt.errors import UsageError


class Model(Protocol):
    """What is asked of a model; see the module's docstring."""

    def start(self, codes: jax.Array, prompt: jax.Array | None) -> tuple[jax.Array, Any]: ...
    def advance(self, memory: Any, code: jax.Array, index: ArrayLike) -> tuple[jax.Array, Any]: ...
    def renew(self, memory: Any, prompt: jax.Array) -> Any: ...


def check_known(known: int, grid: tuple[int, int]) -> None:
    """Refuses codes to go on from that are not the top rows of an image.

    Raises:
      UsageError: no whole rows, or nothing left to make.
    """
    rows, width = grid
    if known % width or not 0 <= known < rows * width:
        raise UsageError(
            f"got the first {known} codes of an image of {rows} x {width}; use whole rows and "
            f"leave one to be made: 0, {width}, … or {(rows - 1) * width} codes"
        )


def make_sampler(
    build: Callable[[], Model],
    *,
    grid: tuple[int, int],
    top_k: int = 0,
    guided: bool = False,
    guidance_schedule: str = "constant",
) -> Callable[..., jax.Array]:
    """Builds sample(key, prompts, uncond, start, ...) -> codes [B, L].

    What is given here is compiled in; everything given to `sample` but `known` may change without
    a new compilation, as long as shapes (so K, too) stay.

    Args:
      build: gives the model. Called with 2B rows under guidance by a prompt.
      grid: rows and columns of an image's codes.
      top_k: see `filters`; 0 is off.
      guided: whether logits are guided; without it there is no second half of the batch.
      guidance_schedule: a name of `guidance`; progress is that of the marquee.

    Returns:
      A function of
        key: JAX random key.
        prompts, uncond: see `arguments.checked`.
        start: int32 [B, L]; the first `known` are kept, the others are not read.
        known: how many codes are kept, whole rows from the top, the same for all images; static
          (keywords from here on). Default 0.
        cutoff, power, guidance_scale, guidance_power, temperature, top_p: see
          `arguments.checked`. Default 1. Temperature 0 takes the best code always.
      that raises UsageError for values out of range and shapes that do not fit.
    """
    rows, width = grid
    run = _compiled(grid, top_k, guided, guidance_schedule)
    model = arguments.bound(build)

    def sample(
        key: jax.Array,
        prompts: jax.Array,
        uncond: jax.Array | None,
        start: ArrayLike,
        *,
        known: int = 0,
        **values: ArrayLike,
    ) -> jax.Array:
        check_known(known, grid)
        values = arguments.checked(prompts, uncond, start, guided, top_k, **values)
        if start.shape[1] != rows * width:
            raise UsageError(
                f"start has {start.shape[1]} codes an image; expected {rows} x {width}"
            )
        return run(model, key, prompts, uncond, start, known, values)

    return sample


@functools.cache
def _compiled(grid: tuple[int, int], top_k: int, guided: bool, guidance_schedule: str) -> Callable:
    """The jitted function, one for all samplers of these settings: equal shapes compile once."""
    scale_schedule = guidance.schedule(guidance_schedule)
    rows, width = grid

    def run(build, key, prompts, uncond, start, known, values):
        model = build()
        by_prompt = guided and uncond is not None

        def front(row) -> jax.Array:
            p = marquee.progress(row, rows)
            prompt = marquee.header(prompts, p, values["cutoff"], values["power"])
            return jnp.concatenate([prompt, uncond]) if by_prompt else prompt

        def tiled(codes: jax.Array) -> jax.Array:
            return jnp.concatenate([codes, codes]) if by_prompt else codes

        def draw(logits: list[jax.Array], index) -> jax.Array:
            if guided:
                cond, free = jnp.split(logits[0], 2) if by_prompt else logits
                p = marquee.progress(index // width, rows)
                scale = scale_schedule(p, values["guidance_scale"], values["guidance_power"])
                logits = [guidance.guide(cond, free, scale)]
            kept = filters.filter_logits(logits[0], values["temperature"], top_k, values["top_p"])
            return jax.random.categorical(jax.random.fold_in(key, index), kept).astype(jnp.int32)

        first = known // width
        streams = [model.start(tiled(start[:, :known]), front(first))]
        if guided and not by_prompt:  # a stream of its own, which has no prompt in front
            streams.append(model.start(start[:, :known], None))
        logits, memories = (list(x) for x in zip(*streams, strict=True))
        codes = start.at[:, known].set(draw(logits, known))

        def step(index, carry):
            codes, memories = carry
            last = tiled(codes)[:, index - 1]
            pairs = [model.advance(m, last, index - 1) for m in memories]
            logits, memories = (list(x) for x in zip(*pairs, strict=True))
            return codes.at[:, index].set(draw(logits, index)), memories

        def moved(row) -> jax.Array:
            """Whether the header stands elsewhere than at the row before."""
            at = lambda row: marquee.position(
                marquee.progress(row, rows), values["cutoff"], values["power"], prompts.shape[1]
            )
            return (row > first) & (at(row) != at(row - 1))

        def write_row(row, carry):
            codes, (scrolled, *still) = carry
            if prompts.shape[1] > 1:
                renew = lambda memory: model.renew(memory, front(row))
                scrolled = jax.lax.cond(moved(row), renew, lambda memory: memory, scrolled)
            begin = jnp.where(row == first, known + 1, row * width)
            return jax.lax.fori_loop(begin, (row + 1) * width, step, (codes, [scrolled, *still]))

        return jax.lax.fori_loop(first, rows, write_row, (codes, memories))[0]

    return jax.jit(run, static_argnames="known")
