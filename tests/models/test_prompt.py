"""The prompt generator: what it makes of conditions, and how many parameters that takes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from maskgit_prompt import params
from maskgit_prompt.backbones import abstract
from maskgit_prompt.models.prompt import KINDS, NONE, PromptConfig, PromptGenerator

CLASSES, INSTANCES, TOKENS, WIDTH = 3, 4, 2, 6
SIZES = dict(tokens=TOKENS, width=WIDTH, classes=CLASSES, instances=INSTANCES)


@functools.cache
def make(**changes) -> PromptGenerator:
    """A generator whose every parameter is random."""
    cfg = PromptConfig(**{**SIZES, **changes})
    graphdef, init = params.create(lambda rngs: PromptGenerator(cfg, rngs=rngs))
    rng = np.random.default_rng(0)
    draw = lambda x: jnp.asarray(rng.standard_normal(x.shape, np.float32))
    return nnx.merge(graphdef, jax.tree.map(draw, jax.eval_shape(init, jax.random.key(0))))


@jax.jit
def made(generator, class_ids, instance_ids=None, key=None):
    return generator(class_ids, instance_ids, key)


def call(*args) -> jax.Array:
    """The tokens [B, P, D] of a prompt that is put in front once."""
    return made(*args).tokens


def value(parameter) -> np.ndarray:
    return np.asarray(parameter[...])


def count(**changes) -> int:
    cfg = PromptConfig(**{**SIZES, **changes})
    return params.count(abstract(lambda rngs: PromptGenerator(cfg, rngs=rngs)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "sizes, place, slots",
    [
        ({}, "tokens", (TOKENS,)),
        (dict(depth=5), "layers", (5, TOKENS)),
        (dict(depth=5, prefix=True), "prefix", (5, 2, TOKENS)),
        (dict(depth=1, prefix=True), "prefix", (1, 2, TOKENS)),
    ],
)
def test_shapes(kind, sizes, place, slots):
    prompt = made(make(kind=kind, **sizes), jnp.array([0, 2, NONE]), jnp.array([3, NONE, NONE]))
    assert prompt.place == place
    assert prompt.array.shape == (3, *slots, WIDTH) and prompt.array.dtype == jnp.float32
    # Every vector of every layer and every condition is one of its own.
    flat = np.asarray(prompt.array).reshape(-1, WIDTH)
    assert len(np.unique(flat.round(4), axis=0)) == 3 * np.prod(slots)


@pytest.mark.parametrize("kind", KINDS)
def test_a_dropped_condition_is_an_absent_one(kind):
    generator, none = make(kind=kind), jnp.full(2, NONE)
    ids, instances = jnp.array([0, 2]), jnp.array([1, 3])
    same = functools.partial(np.testing.assert_allclose, rtol=0, atol=1e-5)
    same(call(generator, ids, none), call(generator, ids))
    same(call(generator, none, instances), call(generator, None, instances))
    unconditional = np.asarray(call(generator, none, none))
    same(unconditional, call(generator, none))
    same(unconditional[0], unconditional[1])
    both = call(generator, ids, instances)
    for other in (call(generator, ids), call(generator, None, instances), unconditional):
        assert np.all(np.max(np.abs(both - other), axis=(1, 2)) > 0.01)


def test_a_generator_without_a_table_takes_no_such_condition():
    generator = make(kind="table", instances=0)
    ids = jnp.array([0, 1])
    np.testing.assert_array_equal(call(generator, ids, jnp.array([5, 7])), call(generator, ids))


def test_table_by_hand():
    generator = make(kind="table")
    tokens = call(generator, jnp.array([1]), jnp.array([2]))[0]
    expected = value(generator.classes)[1] + value(generator.instances)[2]
    np.testing.assert_allclose(tokens, expected + value(generator.positions), rtol=1e-5)


def test_a_dense_table_by_hand():
    generator = make(kind="table", embedding=3, dense=True, depth=2)
    tokens = made(generator, jnp.array([1])).layers[0].reshape(-1, WIDTH)
    x = value(generator.positions) + value(generator.classes)[1]  # [depth · P, R]
    expected = x @ value(generator.dense.kernel) + value(generator.dense.bias)
    np.testing.assert_allclose(tokens, expected, rtol=1e-4, atol=1e-5)


def test_layers_that_share_their_tokens():
    generator = make(kind="table", shared=True, depth=3)
    layers = made(generator, jnp.array([1])).layers[0]
    alone = value(generator.positions) + value(generator.classes)[1]
    assert layers.shape == (3, TOKENS, WIDTH)
    np.testing.assert_allclose(layers, np.stack([alone] * 3), rtol=1e-6)
    assert count(kind="table", shared=True, depth=3) == count(kind="table")


STAGES = dict(kind="table", classes=0, instances=0, stages=(1, 3))


def test_stages_have_tokens_of_their_own_widths():
    generator = make(**STAGES, dropout=0.5)
    prompt = made(generator, jnp.array([NONE, NONE]))
    assert [x.shape for x in prompt.stages] == [(2, 1, TOKENS, WIDTH), (2, 3, TOKENS, 2 * WIDTH)]
    for i, x in enumerate(prompt.stages):
        whole = value(generator.positions[str(i)]).reshape(x.shape[1:])
        np.testing.assert_array_equal(x, np.stack([whole] * 2))
    dropped = made(generator, jnp.array([NONE, NONE]), None, jax.random.key(0))
    for x in dropped.stages:  # each image's own
        assert 0.2 < np.mean(np.asarray(x) == 0) < 0.8
        assert (np.asarray(x[0] == 0) != np.asarray(x[1] == 0)).any()
    assert count(**STAGES) == TOKENS * WIDTH + 3 * TOKENS * 2 * WIDTH
    assert PromptConfig(**SIZES | STAGES).slots == (4, TOKENS)


@pytest.mark.parametrize("sizes", [dict(kind="table", classes=0, instances=0), STAGES])
def test_a_uniform_start(sizes):
    cfg = PromptConfig(**SIZES | sizes | dict(tokens=500, uniform=0.25))
    tree = nnx.to_pure_dict(nnx.state(PromptGenerator(cfg, rngs=nnx.Rngs(0))))
    for x in jax.tree.leaves(tree["positions"]):
        assert -0.25 <= x.min() < -0.24 and 0.24 < x.max() <= 0.25 and abs(x.mean()) < 0.01


def layer_norm(norm: nnx.LayerNorm, x: np.ndarray) -> np.ndarray:
    x = (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True)
    return x * value(norm.scale) + value(norm.bias)


def test_additive_by_hand():
    generator = make(kind="additive")
    tokens = call(generator, jnp.array([1]), jnp.array([2]))[0]
    condition = value(generator.classes)[1] + value(generator.instances)[2]
    expected = layer_norm(generator.norm, condition + value(generator.positions))
    np.testing.assert_allclose(tokens, expected, rtol=1e-4, atol=1e-5)


def test_factorized_by_hand():
    generator = make(kind="factorized", factors=2, embedding=5)
    tokens = call(generator, jnp.array([1]), jnp.array([NONE]))[0]
    factors = value(generator.base) + value(generator.classes)[1]  # [F, R]
    x = np.sum(factors * value(generator.positions), axis=1)  # [P, R]
    x = layer_norm(generator.norm, x)
    expected = x @ value(generator.out.kernel) + value(generator.out.bias)
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
    generator = make(kind="table", drop_class=0.25, drop_instance=0.5)
    num = 4000
    ids, instances = jnp.zeros(num, jnp.int32), jnp.ones(num, jnp.int32)
    tokens = call(generator, ids, instances, jax.random.key(0))  # [B, P, D]
    condition = np.asarray(tokens) - value(generator.positions)
    is_ = lambda expected: np.all(np.abs(condition - expected) < 1e-5, axis=(1, 2))
    of_class, of_instance = value(generator.classes)[0], value(generator.instances)[1]
    shares = [is_(of_class + of_instance), is_(of_class), is_(of_instance), is_(0.0)]
    assert np.sum(shares) == num  # each image is one of the four
    # Independent: 0.75 · 0.5, 0.75 · 0.5, 0.25 · 0.5, 0.25 · 0.5. Deviation at most 0.008.
    np.testing.assert_allclose(np.mean(shares, 1), [0.375, 0.375, 0.125, 0.125], atol=0.03)
    still = np.asarray(call(generator, ids, instances))
    np.testing.assert_array_equal(still, np.broadcast_to(still[:1], still.shape))


def test_dropout_of_tokens():
    generator = make(kind="table", dropout=0.25)
    ids, keys = jnp.zeros(500, jnp.int32), jax.random.split(jax.random.key(0))
    plain = np.asarray(call(generator, ids))
    dropped, again = (np.asarray(call(generator, ids, None, key)) for key in (keys[0], keys[1]))
    kept = dropped != 0
    np.testing.assert_allclose(dropped[kept], plain[kept] / 0.75, rtol=1e-6)
    assert abs(np.mean(kept) - 0.75) < 0.02  # of 6000; deviation 0.006
    assert np.any(dropped != again)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(kind="soft"), "kind = 'soft', expected one of table, additive, factorized"),
        (dict(kind="additive", embedding=5), "embedding = 5, expected the width 6.*dense=True"),
        (dict(kind="table", shared=True), "shared = True, expected it with .* more than one layer"),
        (
            dict(kind="additive", depth=2, shared=True),
            "shared = True, expected it with kind 'table'",
        ),
        (dict(kind="table", stages=(2, 2)), "expected them with kind 'table' alone: no conditions"),
        (dict(uniform=-1.0), "uniform = -1.0, expected 0 or more"),
    ],
)
def test_configs_that_cannot_be(changes, message):
    with pytest.raises(ValueError, match=message):
        PromptConfig(**{**SIZES, **changes})
