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

import dataclasses
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


def check(
    prompts: Prompt,
    uncond: Prompt | None,
    start: ArrayLike,
    config: DecodeConfig,
    known: int,
    grid: tuple[int, int],
) -> None:
    """Raises UsageError for arguments of a sampler that do not fit each other or the grid."""
    check_known(known, grid)
    arguments.check(prompts, uncond, start, config.guided)
    if start.shape[1] != grid[0] * grid[1]:
        raise UsageError(
            f"start has {start.shape[1]} codes per image; expected {grid[0]} x {grid[1]}"
        )


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


@dataclasses.dataclass(frozen=True)
class Conditions:
    """What stands in front of the codes, and the logits that they are drawn from.

    Attributes:
      prompts, uncond, config: as the samplers have them.
      guided: whether there is guidance.
      grid: rows and columns of an image's codes.
    """

    prompts: Prompt
    uncond: Prompt | None
    config: DecodeConfig
    guided: bool
    grid: tuple[int, int]

    @property
    def by_prompt(self) -> bool:
        """Whether images stand in a batch twice, the second time behind `uncond`."""
        return self.guided and self.uncond is not None

    @property
    def scrolls(self) -> bool:
        return self.prompts.array.shape[1] > 1

    def front(self, row: ArrayLike) -> Prompt:
        """The header while this row is written; an array [B] holds the row of each image."""
        p, config = marquee.progress(row, self.grid[0]), self.config
        prompt = marquee.header(self.prompts, p, config.cutoff, config.power)
        return guidance.both(prompt, self.uncond) if self.by_prompt else prompt

    def tiled(self, x: jax.Array) -> jax.Array:
        return jnp.concatenate([x, x]) if self.by_prompt else x

    def start(self, model: Model, codes: jax.Array, row: int, **options) -> tuple[list, list]:
        """(logits, memories) of each stream: one, or two if the bare backbone guides."""
        streams = [model.start(self.tiled(codes), self.front(row), **options)]
        if self.guided and not self.by_prompt:  # a stream of its own, with no prompt in front
            streams.append(model.start(codes, None, **options))
        logits, memories = zip(*streams, strict=True)
        return list(logits), list(memories)

    def to_draw_from(self, logits: list[jax.Array], index: jax.Array) -> jax.Array:
        """Guided and filtered logits [..., V] of codes number `index`, [] or [B, W]."""
        config, found = self.config, logits[0]
        if self.guided:
            cond, free = jnp.split(logits[0], 2) if self.by_prompt else logits
            p = marquee.progress(index // self.grid[1], self.grid[0])
            scale = guidance.schedule(config.guidance_schedule)(
                p,
                config.guidance,
                config.guidance_power,
                config.guidance_begin,
                config.guidance_end,
            )
            found = guidance.guide(cond, free, scale[..., None])
        return filters.filter_logits(found, config.temperature, config.top_k, config.top_p)


def make_sampler(
    build: Callable[[], Model], *, grid: tuple[int, int], keep_calls: bool = False
) -> Callable[..., Any]:
    """Builds sample(key, prompts, uncond, start, config, known=0) -> codes [B, L].

    Keys, prompts, codes and the numbers that `config.TRACED` names may change without a new
    compilation if all shapes stay (and so K); everything else is compiled in.

    Args:
      build: gives the model. With guidance by a prompt it is called with 2B rows, otherwise with B.
      grid: rows and columns of an image's codes.
      keep_calls: also return how often the model is called.

    Returns:
      A function of
        key: JAX random key.
        prompts, uncond: see `arguments.check`.
        start: int32 [B, L]; the first `known` are kept, the others are not read.
        config: the settings; header and guidance progress with the rows.
        known: how many codes are kept, whole rows from the top, the same for all images.
      It raises UsageError for shapes that do not fit.
    """
    return sampler_of(_compiled, build, grid=grid, keep_calls=keep_calls)


def sampler_of(
    compiled: Callable[[bool, tuple[int, int], int], Callable],
    build: Callable[[], Any],
    *,
    grid: tuple[int, int],
    keep_calls: bool,
) -> Callable[..., Any]:
    """What `make_sampler` builds, of another way to decide codes.

    Args:
      compiled: (whether there is guidance, grid, known) -> run(model, key, prompts, uncond, start,
        config) -> (codes [B, L], how often the model is called), jitted.
      build, grid, keep_calls: as there.
    """
    model = arguments.bound(build)

    def sample(
        key: jax.Array,
        prompts: Prompt,
        uncond: Prompt | None,
        start: ArrayLike,
        config: DecodeConfig,
        known: int = 0,
    ) -> Any:
        check(prompts, uncond, start, config, known, grid)
        run = compiled(config.guided, grid, known)
        codes, calls = run(model, key, prompts, uncond, start, config.placed())
        return (codes, calls) if keep_calls else codes

    return sample


@functools.cache
def _compiled(guided: bool, grid: tuple[int, int], known: int) -> Callable:
    """The jitted function, one for all samplers of these options: equal shapes compile once."""
    rows, width = grid

    @jax.jit
    def run(build, key, prompts, uncond, start, config):
        model = build()
        conditions = Conditions(prompts, uncond, config, guided, grid)

        def draw(logits: list[jax.Array], index) -> jax.Array:
            kept = conditions.to_draw_from(logits, jnp.asarray(index))
            return filters.draw(jax.random.fold_in(key, index), kept)

        first = known // width
        logits, memories = conditions.start(model, start[:, :known], first)
        codes = start.at[:, known].set(draw(logits, known))

        def step(index, carry):
            codes, memories = carry
            last = conditions.tiled(codes)[:, index - 1]
            pairs = [model.advance(m, last, index - 1) for m in memories]
            logits, memories = (list(x) for x in zip(*pairs, strict=True))
            return codes.at[:, index].set(draw(logits, index)), memories

        def moved(row) -> jax.Array:
            """Whether the header has moved since the previous row."""
            at = lambda row: marquee.position(
                marquee.progress(row, rows), config.cutoff, config.power, prompts.array.shape[1]
            )
            return (row > first) & (at(row) != at(row - 1))

        def write_row(row, carry):
            codes, (scrolled, *still) = carry
            if conditions.scrolls:
                renew = lambda memory: model.renew(memory, conditions.front(row))
                scrolled = jax.lax.cond(moved(row), renew, lambda memory: memory, scrolled)
            begin = jnp.where(row == first, known + 1, row * width)
            return jax.lax.fori_loop(begin, (row + 1) * width, step, (codes, [scrolled, *still]))

        codes = jax.lax.fori_loop(first, rows, write_row, (codes, memories))[0]
        return codes, jnp.int32(rows * width - known)

    return run
