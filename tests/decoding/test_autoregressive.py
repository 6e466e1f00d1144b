"""Codes one after the other: goldens, header by rows, guidance, completion, and what is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskgit_prompt.decoding import autoregressive, filters
from maskgit_prompt.decoding.config import DecodeConfig
from maskgit_prompt.errors import UsageError
from maskgit_prompt.models.masked import MASK
from maskgit_prompt.models.prompts import Prompt, stack
from tests.models.test_causal import CODES, case, draw, golden, tiny

PLAIN, GREEDY = DecodeConfig(), DecodeConfig(temperature=0.0)


def empty(rows: int, length: int) -> np.ndarray:
    return np.full((rows, length), MASK, np.int32)


# --- Goldens -------------------------------------------------------------------------------------


def test_golden_greedy_behind_a_class():
    data, model = case("gpt_cached_tiny"), golden("gpt_cached_tiny")
    sample = autoregressive.make_sampler(lambda: model, grid=(4, 5))
    header = stack([model.class_prompt(data["in_class"])])  # [B, K = 1, 1, D]
    codes = sample(jax.random.key(0), header, None, empty(3, 20), GREEDY)
    np.testing.assert_array_equal(codes[:, :19], data["out_greedy_tokens"])


class Behind:
    """A model with a class between prompt and codes."""

    def __init__(self, model, class_ids, length: int):
        self.model, self.class_ids, self.length = model, class_ids, length
        self.advance, self.renew = model.advance, model.renew

    def start(self, codes, prompt):
        return self.model.start(codes, prompt, self.class_ids, self.length)


def test_golden_greedy_behind_a_prompt_and_a_class():
    data = case("gpt_cached_tiny")
    model = Behind(golden("gpt_cached_tiny", shifted=True), data["in_class"][:, 0], 15)
    sample = autoregressive.make_sampler(lambda: model, grid=(3, 5))
    header = stack([Prompt(tokens=data["in_embeddings"])])
    codes = sample(jax.random.key(0), header, None, empty(3, 15), GREEDY)
    np.testing.assert_array_equal(codes, data["out_greedy_tokens_embeddings"])


@pytest.mark.parametrize("known, output", [(0, "out_greedy_tokens"), (8, "out_completed_tokens")])
def test_golden_two_stages(known, output):
    data = case("net2net_tiny")
    model = golden("net2net_tiny", heads=2, prefix="transformer.", start=3)
    sample = autoregressive.make_sampler(lambda: model, grid=(4, 4))
    header = stack([model.class_prompt(data["in_class"])])
    start = empty(3, 16)
    start[:, :known] = data["out_tokens"][:, :known]
    codes = sample(jax.random.key(0), header, None, start, GREEDY, known=known)
    np.testing.assert_array_equal(codes, data[output])


# --- What reaches the model ----------------------------------------------------------------------

ROWS, WIDTH, V = 3, 2, 9
START = empty(2, ROWS * WIDTH)


def prompts_of(*values):
    """Headers [B, K, P = 1, D = 1]: the same numbers as prompts of both images."""
    return Prompt(tokens=jnp.tile(jnp.array(values, jnp.float32)[:, None, None], (2, 1, 1, 1)))


def one(value):
    """[B, P = 1, D = 1]: the same prompt for both images."""
    return Prompt(tokens=jnp.full((2, 1, 1), value, jnp.float32))


class Naming:
    """A model whose logits have their peak at the code that the prompt's only number names."""

    def __init__(self):
        self.renewed = self.advanced = 0

    def _logits(self, number):
        return -100.0 * (jnp.arange(V) - number[:, None]) ** 2  # [B, V]

    def start(self, codes, prompt):
        number = jnp.zeros(len(codes)) if prompt is None else prompt.tokens[:, 0, 0]
        return self._logits(number), number

    def advance(self, memory, code, index):
        self.advanced += 1
        return self._logits(memory), memory

    def renew(self, memory, prompt):
        self.renewed += 1
        return memory if len(prompt) != len(memory) else prompt.tokens[:, 0, 0]


class Sloped(Naming):
    """Logits that grow with the code by the prompt's number: guidance adds up by hand."""

    def _logits(self, number):
        return number[:, None] * jnp.arange(V)


def sampler(model):
    return autoregressive.make_sampler(lambda: model, grid=(ROWS, WIDTH))


def test_the_header_moves_on_by_rows():
    # Prompts 0 and 6: rows 0, 1 and 2 are written at progress 0, 1/2 and 1. A row's first code is
    # drawn under the new header, too.
    codes = sampler(Naming())(jax.random.key(0), prompts_of(0, 6), None, START, PLAIN)
    np.testing.assert_array_equal(codes, [[0, 0, 3, 3, 6, 6]] * 2)
    codes = sampler(Naming())(
        jax.random.key(0), prompts_of(0, 6), None, START, DecodeConfig(cutoff=0.5)
    )
    np.testing.assert_array_equal(codes, [[0, 0, 6, 6, 6, 6]] * 2)


def test_a_single_prompt_is_read_once():
    model = Naming()
    codes = sampler(model)(jax.random.key(0), prompts_of(4), None, START, PLAIN)
    np.testing.assert_array_equal(codes, np.full((2, 6), 4))
    assert model.renewed == 0 and model.advanced == 1  # traced once


def test_every_image_has_its_own_condition():
    prompts = Prompt(tokens=jnp.array([3.0, 5.0]).reshape(2, 1, 1, 1))
    codes = sampler(Naming())(jax.random.key(0), prompts, None, START, PLAIN)
    np.testing.assert_array_equal(codes, np.tile([[3], [5]], (1, 6)))


def test_completion_keeps_the_top_rows_and_their_progress():
    start = np.array([[8, 7, -1, -1, -1, -1]] * 2, np.int32)
    codes = sampler(Naming())(jax.random.key(0), prompts_of(0, 6), None, start, PLAIN, known=2)
    np.testing.assert_array_equal(codes, [[8, 7, 3, 3, 6, 6]] * 2)


@pytest.mark.parametrize("by_prompt", [True, False])
def test_guidance_by_hand(by_prompt):
    # c = -20, u = -30 by a prompt: the slope is -30 + 10 s, above 0 from s = 3 on. By the bare
    # backbone u = 0: the slope is -20 s, above 0 below s = 0.
    uncond = one(-30) if by_prompt else None
    sample = sampler(Sloped())
    expected = {0.0: 0, 2.0: 0, 4.0: V - 1} if by_prompt else {2.0: 0, -1.0: V - 1}
    for scale, best in expected.items():
        config = DecodeConfig(guidance=scale)
        codes = sample(jax.random.key(0), prompts_of(-20), uncond, START, config)
        np.testing.assert_array_equal(codes, np.full((2, 6), best))


def test_guidance_grows_by_rows():
    # c = 1, u = 3, linear to s = 3: rows have s = 1, 2, 3 and slopes 3 - 2 s = 1, -1, -3.
    config = DecodeConfig(guidance=3.0, guidance_schedule="linear", temperature=0.0)
    codes = sampler(Sloped())(jax.random.key(0), prompts_of(1), one(3), START, config)
    np.testing.assert_array_equal(codes, [[V - 1, V - 1, 0, 0, 0, 0]] * 2)


def test_guidance_acts_in_rows_of_its_interval_alone():
    # c = 1, u = 3, s = 3: slope -3 in rows at progress 1/2 and 1, or 0 and 1/2; elsewhere 1.
    config = DecodeConfig(guidance=3.0, guidance_begin=0.5, temperature=0.0)
    codes = sampler(Sloped())(jax.random.key(0), prompts_of(1), one(3), START, config)
    np.testing.assert_array_equal(codes, [[V - 1, V - 1, 0, 0, 0, 0]] * 2)
    config = DecodeConfig(guidance=3.0, guidance_end=0.5, temperature=0.0)
    codes = sampler(Sloped())(jax.random.key(0), prompts_of(1), one(3), START, config)
    np.testing.assert_array_equal(codes, [[0, 0, 0, 0, V - 1, V - 1]] * 2)


def test_guidance_grows_by_rows_by_its_own_power():
    # As above; power 2 makes the share 0.15 at the second row: s = 1, 1.29, 3, slopes 1, 0.41, -3.
    config = DecodeConfig(
        guidance=3.0, guidance_schedule="power-cosine", guidance_power=2.0, temperature=0.0
    )
    codes = sampler(Sloped())(jax.random.key(0), prompts_of(1), one(3), START, config)
    np.testing.assert_array_equal(codes, [[V - 1] * 4 + [0, 0]] * 2)


def test_values_do_not_compile_anew():
    model = Naming()
    sample = sampler(model)
    for cutoff, temperature, top_p in ((1.0, 1.0, 1.0), (0.5, 0.0, 0.3)):
        config = DecodeConfig(cutoff=cutoff, temperature=temperature, top_p=top_p)
        sample(jax.random.key(0), prompts_of(0, 6), None, START, config)
    assert model.advanced == 1
    sample(jax.random.key(0), prompts_of(0, 6), None, START, DecodeConfig(top_k=2))
    assert model.advanced == 2


# --- With a network ------------------------------------------------------------------------------


@functools.partial(jax.jit, static_argnums=0)
def whole(attention, codes, prompt):
    return tiny(prompt_attention=attention).code_logits(codes, prompt)


@pytest.mark.parametrize("attention", ["causal", "both"])
@pytest.mark.parametrize(
    "kind, shape", [("tokens", (2, 3, 8)), ("layers", (2, 3, 3, 8)), ("prefix", (2, 3, 2, 3, 8))]
)
def test_greedy_equals_the_best_of_whole_sequences(kind, shape, attention):
    prompt = Prompt(**{kind: draw(*shape)})
    model = tiny(prompt_attention=attention)
    sample = autoregressive.make_sampler(lambda: model, grid=(2, 3))
    codes = np.asarray(sample(jax.random.key(0), stack([prompt]), None, empty(2, 6), GREEDY))
    expected = np.zeros((2, 6), np.int32)
    for i in range(6):
        expected[:, i] = np.argmax(whole(attention, expected, prompt)[:, i], axis=-1)
    np.testing.assert_array_equal(codes, expected)


def test_draws_follow_the_model():
    # The first code of many images under one prompt: shares as the softmax says.
    count = 4000
    prompt = Prompt(tokens=draw(1, 3, 8) * 3)
    header = stack([prompt[np.zeros(count, np.int32)]])
    model = Behind(tiny(), None, 2)
    sample = autoregressive.make_sampler(lambda: model, grid=(1, 2))
    codes = sample(jax.random.key(0), header, None, empty(count, 2), DecodeConfig(top_k=4))
    logits = whole("causal", CODES[:1], prompt)[0, 0]
    expected = jax.nn.softmax(filters.filter_logits(logits, 1.0, 4))
    found = np.bincount(codes[:, 0], minlength=11) / count
    np.testing.assert_allclose(found, expected, atol=4 * 0.5 / count**0.5)
    assert (found[np.asarray(expected) == 0] == 0).all()


def test_same_key_same_codes():
    model, header = tiny(), stack([Prompt(tokens=draw(2, 3, 8))])
    sample = autoregressive.make_sampler(lambda: model, grid=(2, 3))
    run = lambda seed: np.asarray(sample(jax.random.key(seed), header, None, empty(2, 6), PLAIN))
    np.testing.assert_array_equal(run(0), run(0))
    assert (run(0) != run(1)).any()


# --- What is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "known, message",
    [
        (3, "first 3 codes of an image of 3 x 2; use whole rows .*: 0, 2, … or 4"),
        (6, "first 6 codes of an image of 3 x 2"),
        (-2, "first -2 codes"),
    ],
)
def test_codes_to_go_on_from_that_are_not_the_top_rows(known, message):
    with pytest.raises(UsageError, match=message):
        sampler(Naming())(jax.random.key(0), prompts_of(0), None, START, PLAIN, known=known)


def test_bad_shapes():
    sample = sampler(Naming())
    with pytest.raises(UsageError, match="start has 4 codes per image; expected 3 x 2"):
        sample(jax.random.key(0), prompts_of(0), None, START[:, :4], PLAIN)
    with pytest.raises(
        UsageError, match=r"prompts have tokens of shape \(1, 1, 1, 1\) for 2 images"
    ):
        sample(jax.random.key(0), prompts_of(0)[np.array([0])], None, START, PLAIN)
