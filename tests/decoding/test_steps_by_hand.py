"""Decoding of four codes in parallel, and of six in a row, by choices worked out on paper."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from maskgit_prompt.decoding import autoregressive, parallel
from maskgit_prompt.decoding.config import DecodeConfig
from maskgit_prompt.decoding.parallel import MASKED
from maskgit_prompt.models.prompts import Prompt

# --- In parallel ---------------------------------------------------------------------------------

# Two codes; code 1 is the better one everywhere: by ln 2 at place 0, so p = 2/3, then by
# ln 4, ln 8 and ln 16: p = 4/5, 8/9, 16/17. The places to the right are the more confident.
P = np.array([2 / 3, 4 / 5, 8 / 9, 16 / 17])


def surer_to_the_right(codes, t):
    gain = jnp.log(2.0) * jnp.arange(1, 5)
    logits = jnp.stack([jnp.zeros(4), gain], -1)  # [L, V]
    return jnp.broadcast_to(logits, (*codes.shape, 2))


@functools.cache
def compiled():
    decode = jax.jit(parallel.decode, static_argnames=("logits_fn", "keep_trace"))
    return functools.partial(decode, logits_fn=surer_to_the_right, keep_trace=True)


def run(start, choice_temperature: float = 0.0, temperature: float = 0.0):
    """(codes, trace) of 500 images that start alike: always as many, so one compilation."""
    start = np.tile(np.array(start, np.int32), (500, 1))
    config = DecodeConfig(
        steps=4, schedule="linear", choice_temperature=choice_temperature, temperature=temperature
    )
    return compiled()(jax.random.key(0), start, config=config)


def test_the_surest_codes_are_kept_first_and_as_many_as_the_schedule_says():
    codes, trace = run([MASKED] * 4)
    unknown = [[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]]
    np.testing.assert_array_equal(trace.unknown[:, 0], np.array(unknown, bool))
    np.testing.assert_allclose(trace.confidence[0, 0], np.log(P), rtol=1e-5)
    np.testing.assert_array_equal(codes[0], [1, 1, 1, 1])


def test_known_codes_stay_though_the_model_would_have_others():
    # Nor are they hidden anew, though the model is less sure of their places than of the others.
    codes, trace = run([0, MASKED, 0, MASKED])
    np.testing.assert_array_equal(codes[0], [0, 1, 0, 1])
    # Two unknown codes in four steps: 2, then 1 until the last step.
    unknown = [[0, 1, 0, 1], [0, 1, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0]]
    np.testing.assert_array_equal(trace.unknown[:, 0], np.array(unknown, bool))


def test_noise_on_the_confidence_fades_to_none_at_the_last_step():
    _, trace = run([MASKED] * 4, choice_temperature=8.0)
    unknown = np.asarray(trace.unknown)
    noise = np.asarray(trace.confidence) - np.log(P)
    # Standard Gumbel noise deviates by pi / sqrt(6) = 1.28; times 8 · (3/4, 1/2, 1/4, 0).
    found = [np.std(noise[t][unknown[t]]) for t in range(3)]
    np.testing.assert_allclose(found, np.array([6, 4, 2]) * np.pi / 6**0.5, rtol=0.15)
    np.testing.assert_allclose(noise[3][unknown[3]], 0, atol=1e-5)


def test_temperature_flattens_what_codes_are_drawn_from():
    # At place 3 code 1 has odds 16; temperature 2 makes them 4, temperature 1/2 makes them 256.
    for temperature, share in ((1.0, 16 / 17), (2.0, 4 / 5), (0.5, 256 / 257)):
        _, trace = run([MASKED] * 4, temperature=temperature)
        assert abs(np.mean(trace.codes[0, :, 3]) - share) < 0.05  # deviates by 0.018 at most


def test_confidence_is_that_of_the_code_drawn():
    _, trace = run([MASKED] * 4, temperature=2.0)
    drawn, found = np.asarray(trace.codes[0]), np.exp(trace.confidence[0])
    assert 0 < drawn.mean() < 1
    np.testing.assert_allclose(found, np.where(drawn == 1, P, 1 - P), rtol=1e-4)


# --- One after the other -------------------------------------------------------------------------


class Even:
    """A model to which all of nine codes are alike."""

    def start(self, codes, prompt):
        return jnp.zeros((len(codes), 9)), jnp.zeros(len(codes))

    def advance(self, memory, code, index):
        return jnp.zeros((len(code), 9)), memory

    def renew(self, memory, prompt):
        return memory


class Counting(Even):
    """The best code is the one before plus 1, the first is 3; index 2 is told apart by 5 more."""

    def _logits(self, best):
        return 100.0 * jax.nn.one_hot(best % 9, 9)

    def start(self, codes, prompt):
        best = codes[:, -1] + 1 if codes.shape[1] else jnp.full(len(codes), 3)
        return self._logits(best), jnp.zeros(len(codes))

    def advance(self, memory, code, index):
        return self._logits(code + 1 + 5 * (index == 2)), memory


class SixteenToOne(Even):
    """Two codes; code 1 has odds 16."""

    def start(self, codes, prompt):
        return jnp.tile(jnp.log(jnp.array([1.0, 16.0])), (len(codes), 1)), jnp.zeros(len(codes))

    def advance(self, memory, code, index):
        return self.start(code, None)


def one_by_one(model, start, known=0, **settings):
    sample = autoregressive.make_sampler(lambda: model, grid=(3, 2))
    prompts, config = Prompt(tokens=jnp.zeros((len(start), 1, 1, 1))), DecodeConfig(**settings)
    return np.asarray(sample(jax.random.key(0), prompts, None, np.array(start), config, known))


def test_codes_and_images_are_drawn_for_themselves():
    codes = one_by_one(Even(), [[MASKED] * 6] * 2)
    assert len(set(codes[0])) > 1 and (codes[0] != codes[1]).any()


def test_a_code_follows_the_one_before_it():
    # 3 4 5, then after index 2 comes 5 + 1 + 5 = 11, which is 2, and on from there.
    codes = one_by_one(Counting(), [[MASKED] * 6], temperature=0.0)
    np.testing.assert_array_equal(codes, [[3, 4, 5, 2, 3, 4]])
    codes = one_by_one(Counting(), [[7, 0, MASKED, MASKED, MASKED, MASKED]], known=2)
    np.testing.assert_array_equal(codes, [[7, 0, 1, 7, 8, 0]])


def test_temperature_flattens_what_every_code_is_drawn_from():
    # Temperature 2 makes odds of 16 to 4, temperature 1/2 makes them 256.
    for temperature, share in ((1.0, 16 / 17), (2.0, 4 / 5), (0.5, 256 / 257)):
        codes = one_by_one(SixteenToOne(), [[MASKED] * 6] * 500, temperature=temperature)
        # The share of 500 images deviates by 0.018 at most.
        np.testing.assert_allclose(codes.mean(axis=0), share, atol=0.06)
