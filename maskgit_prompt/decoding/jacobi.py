"""Speculative Jacobi decoding: the codes of `autoregressive` in fewer calls of the model.

With its noise given, code i is a function of the codes before it. So guesses of the next W codes
can be checked by one call of the model, which predicts them all. Every image has its own number n
of decided codes. Until all are decided:

 1. Read code n - 1 and the guesses of codes n, n + 1, …: W codes in one call.
 2. Draw codes n .. n + W - 1 from the predictions, each with its own noise. What was read for the
    first is decided, so it is right. The one behind it is right if the guess of the first was, …
 3. Decide all that are right: one more than there are right guesses in front.
 4. The other draws are the new guesses.

For example W = 4, guesses 5 7 2 of codes n to n + 2, draws 5 7 3 9: codes 5, 7 and 3 are decided,
and 9 is the next guess. At least one code is decided per call, and W at most.

The codes are those of `autoregressive` with the same key, apart from rounding: a network may sum
several codes at once in another order than one by one. While the header moves, a call decides codes
of one row alone. The noise of all codes, B L V numbers, is drawn before.

Sources: fixed-point iteration with reparametrized noise, arXiv 2002.09928, algorithm 1; windows of
guesses, speculative Jacobi decoding (arXiv 2410.01699), which has another rule of acceptance that
keeps the distribution and not the codes.
"""

import functools
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from maskgit_prompt.decoding import autoregressive, filters
from maskgit_prompt.decoding.autoregressive import Conditions
from maskgit_prompt.models.prompts import Prompt


class Model(Protocol):
    """The functions of a model, which are `autoregressive.Model`'s but for these two.

    start(codes [B, n], prompt, room): as there; the memory takes `room` more codes.
    extend(memory, codes [B, W], index [B]): reads each image's codes number index, index + 1, …
      -> (logits of the code behind each [B, W, V], memory). What was read before at these places is
      forgotten. Codes beyond the image's last may be read, and mean nothing.
    """

    def start(
        self, codes: jax.Array, prompt: Prompt | None, room: int
    ) -> tuple[jax.Array, Any]: ...
    def extend(self, memory: Any, codes: jax.Array, index: jax.Array) -> tuple[jax.Array, Any]: ...
    def renew(self, memory: Any, prompt: Prompt) -> Any: ...


def make_sampler(
    build: Callable[[], Model], *, grid: tuple[int, int], keep_calls: bool = False
) -> Callable[..., Any]:
    """As `autoregressive.make_sampler`, of a model that can `extend`."""
    return autoregressive.sampler_of(_compiled, build, grid=grid, keep_calls=keep_calls)


def window(x: jax.Array, first: jax.Array, size: int) -> jax.Array:
    """Each image's part of x [B, N, …] from first [B] on: [B, size, …]."""
    cut = lambda x, first: jax.lax.dynamic_slice_in_dim(x, first, size)
    return jax.vmap(cut)(x, first)


def right(guesses: jax.Array, draws: jax.Array) -> jax.Array:
    """How many of draws [B, W] are decided: 1 + the number of right guesses in front, [B].

    The guess of the last draw has not been read, so it does not count.
    """
    same = (guesses == draws)[:, :-1]
    return 1 + jnp.sum(jnp.cumprod(same, axis=1), axis=1)


@functools.cache
def _compiled(guided: bool, grid: tuple[int, int], known: int) -> Callable:
    """The jitted function, one for all samplers of these options: equal shapes compile once."""
    rows, width = grid
    length = rows * width

    @jax.jit
    def run(build, key, prompts, uncond, start, config):
        model, size = build(), min(config.window, length)
        conditions = Conditions(prompts, uncond, config, guided, grid)
        ahead = jnp.arange(size)
        row_of = lambda index: jnp.minimum(index // width, rows - 1)

        logits, memories = conditions.start(model, start[:, :known], known // width, room=size)
        kept = conditions.to_draw_from(logits, jnp.asarray(known))  # [B, V]
        each = lambda index: jax.random.gumbel(jax.random.fold_in(key, index), kept.shape)
        noise = jax.lax.map(each, jnp.arange(length))
        noise = jnp.pad(jnp.swapaxes(noise, 0, 1), [(0, 0), (0, size), (0, 0)])  # [B, L + W, V]

        # The first guess of all codes is what their noise makes of the first prediction.
        codes = filters.pick(kept[:, None], noise).at[:, :known].set(start[:, :known])
        decided = jnp.full(len(start), known + 1)  # [B]

        def step(carry):
            codes, decided, row, memories, calls = carry
            if conditions.scrolls:
                now = row_of(decided)
                renew = lambda memory: model.renew(memory, conditions.front(now))
                scrolled = jax.lax.cond((now != row).any(), renew, lambda m: m, memories[0])
                memories, row = [scrolled, *memories[1:]], now

            # 1. Read.
            last = decided - 1
            read, at = conditions.tiled(window(codes, last, size)), conditions.tiled(last)
            pairs = [model.extend(memory, read, at) for memory in memories]
            logits, memories = (list(x) for x in zip(*pairs, strict=True))

            # 2. Draw.
            index = row_of(decided[:, None] + ahead) * width  # of each code's row
            draws = filters.pick(
                conditions.to_draw_from(logits, index), window(noise, decided, size)
            )

            # 3. Decide.
            most = (row_of(decided) + 1) * width if conditions.scrolls else length
            behind = decided + right(window(codes, decided, size), draws)

            # 4. Guess.
            put = lambda x, new, at: jax.lax.dynamic_update_slice_in_dim(x, new, at, 0)
            codes = jax.vmap(put)(codes, draws, decided)
            return codes, jnp.minimum(behind, most), row, memories, calls + 1

        unfinished = lambda carry: (carry[1] < length).any()
        row = jnp.full(len(start), known // width)
        carry = (codes, decided, row, memories, jnp.int32(1))
        codes, *_, calls = jax.lax.while_loop(unfinished, step, carry)
        return codes[:, :length], calls

    return run
