"""A codebook of moving averages, by hand."""

import jax
import jax.numpy as jnp
import numpy as np

from maskgit_prompt.tasks.pretraining.codebook import MovingAverage

KEY = jax.random.key(0)


def test_a_code_becomes_the_average_of_what_chose_it():
    average = MovingAverage(0.5)
    codebook = jnp.array([[2.0], [9.0]])
    usage = average.usage(codebook)
    features, chosen = jnp.array([[4.0], [6.0]]), jnp.array([0, 0])
    codebook, usage = average.renewed(codebook, usage, features, chosen, KEY)
    # Counts 0.5 + 0.5 * 2 and 0.5; sums 0.5 * 2 + 0.5 * 10 and 0.5 * 9.
    np.testing.assert_allclose(usage["count"], [1.5, 0.5])
    np.testing.assert_allclose(usage["sum"], [[6.0], [4.5]])
    np.testing.assert_allclose(codebook, [[4.0], [9.0]])  # what nothing chose stays
    codebook, usage = average.renewed(codebook, usage, jnp.array([[8.0]]), jnp.array([1]), KEY)
    np.testing.assert_allclose(codebook, [[4.0], [(2.25 + 4) / (0.25 + 0.5)]], rtol=1e-6)


def test_the_decay_is_of_what_was():
    average = MovingAverage(0.75)
    codebook = jnp.array([[2.0]])
    features, chosen = jnp.array([[4.0], [6.0]]), jnp.array([0, 0])
    codebook, usage = average.renewed(codebook, average.usage(codebook), features, chosen, KEY)
    # Count 0.75 + 0.25 * 2, sum 0.75 * 2 + 0.25 * 10.
    np.testing.assert_allclose(usage["count"], [1.25])
    np.testing.assert_allclose(codebook, [[4.0 / 1.25]])


def test_codes_that_nothing_chooses_start_again_from_a_feature():
    average = MovingAverage(0.5, revive=0.3)
    codebook = jnp.array([[0.0], [50.0], [60.0]])
    usage = average.usage(codebook)
    features, chosen = jnp.array([[1.0], [2.0], [3.0]]), jnp.array([0, 0, 0])
    once, usage = average.renewed(codebook, usage, features, chosen, KEY)
    np.testing.assert_allclose(once[1:], [[50.0], [60.0]])  # 0.5 is above 0.3
    twice, usage = average.renewed(once, usage, features, chosen, KEY)  # 0.25 is below
    assert set(np.ravel(twice[1:]).tolist()) <= {1.0, 2.0, 3.0}
    np.testing.assert_allclose(usage["count"][1:], 1.0)
