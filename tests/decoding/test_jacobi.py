"""Speculative Jacobi decoding: the codes of the sequential sampler, by how many calls."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskgit_prompt.decoding import autoregressive, jacobi
from maskgit_prompt.decoding.config import DecodeConfig
from maskgit_prompt.errors import UsageError
from maskgit_prompt.models.masked import MASK
from maskgit_prompt.models.prompts import Prompt, stack
from tests.decoding.test_autoregressive import Naming, Sloped, empty, one, prompts_of
from tests.models.test_causal import draw, tiny


def test_draws_are_decided_up_to_the_one_behind_the_last_right_guess():
    guesses = np.array([[5, 7, 2, 1], [4, 7, 3, 1], [5, 7, 3, 8], [5, 4, 3, 9]])
    draws = np.array([[5, 7, 3, 9]] * 4)
    np.testing.assert_array_equal(jacobi.right(guesses, draws), [3, 1, 4, 2])


# --- Models of a few lines -----------------------------------------------------------------------

ROWS, WIDTH, V = 3, 2, 7
TABLE = np.random.default_rng(0).normal(0, 1.5, (13, V)).astype(np.float32)


class Hashing:
    """Logits from a table, by a hash of the prompt's number and of all codes so far, in order."""

    length = ROWS * WIDTH

    def start(self, codes, prompt, room=0):
        number = jnp.zeros(len(codes)) if prompt is None else prompt.tokens[:, 0, 0]
        read = jnp.zeros((len(codes), self.length + room), jnp.int32)
        read = read.at[:, : codes.shape[1]].set(codes)
        return self._logits(read, number, codes.shape[1]), (read, number)

    def _logits(self, read, number, count):
        """What follows the first `count` codes, [] or [B]."""
        state = jnp.round(3 * number).astype(jnp.int32)
        for i in range(read.shape[1]):
            state = jnp.where(i < count, (5 * state + read[:, i] + 1) % 13, state)
        return jnp.asarray(TABLE)[state % 13]  # [B, V]

    def advance(self, memory, code, index):
        read = memory[0].at[:, index].set(code)
        return self._logits(read, memory[1], index + 1), (read, memory[1])

    def extend(self, memory, codes, index):
        put = lambda x, new, at: jax.lax.dynamic_update_slice_in_dim(x, new, at, 0)
        read = jax.vmap(put)(memory[0], codes, index)
        each = [self._logits(read, memory[1], index + i + 1) for i in range(codes.shape[1])]
        return jnp.stack(each, axis=1), (read, memory[1])

    def renew(self, memory, prompt):
        return memory[0], prompt.tokens[:, 0, 0]


class Counting(Hashing):
    """A code is the one before plus 1, and the first is 3, whatever the noise."""

    def _logits(self, read, number, count):
        before = jnp.take_along_axis(
            read, jnp.broadcast_to(count, (len(read),))[:, None] - 1, axis=1
        )
        best = jnp.where(jnp.asarray(count) == 0, 3, before[:, 0] + 1)
        return 100.0 * jax.nn.one_hot(best % V, V)


class Even(Hashing):
    """All codes are alike: no code depends on another."""

    def _logits(self, read, number, count):
        return jnp.zeros((len(read), V))


def both_ways(model, prompts, uncond, start, known=0, grid=(ROWS, WIDTH), **settings):
    """(the sequential codes, those of Jacobi, its calls)."""
    config, key = DecodeConfig(**settings), jax.random.key(5)
    found = []
    for make in (autoregressive.make_sampler, jacobi.make_sampler):
        sample = make(lambda: model, grid=grid, keep_calls=True)
        found.append(sample(key, prompts, uncond, start, config, known))
    (codes, calls), (guessed, fewer) = found
    assert calls == grid[0] * grid[1] - known
    return np.asarray(codes), np.asarray(guessed), int(fewer)


START = empty(2, ROWS * WIDTH)
GIVEN = START.copy()
GIVEN[:, :2] = [[0, 1], [6, 6]]


@pytest.mark.parametrize(
    ("header", "uncond", "known", "settings"),
    [
        ((1,), None, 0, dict(window=3, temperature=0.7, top_k=4)),
        ((0, 4), None, 2, dict(window=20, cutoff=0.5)),
        ((0, 4), 2, 0, dict(window=4, guidance=2.0, guidance_schedule="linear")),
        ((2,), None, 2, dict(window=3, guidance=2.0, guidance_end=0.5)),
    ],
)
def test_codes_are_those_of_one_after_the_other(header, uncond, known, settings):
    start = GIVEN if known else START
    uncond = None if uncond is None else one(uncond)
    codes, guessed, calls = both_ways(
        Hashing(), prompts_of(*header), uncond, start, known, **settings
    )
    np.testing.assert_array_equal(guessed, codes)
    assert len(np.unique(codes)) > 2 and calls <= codes.shape[1] - known


@pytest.mark.parametrize(("size", "calls"), [(1, 6), (2, 4), (3, 3), (40, 2)])
def test_codes_that_do_not_depend_on_each_other_are_decided_a_window_at_a_time(size, calls):
    # One call for the first code, then one for every window of the other five.
    codes, guessed, found = both_ways(Even(), prompts_of(0), None, START, window=size)
    np.testing.assert_array_equal(guessed, codes)
    assert found == calls


def test_codes_that_are_never_guessed_are_decided_one_at_a_time():
    codes, guessed, calls = both_ways(Counting(), prompts_of(0), None, START, window=4)
    np.testing.assert_array_equal(guessed, [[3, 4, 5, 6, 0, 1]] * 2)
    np.testing.assert_array_equal(guessed, codes)
    assert calls == 6


class Extending(Naming):
    """The best code is the one that the prompt's number names."""

    def start(self, codes, prompt, room):
        return super().start(codes, prompt)

    def extend(self, memory, codes, index):
        self.advanced += 1
        logits = self._logits(memory)[:, None]
        return jnp.broadcast_to(logits, (*codes.shape, logits.shape[-1])), memory


def test_the_header_moves_on_by_rows_and_a_call_stays_in_one():
    # Prompts 0 and 6 name 0, 3 and 6 in rows 0, 1 and 2. One call begins; each row takes one more.
    sample = jacobi.make_sampler(Extending, grid=(3, 2), keep_calls=True)
    start = empty(2, 6)
    codes, calls = sample(jax.random.key(0), prompts_of(0, 6), None, start, DecodeConfig())
    np.testing.assert_array_equal(codes, [[0, 0, 3, 3, 6, 6]] * 2)
    assert calls == 1 + 1 + 2 + 2  # a row's first guesses are of the row before


class ExtendingSloped(Extending, Sloped):
    """Logits that grow with the code by the prompt's number."""


def test_codes_of_one_call_have_the_guidance_of_their_own_rows():
    # c = 1, u = 3, linear to s = 3: rows have s = 1, 2, 3 and slopes 3 - 2 s = 1, -1, -3.
    config = DecodeConfig(guidance=3.0, guidance_schedule="linear", temperature=0.0)
    sample = jacobi.make_sampler(ExtendingSloped, grid=(3, 2), keep_calls=True)
    codes, calls = sample(jax.random.key(0), prompts_of(1), one(3), empty(2, 6), config)
    np.testing.assert_array_equal(codes, [[8, 8, 0, 0, 0, 0]] * 2)
    assert calls == 3  # the first guess of all codes is 8


def test_values_do_not_compile_anew():
    model = Extending()
    sample = jacobi.make_sampler(lambda: model, grid=(3, 2))
    for cutoff, temperature in ((1.0, 1.0), (0.5, 0.0)):
        config = DecodeConfig(cutoff=cutoff, temperature=temperature)
        sample(jax.random.key(0), prompts_of(0, 6), None, empty(2, 6), config)
    assert model.advanced == 1


def test_bad_shapes():
    sample = jacobi.make_sampler(Extending, grid=(3, 2))
    with pytest.raises(UsageError, match="start has 4 codes per image; expected 3 x 2"):
        sample(jax.random.key(0), prompts_of(0), None, empty(2, 4), DecodeConfig())
    with pytest.raises(UsageError, match="first 3 codes of an image of 3 x 2"):
        sample(jax.random.key(0), prompts_of(0), None, empty(2, 6), DecodeConfig(), known=3)


# --- With a network ------------------------------------------------------------------------------

SHAPES = {"tokens": (3, 8), "layers": (3, 3, 8), "prefix": (3, 2, 3, 8)}


@functools.cache
def network(attention: str):
    return tiny(prompt_attention=attention)


@pytest.mark.parametrize(
    ("place", "attention", "guidance_from"),
    [("layers", "both", "backbone"), ("prefix", "causal", "prompt")],
)
def test_a_network_draws_the_codes_of_one_after_the_other(place, attention, guidance_from):
    prompts = [Prompt(**{place: draw(8, *SHAPES[place]) * scale}) for scale in (3, -2, 1)]
    uncond = prompts[2] if guidance_from == "prompt" else None
    guided = dict(guidance=1.5, guidance_from=guidance_from)
    start = np.full((8, 6), MASK, np.int32)
    codes, guessed, calls = both_ways(
        network(attention), stack(prompts[:2]), uncond, start, grid=(2, 3), window=2, **guided
    )
    np.testing.assert_array_equal(guessed, codes)
    assert len(np.unique(codes)) > 5 and calls <= 6
