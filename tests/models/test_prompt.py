"""The prompt generator: what it makes of conditions, and how many parameters that takes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from maskgit_prompt import params
from maskgit_prompt.models.prompt import KINDS, NONE, PromptConfig, PromptGenerator
from maskgit_prompt.source import abstract

CLASSES, INSTANCES, TOKENS, WIDTH = 3, 4, 2, 6
SIZES = dict(tokens=TOKENS, width=WIDTH, classes=CLASSES, instances=INSTANCES)


@functools.cache
def make(**changes) -> PromptGenerator:
    return PromptGenerator(PromptConfig(**{**SIZES, **changes}), rngs=nnx.Rngs(0))


def count(**changes) -> int:
    cfg = PromptConfig(**{**SIZES, **changes})
    return params.count(abstract(lambda rngs: PromptGenerator(cfg, rngs=rngs)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("depth", [1, 5])
def test_shapes(kind, depth):
    tokens = make(kind=kind, depth=depth)(jnp.array([0, 2, NONE]), jnp.array([3, NONE, NONE]))
    assert tokens.shape == (3, depth, TOKENS, WIDTH) and tokens.dtype == jnp.float32
    # Every token of every layer and every condition is one of its own.
    flat = np.asarray(tokens).reshape(-1, WIDTH)
    assert len(np.unique(flat.round(6), axis=0)) == 3 * depth * TOKENS


@pytest.mark.parametrize("kind", KINDS)
def test_a_dropped_condition_is_an_absent_one(kind):
    generate, none = make(kind=kind), jnp.full(2, NONE)
    ids, instances = jnp.array([0, 2]), jnp.array([1, 3])
    same = np.testing.assert_array_equal
    same(generate(ids, none), generate(ids))
    same(generate(none, instances), generate(None, instances))
    unconditional = generate(none, none)
    same(unconditional, generate(none))
    same(unconditional[0], unconditional[1])
    both = generate(ids, instances)
    for other in (generate(ids), generate(None, instances), unconditional):
        assert np.all(np.max(np.abs(both - other), axis=(1, 2, 3)) > 1e-4)


def test_a_generator_without_a_table_takes_no_such_condition():
    generate = make(kind="table", instances=0)
    ids = jnp.array([0, 1])
    np.testing.assert_array_equal(generate(ids, jnp.array([5, 7])), generate(ids))


def test_table_by_hand():
    generate = make(kind="table")
    tokens = generate(jnp.array([1]), jnp.array([2]))[0, 0]
    expected = generate.classes[1] + generate.instances[2] + generate.positions[...]
    np.testing.assert_allclose(tokens, expected, rtol=1e-6)


def layer_norm(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True)


def test_additive_by_hand():
    generate = make(kind="additive")
    tokens = generate(jnp.array([1]), jnp.array([2]))[0, 0]
    condition = np.asarray(generate.classes[1] + generate.instances[2])
    expected = layer_norm(condition + np.asarray(generate.positions[...]))
    np.testing.assert_allclose(tokens, expected, rtol=1e-4, atol=1e-5)


def test_factorized_by_hand():
    generate = make(kind="factorized", factors=2, embedding=5)
    tokens = generate(jnp.array([1]), jnp.array([NONE]))[0, 0]
    factors = 1.0 + np.asarray(generate.classes[1])  # u_f begins as ones [F, R]
    x = np.sum(factors * np.asarray(generate.positions[...]), axis=1)  # [P, R]
    expected = layer_norm(x) @ np.asarray(generate.out.kernel[...])
    np.testing.assert_allclose(tokens, expected, rtol=1e-4, atol=1e-5)


def test_parameter_counts():
    # table: (C + I + 1) · P · D
    assert count(kind="table") == (3 + 4 + 1) * 2 * 6 == 96
    assert count(kind="table", depth=5) == 5 * 96
    # additive: C, I and P rows of D, and a LayerNorm; with a dense layer rows of R.
    assert count(kind="additive") == (3 + 4 + 2) * 6 + 2 * 6 == 66
    dense = 5 * 6 + 6
    assert count(kind="additive", embedding=5, dense=True) == (3 + 4 + 2) * 5 + 2 * 5 + dense
    # factorized: (1 + C + I + P) · F · R, a LayerNorm and the MLP.
    rows = (1 + 3 + 4 + 2) * 2 * 5
    assert count(kind="factorized", factors=2, embedding=5) == rows + 2 * 5 + dense == 146
    hidden = (5 * 7 + 7) + (7 * 6 + 6)
    assert count(kind="factorized", factors=2, embedding=5, hidden=7) == rows + 2 * 5 + hidden
    # depth adds slots: 1 + C + I + 5 · P rows.
    assert count(kind="factorized", embedding=5, depth=5) == (1 + 3 + 4 + 10) * 5 + 10 + dense
    # A table left out.
    assert count(kind="table", instances=0) == (3 + 1) * 2 * 6


def test_conditions_are_dropped_at_their_rates_with_a_key_only():
    generate = make(kind="table", drop_class=0.25, drop_instance=0.5)
    num = 4000
    ids, instances = jnp.zeros(num, jnp.int32), jnp.ones(num, jnp.int32)
    tokens = generate(ids, instances, jax.random.key(0))[:, 0]  # [B, P, D]
    condition = np.asarray(tokens - generate.positions[...])
    is_ = lambda value: np.all(np.abs(condition - np.asarray(value)) < 1e-5, axis=(1, 2))
    of_class, of_instance = generate.classes[0], generate.instances[1]
    shares = [is_(of_class + of_instance), is_(of_class), is_(of_instance), is_(0.0)]
    assert np.sum(shares) == num  # each image is one of the four
    # Independent: 0.75 · 0.5, 0.75 · 0.5, 0.25 · 0.5, 0.25 · 0.5. Deviation at most 0.008.
    np.testing.assert_allclose(np.mean(shares, 1), [0.375, 0.375, 0.125, 0.125], atol=0.03)
    still = generate(ids, instances)
    np.testing.assert_array_equal(still, jnp.broadcast_to(still[:1], still.shape))


def test_dropout_of_tokens():
    generate = make(kind="table", dropout=0.25)
    ids = jnp.zeros(500, jnp.int32)
    plain, dropped = generate(ids), generate(ids, key=jax.random.key(0))
    kept = np.asarray(dropped != 0)
    np.testing.assert_allclose(dropped[kept], plain[kept] / 0.75, rtol=1e-6)
    assert abs(np.mean(kept) - 0.75) < 0.02  # of 6000; deviation 0.006
    np.testing.assert_array_equal(dropped, generate(ids, key=jax.random.key(0)))
    assert np.any(dropped != generate(ids, key=jax.random.key(1)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(kind="soft"), "prompt kind 'soft', expected one of table, additive, factorized"),
        (dict(kind="additive", embedding=5), "embedding 5 without dense layer.*width 6.*dense"),
    ],
)
def test_configs_that_cannot_be(changes, message):
    with pytest.raises(ValueError, match=message):
        PromptConfig(**{**SIZES, **changes})
