"""The marquee header: positions and mixtures that can be redone by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskgit_prompt.decoding import marquee
from maskgit_prompt.models.prompts import Prompt, stack


def positions(steps, cutoff, power, num_prompts):
    p = marquee.progress(np.arange(steps), steps)
    return marquee.position(p, cutoff, power, num_prompts)


@pytest.mark.parametrize(
    ("steps", "cutoff", "power", "num_prompts", "expected"),
    [
        (4, 1.0, 1.0, 2, [0, 1 / 3, 2 / 3, 1]),
        (4, 1.0, 1.0, 3, [0, 2 / 3, 4 / 3, 2]),
        (4, 1 / 3, 1.0, 2, [0, 1, 1, 1]),
        (5, 0.5, 1.0, 2, [0, 0.5, 1, 1, 1]),
        (5, 1.0, 2.0, 2, [0, 1 / 16, 1 / 4, 9 / 16, 1]),
        (3, 1.0, 1.0, 1, [0, 0, 0]),
        (1, 1.0, 1.0, 2, [0]),
    ],
)
def test_position(steps, cutoff, power, num_prompts, expected):
    np.testing.assert_allclose(positions(steps, cutoff, power, num_prompts), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("p", "expected"),
    [(0.0, [0, 100]), (0.25, [5, 105]), (0.5, [10, 110]), (0.75, [25, 125]), (1.0, [40, 140])],
)
def test_header_by_hand(p, expected):
    # Two images with three prompts of one number each; image 1's are 100 higher.
    prompts = jnp.array([[0.0, 10, 40], [100, 110, 140]])[..., None, None]
    found = marquee.header(Prompt(tokens=prompts), p, 1.0, 1.0)  # [B, K, 1, 1] -> [B, 1, 1]
    np.testing.assert_allclose(found.tokens[:, 0, 0], expected, rtol=1e-6)


def test_one_prompt_is_itself_and_keeps_its_type():
    prompts = jax.random.normal(jax.random.key(0), (2, 1, 3, 4, 5), jnp.bfloat16)
    for p in (0.0, 0.4, 1.0):
        found = marquee.header(Prompt(layers=prompts), p, 0.5, 1.0)
        assert found.place == "layers" and found.layers.dtype == jnp.bfloat16
        np.testing.assert_array_equal(found.layers, prompts[:, 0])


@pytest.mark.parametrize("kind", ["tokens", "layers", "prefix"])
def test_a_header_mixes_prompts_of_any_place(kind):
    shape = {"tokens": (1, 2, 1), "layers": (1, 3, 2, 1), "prefix": (1, 3, 2, 2, 1)}[kind]
    first, last = (Prompt(**{kind: np.full(shape, x, np.float32)}) for x in (4, 8))
    found = marquee.header(stack([first, last]), 0.25, 1.0, 1.0)
    assert found.place == kind
    np.testing.assert_array_equal(found.array, np.full(shape, 5))  # 3/4 · 4 + 1/4 · 8


def test_cutoff_and_power_do_not_compile_anew():
    traces = []

    @jax.jit
    def f(prompts, p, cutoff, power):
        traces.append(1)
        return marquee.header(prompts, p, cutoff, power)

    prompts = Prompt(tokens=jnp.array([0.0, 1.0]).reshape(1, 2, 1, 1))
    found = [f(prompts, 0.5, c, w).tokens[0, 0, 0] for c, w in ((1.0, 1.0), (0.5, 1.0), (1.0, 3.0))]
    np.testing.assert_allclose(found, [0.5, 1.0, 0.125])
    assert len(traces) == 1


def test_every_image_may_have_its_own_progress():
    # Prompts 4 and 8 of image 0, 0 and 100 of image 1.
    numbers = np.array([[4.0, 8.0], [0.0, 100.0]], np.float32)[..., None, None]
    found = marquee.header(Prompt(tokens=numbers), np.array([0.25, 1.0]), 1.0, 1.0)
    np.testing.assert_array_equal(found.tokens[:, 0, 0], [5, 100])
    found = marquee.header(Prompt(tokens=numbers), np.array([0.0, 0.25]), 0.5, 1.0)
    np.testing.assert_array_equal(found.tokens[:, 0, 0], [4, 50])
