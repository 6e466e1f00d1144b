"""Adversarial images of a loss whose gradient is known."""

import jax
import jax.numpy as jnp
import numpy as np

from maskgit_prompt.tasks import attacks

X = jnp.asarray(np.linspace(0, 1, 12, dtype=np.float32).reshape(1, 2, 2, 3))
SIGNS = jnp.asarray(np.where(np.arange(12) % 2, 1.0, -1.0).reshape(1, 2, 2, 3).astype(np.float32))


def loss(x):
    return jnp.sum(SIGNS * x)


def test_fgsm_goes_one_step_up_the_gradient_and_stays_in_range():
    found = attacks.fgsm(loss, X, 0.1)
    np.testing.assert_allclose(found, np.clip(X + 0.1 * SIGNS, 0, 1), atol=1e-6)
    assert loss(found) > loss(X)
    np.testing.assert_array_equal(attacks.fgsm(loss, X, 0.0), X)


def test_pgd_ends_at_the_corner_of_the_ball():
    found = attacks.pgd(loss, X, 0.1, jax.random.key(0), steps=10)
    np.testing.assert_allclose(found, np.clip(X + 0.1 * SIGNS, 0, 1), atol=1e-6)
    np.testing.assert_array_equal(attacks.pgd(loss, X, 0.0, jax.random.key(0), steps=3), X)


def test_pgd_starts_at_random_and_moves_by_its_step():
    flat = lambda x: jnp.sum(0.0 * x)  # no gradient: it stays where it began
    one, two = (attacks.pgd(flat, X, 0.1, jax.random.key(i), steps=2) for i in (0, 1))
    assert np.abs(one - two).max() > 0.02 and np.abs(one - X).max() <= 0.1 + 1e-6
    inner = jnp.full_like(X, 0.5)
    moved = attacks.pgd(loss, inner, 0.1, jax.random.key(0), steps=1, size=0.25)
    start = attacks.pgd(flat, inner, 0.1, jax.random.key(0), steps=1)
    expected = np.clip(start + 0.025 * SIGNS, 0.4, 0.6)
    np.testing.assert_allclose(moved, expected, atol=1e-6)
