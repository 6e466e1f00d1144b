"""Losses of sequences against the reference's sums, closed gradients, and cases by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskgit_prompt.decoding.constraints import IdRange, along
from maskgit_prompt.tasks.sequence_losses import (
    Sums,
    keep_best,
    sequence_sums,
    smoothed_and_plain,
    symmetric_divergence,
)
from tests.golden_models import Case

TOLERANCE = 1e-5


@functools.cache
def case() -> Case:
    return Case("ofa/loss_tiny")


def golden(kind: str):
    """(logits, targets, options) of a kind: all 12 tokens as one sequence, or as two passes."""
    config, logits, target = case().config, case()["in_logits"], case()["in_target"]
    options = {}
    if kind == "masked":
        options["allowed"] = case()["in_allowed"] > 0
    if kind == "range":
        target = case()["in_range_target"]
        ids = IdRange(config["range_start"], config["range_end"], others=(0, 1, 2, 3))
        options["allowed"] = along(ids, target[None], config["V"])[0]
    if kind == "drop":
        options["drop_worst"] = config["drop_worst_ratio"]
    if kind == "rdrop":
        options["r_drop"] = config["reg_alpha"]
    rows = 2 if kind == "rdrop" else 1
    shaped = lambda x: jnp.asarray(x).reshape(rows, len(x) // rows, *x.shape[1:])
    if "allowed" in options:
        options["allowed"] = shaped(options["allowed"])
    return shaped(logits), shaped(target), options


KINDS = ["plain", "masked", "range", "drop", "rdrop"]


@pytest.mark.parametrize("smoothing", ["00", "10"])
@pytest.mark.parametrize("kind", KINDS)
def test_golden(kind, smoothing):
    logits, targets, options = golden(kind)
    found = sequence_sums(
        logits, targets, jnp.ones(targets.shape), smoothing=int(smoothing) / 100, **options
    )
    expected = case()[f"out_{kind}_{smoothing}"]
    np.testing.assert_allclose([found.loss, found.nll, found.count], expected, rtol=TOLERANCE)


def weights_of_targets(targets, smoothing: float, allowed) -> np.ndarray:
    """[…, V]: what each id's -log p counts: the target's 1 - smoothing, the others' share."""
    target = np.arange(allowed.shape[-1]) == np.asarray(targets)[..., None]
    other = smoothing / (allowed.sum(-1, keepdims=True) - 1)
    return np.where(target, 1 - smoothing, np.where(allowed, other, 0))


@pytest.mark.parametrize("kind", ["plain", "masked", "range", "drop"])
def test_gradients_are_probabilities_less_the_targets(kind):
    logits, targets, options = golden(kind)
    ones = jnp.ones(targets.shape)
    loss = lambda x: sequence_sums(x, targets, ones, smoothing=0.1, **options).loss
    found = jax.grad(loss)(logits)
    allowed = np.broadcast_to(np.asarray(options.get("allowed", True)), logits.shape)
    shares = np.where(allowed, np.exp(np.asarray(logits, np.float64)), 0)
    expected = shares / shares.sum(-1, keepdims=True) - weights_of_targets(targets, 0.1, allowed)
    if kind == "drop":
        each = smoothed_and_plain(logits, targets, 0.1)[0]
        worst = np.argsort(each[0])[9:]
        expected[0, worst] = 0
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_gradient_of_r_drop_by_differences():
    logits, targets, options = golden("rdrop")
    allowed = (case()["in_allowed"] > 0).reshape(logits.shape)
    allowed[1] = allowed[0]
    allowed |= np.arange(allowed.shape[-1]) == np.asarray(targets)[..., None]
    ones = jnp.ones(targets.shape)
    loss = lambda x: sequence_sums(x, targets, ones, smoothing=0.1, allowed=allowed, **options).loss
    gradient = jax.grad(loss)(logits)
    assert np.isfinite(gradient).all()
    rng = np.random.default_rng(0)
    for _ in range(3):
        way = rng.normal(size=logits.shape).astype(np.float32)
        slope = (loss(logits + 1e-2 * way) - loss(logits - 1e-2 * way)) / 2e-2
        np.testing.assert_allclose(np.sum(np.asarray(gradient) * way), slope, rtol=5e-3)


# --- By hand -------------------------------------------------------------------------------------


def test_smoothing_by_hand():
    logits = jnp.array([[np.log(2.0), 0, 0], [0, 0, 0]])
    loss, plain = smoothed_and_plain(logits, jnp.array([0, 1]), 0.1)
    np.testing.assert_allclose(plain, [np.log(2), np.log(3)], rtol=1e-6)
    expected = [0.9 * np.log(2) + 2 * 0.05 * np.log(4), np.log(3)]
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_a_single_allowed_id_costs_nothing():
    allowed = jnp.array([[False, True, False]])
    loss, plain = smoothed_and_plain(jnp.array([[5.0, 0, 1]]), jnp.array([1]), 0.1, allowed)
    assert (float(loss[0]), float(plain[0])) == (0, 0)


def test_only_counted_tokens_count():
    logits = jnp.zeros((2, 2, 4)).at[1, 1, 0].set(50.0)
    weights = jnp.array([[1.0, 1], [1, 0]])
    found = sequence_sums(logits, jnp.ones((2, 2), int), weights)
    np.testing.assert_allclose([found.loss, found.nll, found.count], [3 * np.log(4)] * 2 + [3])


def test_padding_has_no_gradient_whatever_is_allowed_there():
    allowed = jnp.ones((1, 2, 3), bool).at[0, 1].set(False)
    loss = lambda x: (
        sequence_sums(
            x, jnp.zeros((1, 2), int), jnp.array([[1.0, 0]]), smoothing=0.1, allowed=allowed
        ).loss
    )
    gradient = jax.grad(loss)(jnp.zeros((1, 2, 3)))
    assert np.isfinite(gradient).all() and not gradient[0, 1].any() and gradient[0, 0].any()


def test_confidence_is_each_examples_own():
    logits, targets = jnp.zeros((2, 3, 4)), jnp.zeros((2, 3), int)
    weights = jnp.array([[1.0, 1, 1], [1, 0, 0]])
    found = sequence_sums(logits, targets, weights, confidence=jnp.array([0.5, 1.0]))
    expected = (3 * 0.5 + 1) * np.log(4)
    np.testing.assert_allclose([found.loss, found.nll, found.count], [expected, expected, 4])


def test_the_worst_by_hand():
    loss, weights = jnp.array([[1.0, 4], [2, 3]]), jnp.array([[1.0, 1], [1, 0]])
    assert keep_best(loss, weights, 0.3).tolist() == [[1, 0], [1, 0]]
    assert keep_best(loss, weights, 0.7).tolist() == [[0, 0], [0, 0]]
    assert keep_best(jnp.arange(10.0)[None], jnp.ones((1, 10)), 0.2).sum() == 8
    assert keep_best(jnp.zeros((1, 3)), jnp.ones((1, 3)), 0.5).tolist() == [[1, 0, 0]]  # equals


def test_the_worst_are_those_of_the_smoothed_loss():
    # The first target is the less likely one, but the second's other ids are nearly impossible.
    logits = jnp.log(jnp.array([[[0.4, 0.3, 0.3], [0.5, 0.499, 0.001]]]))
    targets, weights = jnp.zeros((1, 2), int), jnp.ones((1, 2))
    found = sequence_sums(logits, targets, weights, smoothing=0.5, drop_worst=0.5)
    np.testing.assert_allclose([found.nll, found.count], [-np.log(0.4), 1], rtol=1e-5)


def test_divergence_by_hand():
    logits = jnp.log(jnp.array([[0.5, 0.5], [0.25, 0.75]]))
    np.testing.assert_allclose(symmetric_divergence(logits), [np.log(3) / 8], rtol=1e-6)


def test_sums_of_parts_add_up():
    logits, targets, _ = golden("plain")
    ones = jnp.ones(targets.shape)
    whole = sequence_sums(logits, targets, ones, smoothing=0.1)
    halves = [
        sequence_sums(logits[:, part], targets[:, part], ones[:, part], smoothing=0.1)
        for part in (slice(0, 5), slice(5, 12))
    ]
    added = jax.tree.map(lambda a, b: a + b, *halves)
    assert isinstance(added, Sums)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), added, whole)
