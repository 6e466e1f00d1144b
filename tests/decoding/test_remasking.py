"""Re-masking: how many codes are hidden again and which, and the loop's counts as without."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskgit_prompt.decoding import parallel, remasking
from maskgit_prompt.decoding.config import DecodeConfig
from maskgit_prompt.decoding.parallel import MASKED

N = 1000
DECIDED = np.tile(np.array([1, 1, 0, 1, 1, 0, 1, 1], bool), (N, 1))  # six of eight


def again(share: float, most: int, key: int = 0) -> np.ndarray:
    found = remasking.hidden_again(
        jax.random.key(key), DECIDED, jnp.float32(share), jnp.full((N, 1), most)
    )
    return np.asarray(found)


def test_a_share_of_the_decided_codes_is_hidden_again_on_average():
    found = again(0.25, 8)  # 1.5 codes
    assert not (found & ~DECIDED).any()
    np.testing.assert_array_equal(np.unique(found.sum(-1)), [1, 2])
    # A mean of N counts deviates by 0.5 / sqrt(1000) = 0.016; a share of N codes by 0.014 at most.
    assert abs(found.sum(-1).mean() - 1.5) < 0.06
    np.testing.assert_allclose(found.mean(0), 0.25 * DECIDED[0], atol=0.06)


@pytest.mark.parametrize(
    ("share", "most", "counts"), [(0.0, 8, [0]), (1.0, 8, [6]), (1.0, 2, [2]), (0.5, 0, [0])]
)
def test_none_all_and_no_more_than_are_hidden_after_the_step(share, most, counts):
    np.testing.assert_array_equal(np.unique(again(share, most).sum(-1)), counts)


# --- In the loop ---------------------------------------------------------------------------------

START = np.full((3, 16), MASKED, np.int32)
START[1, 4:7] = 2
TABLE = np.random.default_rng(0).normal(0, 1, (17, 16, 16)).astype(np.float32)


def table(codes, t):
    """Logits of a place depend on the code to its left."""
    return jnp.asarray(TABLE)[jnp.roll(codes, 1, axis=1), jnp.arange(16)]


@functools.cache
def run(**settings):
    decode = jax.jit(parallel.decode, static_argnames=("logits_fn", "keep_trace", "grid"))
    config = DecodeConfig(steps=4, **settings)
    return decode(jax.random.key(1), START, table, config, keep_trace=True, grid=(4, 4))


@pytest.mark.parametrize("order", ["confidence", "halton"])
def test_a_share_of_0_is_the_sampler_without(order):
    plain, without = run(order=order), run(order=order, sampler="remasking", remask=0.0)
    jax.tree.map(np.testing.assert_array_equal, plain, without)


@pytest.mark.parametrize("order", ["confidence", "halton"])
def test_steps_begin_with_as_many_hidden_codes_as_without(order):
    codes, trace = run(order=order, sampler="remasking", remask=0.5)
    unknown = np.asarray(trace.unknown)
    np.testing.assert_array_equal(unknown[:, 0].sum(-1), [16, 14, 11, 6])
    # Of 13 unknown codes 12.01, 9.19 and 4.97 stay hidden.
    np.testing.assert_array_equal(unknown[:, 1].sum(-1), [13, 12, 9, 4])
    # Two codes are decided by the first step, five by the second: 0.5 · 2 = 1 of them is hidden
    # again, then 2 or 3.
    decided = ~unknown & (START == MASKED)
    hidden = (decided[:-1] & unknown[1:]).sum(-1)
    assert hidden[1, 0] == 1 and hidden[2, 0] in (2, 3)
    assert not unknown[:, 1, 4:7].any() and (codes[1, 4:7] == 2).all()
    assert (codes != MASKED).all()


def test_a_loop_in_numpy_hides_the_same_codes():
    """Always the best code, the surest kept; only which codes are hidden again is random."""
    settings = dict(temperature=0.0, choice_temperature=0.0)
    codes, trace = run(sampler="remasking", remask=0.4, **settings)
    now, key = START.copy(), jax.random.key(1)
    for t, planned in enumerate([[14, 12, 14], [11, 9, 11], [6, 4, 6], [0, 0, 0]]):
        unknown = now == MASKED
        np.testing.assert_array_equal(trace.unknown[t], unknown)
        logits = TABLE[np.roll(now, 1, axis=1), np.arange(16)].astype(np.float64)
        p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        filled = np.where(unknown, p.argmax(-1), now)
        for _ in range(2):  # the draw and the noise on the confidence
            key, _ = jax.random.split(key)
        decided = ~unknown & (START == MASKED)
        most = np.array(planned)[:, None]
        found = remasking.hidden_again(jax.random.fold_in(key, 2), decided, 0.4, most)
        now = filled.copy()
        for image in range(3):
            stay = planned[image] - int(found[image].sum())
            surest = np.argsort(np.where(unknown[image], p.max(-1)[image], np.inf))
            now[image, surest[:stay]] = MASKED
            now[image, np.asarray(found[image])] = MASKED
    np.testing.assert_array_equal(codes, filled)
