"""Entropy-bounded unmasking: the bound in digits, a NumPy loop, and each image's own progress."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskgit_prompt.decoding import entropy, generate, orders, parallel
from maskgit_prompt.decoding.config import DecodeConfig
from maskgit_prompt.decoding.parallel import MASKED
from maskgit_prompt.errors import UsageError
from maskgit_prompt.models.prompts import Prompt

ROWS = np.array([[0.2, 0.7, 0.1, 1.5], [0.7, 0.2, 0.9, 0.1]])


@pytest.mark.parametrize(
    ("bound", "expected"),
    [(0.0, [1, 1]), (0.25, [2, 2]), (0.5, [3, 2]), (0.95, [3, 3]), (1.1, [4, 4])],
)
def test_codes_are_decided_while_the_sum_without_the_largest_stays_within_the_bound(
    bound, expected
):
    # Sums without the largest: 0, 0.2, 0.3, 1.0 and 0, 0.2, 0.9, 1.0.
    np.testing.assert_array_equal(entropy.within(jnp.array(ROWS), bound)[:, 0], expected)


def test_logits_that_are_no_numbers_do_not_hang_the_loop():
    assert entropy.within(jnp.full((1, 3), jnp.nan), 1.0) == 1


# --- The loop ------------------------------------------------------------------------------------

L, V = 6, 5
LOGITS = np.random.default_rng(0).normal(0, 2, (L, V + 1, V)).astype(np.float32)
START = np.array([[MASKED] * 6, [MASKED, 3, MASKED, MASKED, 0, MASKED]], np.int32)


def of_left(codes, progress):
    """Logits of a place depend on the code to its left, masked or not."""
    return jnp.asarray(LOGITS)[jnp.arange(L), jnp.roll(codes, 1, axis=1)]  # MASKED is the last row


def run(config, start=START, logits_fn=of_left):
    decode = jax.jit(entropy.decode, static_argnames=("logits_fn", "grid"))
    return decode(jax.random.key(0), start, logits_fn, config, grid=(2, 3))


def by_numpy(bound: float, order: str) -> tuple[np.ndarray, int]:
    """Always the best code; the surest first, or the first in Halton's order."""
    result, most = START.copy(), 0
    for codes in result:
        calls = 0
        while (codes == MASKED).any():
            logits = LOGITS[np.arange(L), np.roll(codes, 1)].astype(np.float64)
            p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
            nats = -(p * np.log(p)).sum(-1)
            first = np.argsort(orders.halton(2, 3)) if order == "halton" else -p.max(-1)
            unknown = [i for i in np.argsort(first) if codes[i] == MASKED]
            taken = [unknown[0]]
            for i in unknown[1:]:
                found = [nats[j] for j in [*taken, i]]
                if sum(found) - max(found) > bound:
                    break
                taken.append(i)
            codes[taken] = p.argmax(-1)[taken]
            calls += 1
        most = max(most, calls)
    return result, most


@pytest.mark.parametrize("order", ["confidence", "halton"])
@pytest.mark.parametrize("bound", [0.0, 0.5, 1.5, 4.0])
def test_codes_and_calls_are_those_of_a_loop_in_numpy(bound, order):
    config = DecodeConfig(entropy_bound=bound, order=order, temperature=0.0, choice_temperature=0.0)
    codes, calls = run(config)
    expected, most = by_numpy(bound, order)
    np.testing.assert_array_equal(codes, expected)
    assert calls == most


def test_a_bound_of_0_decides_one_code_per_call_and_none_decides_all_at_once():
    assert run(DecodeConfig(entropy_bound=0.0))[1] == 6
    assert run(DecodeConfig(entropy_bound=0.0), START[1:])[1] == 4
    codes, calls = run(DecodeConfig(entropy_bound=1e9))
    assert calls == 1
    plain = parallel.decode(jax.random.key(0), START, of_left, DecodeConfig(steps=1))
    np.testing.assert_array_equal(codes, plain)


def test_what_filters_cut_off_counts_as_unknown():
    # Greedy codes are certain once drawn, but the model is not.
    assert run(DecodeConfig(entropy_bound=0.0, temperature=0.0))[1] == 6


def test_certain_codes_are_decided_with_another():
    certain = lambda codes, progress: 1e4 * jax.nn.one_hot(codes * 0 + 2, V)
    codes, calls = run(DecodeConfig(entropy_bound=0.0), logits_fn=certain)
    assert calls == 1
    np.testing.assert_array_equal(codes, np.where(START == MASKED, 2, START))


def test_noise_on_the_confidence_fades_as_if_each_code_were_a_step():
    # Two places, whose best codes have 0.2 and 0.8; the best code is the number of the step. With
    # noise of 2 · (1 - 1/2) = 1 the right place is first with odds 4: 0.8 of the time.
    def stepped(codes, progress):
        best = jax.nn.one_hot(jnp.int32(progress), 9)[:, None]  # [B, 1, V]
        sure = jnp.array([0.2, 0.8])[:, None]
        return jnp.log(best * sure + (1 - best) * (1 - sure) / 8)

    start = np.full((1000, 2), MASKED, np.int32)
    config = DecodeConfig(entropy_bound=0.0, temperature=0.0, choice_temperature=2.0)
    codes, _ = run(config, start, stepped)
    assert set(map(tuple, np.asarray(codes).tolist())) == {(0, 1), (1, 0)}
    assert abs(np.mean(codes[:, 0]) - 0.8) < 0.05  # deviates by 0.013


def test_a_halton_order_needs_its_grid():
    with pytest.raises(UsageError, match="order 'halton' got grid None for 6 codes"):
        entropy.decode(jax.random.key(0), START, of_left, DecodeConfig(order="halton"))


# --- Header and guidance -------------------------------------------------------------------------

GREEDY = dict(sampler="entropy", entropy_bound=0.0, temperature=0.0, choice_temperature=0.0)
FOUR = np.array([[MASKED] * 4, [7, 7, MASKED, MASKED]], np.int32)


def prompts_of(*values):
    """[B = 2, K, P = 1, D = 1]: the same numbers as prompts of both images."""
    return Prompt(tokens=jnp.tile(jnp.array(values, jnp.float32)[:, None, None], (2, 1, 1, 1)))


def named(codes, prompt):
    """The best code is the one that the prompt's number names, and others are possible."""
    near = -0.1 * (jnp.arange(9) - prompt.tokens[:, 0, 0, None]) ** 2
    return jnp.broadcast_to(near[:, None], (*codes.shape, 9))


def sloped(codes, prompt):
    slope = 0.1 * prompt.tokens[:, 0, 0, None] * jnp.arange(9)
    return jnp.broadcast_to(slope[:, None], (*codes.shape, 9))


def test_the_header_moves_with_each_images_own_codes():
    # Prompts 0 and 6. Of four unknown codes 0, 1, 2, 3 are known: 0, 2, 4, 6; of two, 0 and 1.
    sample = generate.make_sampler(named, keep_calls=True)
    codes, calls = sample(jax.random.key(0), prompts_of(0, 6), None, FOUR, DecodeConfig(**GREEDY))
    np.testing.assert_array_equal(codes, [[0, 2, 4, 6], [7, 7, 0, 6]])
    assert calls == 4
    codes = generate.make_sampler(named)(
        jax.random.key(0), prompts_of(0, 6), None, FOUR, DecodeConfig(**GREEDY, cutoff=1 / 3)
    )
    np.testing.assert_array_equal(codes, [[0, 6, 6, 6], [7, 7, 0, 6]])


def test_guidance_grows_with_each_images_own_codes():
    # c = 1, u = 3, linear to s = 3: slopes 3 - 2 s = 1 - 4 p, positive only at p = 0.
    config = DecodeConfig(**GREEDY, guidance=3.0, guidance_schedule="linear")
    uncond = Prompt(tokens=jnp.full((2, 1, 1), 3.0))
    sample = generate.make_sampler(sloped)
    codes = sample(jax.random.key(0), prompts_of(1), uncond, FOUR, config)
    np.testing.assert_array_equal(codes, [[8, 0, 0, 0], [7, 7, 8, 0]])


def test_one_compilation_for_any_bound():
    traces = []

    def model(codes, prompt):
        traces.append(codes.shape)
        return named(codes, prompt)

    sample = generate.make_sampler(model)
    for bound in (0.0, 2.0, 50.0):
        config = DecodeConfig(sampler="entropy", entropy_bound=bound)
        sample(jax.random.key(0), prompts_of(2), None, FOUR, config)
    assert len(traces) == 1
