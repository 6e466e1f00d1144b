"""Samples the codes of images one after the other, with guidance and a marquee header by rows.

The caller passes a function that builds the model, so nothing here knows a network. A model has

    start(codes [B, n], prompt)         -> (logits of code n [B, V], memory)
    advance(memory, code [B], index)    -> (logits of code index + 1 [B, V], memory)
    renew(memory, prompt)               -> memory, with another prompt in front

    sample = make_sampler(jax.tree_util.Partial(build, weights), grid=(16, 16))
    codes = sample(key, prompts, None, start, DecodeConfig(cutoff=0.5, top_k=100))

The prompt is read once. Every code is one step of one compiled loop, which writes the memory in
place. The header stands still within a row: of R rows, row r is written at progress r / (R - 1).
When the header moves, the prompt's keys and values are computed anew and those of the codes stay.
"""

import functools
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from maskgit_prompt.decoding import arguments, filters, guidance, marquee
from maskgit_prompt.decoding.config import DecodeConfig
from maskgit_prompt.errors import UsageError
from maskgit_prompt.models.prompts import Prompt


class Model(Protocol):
    """The functions of a model; see the module's docstring."""

    def start(self, codes: jax.Array, prompt: Prompt | None) -> tuple[jax.Array, Any]: ...
    def advance(self, memory: Any, code: jax.Array, index: ArrayLike) -> tuple[jax.Array, Any]: ...
    def renew(self, memory: Any, prompt: Prompt) -> Any: ...


def check_known(known: int, grid: tuple[int, int]) -> None:
    """Refuses known codes that are not the top rows of an image.

    Raises:
      UsageError: not whole rows, or nothing left to draw.
    """
    rows, width = grid
    if known % width or not 0 <= known < rows * width:
        raise UsageError(
            f"got the first {known} codes of an image of {rows} x {width}; use whole rows and "
            f"leave one to draw: 0, {width}, … or {(rows - 1) * width} codes"
        )


def make_sampler(build: Callable[[], Model], *, grid: tuple[int, int]) -> Callable[..., jax.Array]:
    """Builds sample(key, prompts, uncond, start, config, known=0) -> codes [B, L].

    Keys, prompts, codes and the numbers that `config.TRACED` names may change without a new
    compilation if all shapes stay (and so K); everything else is compiled in.

    Args:
      build: gives the model. With guidance by a prompt it is called with 2B rows, otherwise with B.
      grid: rows and columns of an image's codes.

    Returns:
      A function of
        key: JAX random key.
        prompts, uncond: see `arguments.check`.
        start: int32 [B, L]; the first `known` are kept, the others are not read.
        config: the settings; header and guidance progress with the rows.
        known: how many codes are kept, whole rows from the top, the same for all images.
      It raises UsageError for shapes that do not fit.
    """
    rows, width = grid
    model = arguments.bound(build)

    def sample(
        key: jax.Array,
        prompts: Prompt,
        uncond: Prompt | None,
        start: ArrayLike,
        config: DecodeConfig,
        known: int = 0,
    ) -> jax.Array:
        check_known(known, grid)
        arguments.check(prompts, uncond, start, config.guided)
        if start.shape[1] != rows * width:
            raise UsageError(
                f"start has {start.shape[1]} codes per image; expected {rows} x {width}"
            )
        run = _compiled(config.guided, grid, known)
        return run(model, key, prompts, uncond, start, config.placed())

    return sample


@functools.cache
def _compiled(guided: bool, grid: tuple[int, int], known: int) -> Callable:
    """The jitted function, one for all samplers of these options: equal shapes compile once."""
    rows, width = grid

    @jax.jit
    def run(build, key, prompts, uncond, start, config):
        model = build()
        scale_schedule = guidance.schedule(config.guidance_schedule)
        num_prompts = prompts.array.shape[1]
        by_prompt = guided and uncond is not None

        def front(row) -> Prompt:
            p = marquee.progress(row, rows)
            prompt = marquee.header(prompts, p, config.cutoff, config.power)
            return guidance.both(prompt, uncond) if by_prompt else prompt

        def tiled(codes: jax.Array) -> jax.Array:
            return jnp.concatenate([codes, codes]) if by_prompt else codes

        def draw(logits: list[jax.Array], index) -> jax.Array:
            if guided:
                cond, free = jnp.split(logits[0], 2) if by_prompt else logits
                p = marquee.progress(index // width, rows)
                scale = scale_schedule(p, config.guidance, config.guidance_power)
                logits = [guidance.guide(cond, free, scale)]
            kept = filters.filter_logits(logits[0], config.temperature, config.top_k, config.top_p)
            return filters.draw(jax.random.fold_in(key, index), kept)

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
            """Whether the header has moved since the previous row."""
            at = lambda row: marquee.position(
                marquee.progress(row, rows), config.cutoff, config.power, num_prompts
            )
            return (row > first) & (at(row) != at(row - 1))

        def write_row(row, carry):
            codes, (scrolled, *still) = carry
            if num_prompts > 1:
                renew = lambda memory: model.renew(memory, front(row))
                scrolled = jax.lax.cond(moved(row), renew, lambda memory: memory, scrolled)
            begin = jnp.where(row == first, known + 1, row * width)
            return jax.lax.fori_loop(begin, (row + 1) * width, step, (codes, [scrolled, *still]))

        return jax.lax.fori_loop(first, rows, write_row, (codes, memories))[0]

    return run
