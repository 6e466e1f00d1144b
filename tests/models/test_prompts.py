"""A prompt is one of three things; rows and headers of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskgit_prompt.models.prompts import Prompt, first_tokens, stack

ONE = np.ones((1, 1, 1), np.float32)


@pytest.mark.parametrize(
    "fields, message",
    [
        ({}, "a prompt has no vectors, expected exactly one of tokens, layers, prefix"),
        (dict(tokens=ONE, layers=ONE), "a prompt has tokens and layers, expected exactly one"),
        (dict(tokens=ONE, prefix=ONE), "a prompt has tokens and prefix, expected exactly one"),
        (dict(layers=ONE, prefix=ONE), "a prompt has layers and prefix, expected exactly one"),
        (dict(tokens=ONE, layers=ONE, prefix=ONE), "tokens and layers and prefix"),
    ],
)
def test_a_prompt_of_none_or_two_fields_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Prompt(**fields)


@pytest.mark.parametrize("kind", ["tokens", "layers", "prefix"])
def test_the_field_that_is_set(kind):
    prompt = Prompt(**{kind: ONE})
    assert prompt.place == kind and prompt.array is ONE and len(prompt) == 1


def test_the_first_layer_gets_the_tokens_of_the_first_layer():
    # Image i has token 10 i, or at layer l the token 10 i + l.
    tokens = np.array([0, 10]).reshape(2, 1, 1)
    layers = np.array([[0, 1, 2], [10, 11, 12]]).reshape(2, 3, 1, 1)
    for prompt in (Prompt(tokens=tokens), Prompt(layers=layers)):
        np.testing.assert_array_equal(first_tokens(prompt), tokens)
    assert first_tokens(Prompt(prefix=np.zeros((2, 3, 2, 1, 1)))) is None
    assert first_tokens(None) is None


def test_a_header_has_the_first_prompt_first():
    first, last = (Prompt(layers=np.full((2, 3, 4, 5), x)) for x in (6, 7))
    header = stack([first, last])
    assert header.layers.shape == (2, 2, 3, 4, 5)
    assert header.layers[0, :, 0, 0, 0].tolist() == [6, 7]


def test_rows_are_of_images():
    prompt = Prompt(tokens=np.array([6, 7, 8]).reshape(3, 1, 1))
    assert prompt[np.array([2, 0, 0])].tokens.ravel().tolist() == [8, 6, 6]


def test_compiled_functions_take_prompts_and_tell_their_places_apart():
    traces = []

    @jax.jit
    def double(prompt):
        traces.append(prompt.place)
        return jax.tree.map(lambda x: 2 * x, prompt)

    x = jnp.ones((1, 2, 3, 4))
    for prompt in (Prompt(layers=x), Prompt(tokens=x), Prompt(layers=2 * x)):
        found = double(prompt)
        assert found.place == prompt.place
        np.testing.assert_array_equal(found.array, 2 * prompt.array)
    assert traces == ["layers", "tokens"]


def test_a_prompt_is_not_an_array():
    with pytest.raises(TypeError, match="a prompt is not an array: take its layers"):
        np.asarray(Prompt(layers=np.zeros((2, 3, 1, 4))))
