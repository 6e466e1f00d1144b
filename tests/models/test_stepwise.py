"""The causal transformer step by step: the same numbers as from the whole sequence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskgit_prompt.models.attention import attention
from maskgit_prompt.models.cache import Cache
from maskgit_prompt.models.prompts import Prompt
from tests.models.test_causal import CODES, LABELS, LAYER, case, close, draw, golden, tiny


def stepwise(model, codes, *front, known=0, **options):
    """Logits of codes known, known + 1, … and of the one behind the last, and the memory."""
    logits, memory = model.start(codes[:, :known], *front, **options)
    found = [logits]
    for index in range(known, codes.shape[1]):
        logits, memory = model.advance(memory, codes[:, index], index)
        found.append(logits)
    return np.stack(found, axis=1), memory


@pytest.mark.parametrize("known", [0, 1, 14])
@pytest.mark.parametrize(
    "prompted, suffix, unmasked",
    [(False, "", 0), (True, "_embeddings", 0), (True, "_embeddings", 5)],
)
def test_golden(prompted, suffix, unmasked, known):
    data = case("gpt_cached_tiny")
    model = golden("gpt_cached_tiny", shifted=True, unmasked=unmasked)
    prompt = Prompt(tokens=data["in_embeddings"]) if prompted else None
    logits, memory = stepwise(
        model, data["in_tokens"], prompt, data["in_class"][:, 0], known=known, length=15
    )
    expected = data[f"out_logits{suffix}_stepwise" + ("_unmasked5" if unmasked else "")]
    close(logits, expected[:, -15 + known :], LAYER)
    assert memory.cache.slots == expected.shape[1]


def test_golden_keys_and_values():
    data, model = case("gpt_cached_tiny"), golden("gpt_cached_tiny")
    _, memory = stepwise(model, data["in_tokens"], None, data["in_class"][:, 0], length=15)
    close(memory.cache.keys, data["out_cache_final"][:, 0], LAYER)
    close(memory.cache.values, data["out_cache_final"][:, 1], LAYER)


FRONTS = {
    "nothing": (None, None),
    "label": (None, LABELS),
    "tokens": (Prompt(tokens=draw(2, 4, 8)), None),
    "tokens and label": (Prompt(tokens=draw(2, 4, 8)), LABELS),
    "fresh tokens": (Prompt(layers=draw(2, 3, 4, 8)), None),
    "keys and values": (Prompt(prefix=draw(2, 3, 2, 4, 8)), None),
    "keys, values and label": (Prompt(prefix=draw(2, 3, 2, 4, 8)), LABELS),
}


@pytest.mark.parametrize("attention", ["causal", "both"])
@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize("known", [0, 3])
def test_equals_the_whole_sequence(front, attention, known):
    model = tiny(prompt_attention=attention)
    logits, _ = stepwise(model, CODES[:, :5], *FRONTS[front], known=known)
    close(logits, model.code_logits(CODES, *FRONTS[front])[:, known:], LAYER)


@pytest.mark.parametrize(
    "front, shifted",
    [
        ("tokens", False),
        ("tokens", True),
        ("fresh tokens", False),
        ("keys and values", False),
        ("keys and values", True),
    ],
)
def test_another_prompt_before_any_code_is_as_if_it_had_been_there(front, shifted):
    prompt, _ = FRONTS[front]
    model, other = tiny(shifted=shifted), jax.tree.map(lambda x: x[..., ::-1, :] * 2, prompt)
    # A start token behind keys and values has read them already: it stays as it is.
    _, memory = model.start(CODES[:, :0], prompt if front != "keys and values" else other, length=2)
    logits, _ = model.advance(model.renew(memory, other), CODES[:, 0], 0)
    close(logits, stepwise(model, CODES[:, :1], other, length=2)[0][:, 1], LAYER)


def test_another_prefix_is_seen_from_the_next_code_on():
    model, prefix = tiny(), draw(2, 3, 2, 4, 8)
    _, memory = model.start(CODES[:, :0], Prompt(prefix=prefix))
    renewed = model.renew(memory, Prompt(prefix=-prefix))
    expected, size = np.swapaxes(-prefix, 0, 1), model.cfg.width // model.cfg.heads
    for kept, all_layers in enumerate((renewed.cache.keys, renewed.cache.values)):
        found = np.swapaxes(all_layers[..., :4, :], 2, 3)  # [layers, B, P, N, H]
        np.testing.assert_array_equal(found, expected[:, :, kept].reshape(3, 2, 4, 2, size))
    np.testing.assert_array_equal(renewed.cache.keys[..., 4:, :], memory.cache.keys[..., 4:, :])


def test_another_prompt_leaves_the_codes_keys_and_values():
    model, prompt = tiny(), Prompt(tokens=draw(2, 4, 8))
    _, memory = stepwise(model, CODES[:, :3], prompt)
    renewed = model.renew(memory, Prompt(tokens=-prompt.tokens))
    change = np.abs(renewed.cache.keys - memory.cache.keys).max(axis=(0, 1, 2, 4))  # [S]
    assert (change[:4] > 1e-2).all() and (change[4:] == 0).all()
    same = model.renew(memory, prompt)
    close(same.cache.keys, memory.cache.keys, LAYER)


def test_a_prompt_is_its_keys_and_values():
    # What prompt tokens leave in the cache, given as a prefix, does what the tokens did.
    model, prompt = tiny(), Prompt(tokens=draw(2, 4, 8))
    _, memory = model.start(CODES[:, :0], prompt, LABELS)
    slots = lambda x: np.swapaxes(x[..., :4, :], 2, 3).reshape(3, 2, 4, 8)  # [layers, B, P, D]
    prefix = np.stack([slots(memory.cache.keys), slots(memory.cache.values)], axis=2)
    prefix = Prompt(prefix=np.swapaxes(prefix, 0, 1))  # [B, layers, 2, P, D]
    close(model.code_logits(CODES, prefix, LABELS), model.code_logits(CODES, prompt, LABELS), LAYER)


def test_slots_that_hold_nothing_are_not_seen():
    cache = Cache.empty(1, 1, 1, 3, 2, jnp.float32)
    cache = cache.write(0, 0, jnp.ones((1, 2, 1, 2)), jnp.array([[[[1.0, 3.0]], [[5.0, 7.0]]]]))
    query = jnp.ones((1, 1, 1, 2))
    see = lambda *seen: attention(query, *cache.read(0), jnp.array([seen]))[0, 0, 0].tolist()
    assert see(True, False, False) == [1, 3]
    assert see(True, True, False) == [3, 5]  # the mean: both keys are the same


def test_memory_is_as_large_as_it_will_get():
    _, memory = tiny().start(CODES[:, :2], Prompt(tokens=draw(2, 4, 8)), LABELS)
    assert memory.cache.keys.shape == (3, 2, 2, 4 + 1 + 6 - 1, 4)  # the last code is not read


def test_errors():
    model = tiny(unmasked=3)
    with pytest.raises(ValueError, match="first 3 tokens see each other, but only 1 are given"):
        model.start(CODES[:, :0])
    model.start(CODES[:, :2])
    with pytest.raises(ValueError, match="7 tokens from position 1 on need 8 positions"):
        tiny().start(CODES[:, :0], length=8)


def test_one_compilation_for_all_steps():
    model, traced = tiny(), []

    @jax.jit
    def advance(memory, code, index):
        traced.append(index)
        return model.advance(memory, code, index)

    _, memory = model.start(CODES[:, :0])
    for index in range(4):
        _, memory = advance(memory, CODES[:, index], jnp.int32(index))
    assert len(traced) == 1


def test_codes_are_read_from_places_of_each_sequences_own():
    # The first sequence has read one code and the second three.
    model, prompt = tiny(), Prompt(tokens=draw(2, 4, 8))
    _, memory = model.start(CODES[:, :1], prompt, room=3)
    guesses = np.array([[9, 9, 9], [CODES[1, 1], CODES[1, 2], 9]])
    _, memory = model.extend(memory, guesses, np.array([1, 1]))
    window = np.array([CODES[0, 1:4], [*CODES[1, 3:5], 0]])
    logits, _ = model.extend(memory, window, np.array([1, 3]))
    expected = model.code_logits(CODES, prompt)  # of codes 0 .. 5
    close(logits[0], expected[0, 2:5], LAYER)
    close(logits[1, :2], expected[1, 4:6], LAYER)
    # Beyond the last code there is room, and what was read there changes nothing before it.
    logits, _ = model.extend(memory, window * 0, np.array([4, 5]))
    again, _ = model.extend(memory, window, np.array([1, 3]))
    assert logits.shape == (2, 3, 11)
    close(again[0], expected[0, 2:5], LAYER)
