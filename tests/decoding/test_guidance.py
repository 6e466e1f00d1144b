"""Guidance: both conventions by hand, and the table of scale schedules."""

import jax.numpy as jnp
import numpy as np
import pytest

from maskgit_prompt.decoding import guidance
from maskgit_prompt.errors import UsageError
from maskgit_prompt.models.prompts import Prompt


def test_guide():
    c, u = jnp.array([2.0, 0.0]), jnp.array([1.0, 4.0])
    np.testing.assert_array_equal(guidance.guide(c, u, 3.0), [4, -8])
    np.testing.assert_array_equal(guidance.guide(c, u, 1.0), c)
    np.testing.assert_array_equal(guidance.guide(c, u, 0.0), u)


def test_the_other_convention_is_one_less():
    c, u, w = 2.0, 1.0, 2.0
    assert guidance.guide(c, u, 1 + w) == (1 + w) * c - w * u == 4


def test_both_has_the_rows_of_the_condition_first():
    cond = Prompt(layers=jnp.array([1.0, 2.0]).reshape(2, 1, 1, 1))
    uncond = Prompt(layers=jnp.array([8.0, 9.0]).reshape(2, 1, 1, 1))
    assert guidance.both(cond, uncond).layers.ravel().tolist() == [1, 2, 8, 9]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("constant", [5, 5, 5, 5, 5]),
        ("linear", [1, 2, 3, 4, 5]),
        ("cosine", [1, 1.5858, 3, 4.4142, 5]),
        ("power-cosine", [1, 1.0384, 1.5858, 3.3902, 5]),
    ],
)
def test_schedules(name, expected):
    progress = np.array([0, 0.25, 0.5, 0.75, 1], np.float32)
    np.testing.assert_allclose(guidance.schedule(name)(progress, 5.0, 2.0), expected, atol=5e-5)


def test_an_interval_has_guidance_and_its_ends_do():
    progress = np.array([0, 0.25, 0.5, 0.75, 1], np.float32)
    constant, linear = guidance.schedule("constant"), guidance.schedule("linear")
    np.testing.assert_array_equal(constant(progress, 5.0, 1.0, 0.25, 0.5), [1, 5, 5, 1, 1])
    np.testing.assert_array_equal(linear(progress, 5.0, 1.0, 0.5, 1.0), [1, 1, 3, 4, 5])
    whole = constant(progress, 5.0, 1.0, 0.0, 1.0)
    np.testing.assert_array_equal(whole, constant(progress, 5.0, 1.0))


def test_unknown_schedule():
    with pytest.raises(UsageError, match="'sine'; use one of constant, linear, cosine, power-cos"):
        guidance.schedule("sine")
