"""Losses, masking and the mask's rates against the reference's, and small cases by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from maskgit_prompt.decoding import schedules
from maskgit_prompt.models.tokenizer import squared_distances
from maskgit_prompt.tasks import losses
from maskgit_prompt.tasks.generation import masking
from tests import golden_models
from tests.golden_models import Case, close


@functools.cache
def case() -> Case:
    return Case("maskgit/losses")


@pytest.mark.parametrize("smoothing", ["0", "0p1", "0p3"])
def test_masked_cross_entropy(smoothing):
    value = float(smoothing.replace("p", "."))
    found = losses.masked_cross_entropy(
        case()["in_logits"], case()["in_labels"], case()["in_weights"], value
    )
    close(found, case()[f"out_wce_{smoothing}"], 1e-6)


def test_gradient_of_masked_cross_entropy():
    grad = jax.grad(losses.masked_cross_entropy)(
        case()["in_logits"], case()["in_labels"], case()["in_weights"], 0.1
    )
    close(grad, case()["out_wce_grad_0p1"], 1e-5)


def test_masked_cross_entropy_agrees_with_the_other_repository():
    rows = case()["in_rows_nonempty"]
    found = losses.masked_cross_entropy(
        case()["in_logits"][rows], case()["in_labels"][rows], case()["in_weights"][rows], 0.1
    )
    close(found, case()["out_mg_wce_0p1"], 1e-6)
    plain = jnp.mean(losses.smoothed_cross_entropy(case()["in_logits"], case()["in_labels_ok"], 0))
    close(plain, case()["out_mg_sce"], 1e-6)


def test_an_image_without_chosen_positions_counts_as_zero():
    # Two codes, logits 0 and ln 3: probabilities 1/4 and 3/4.
    logits = jnp.broadcast_to(jnp.array([0.0, np.log(3.0)]), (2, 2, 2))
    labels, weights = jnp.array([[0, 1], [0, 1]]), jnp.array([[1.0, 1.0], [0.0, 0.0]])
    expected = (np.log(4) + np.log(4 / 3)) / 2 / 2
    np.testing.assert_allclose(
        losses.masked_cross_entropy(logits, labels, weights), expected, rtol=1e-6
    )


@pytest.mark.parametrize("kind", ["softmax", "argmax"])
@pytest.mark.parametrize("temperature", ["1", "0p1"])
def test_entropy_loss(kind, temperature):
    distances = squared_distances(case()["in_a"], case()["in_b"])
    close(distances, case()["out_sqdist"], 1e-6)
    affinity = -distances * case()["in_affinity_scale"]
    value = float(temperature.replace("p", "."))
    found, grad = jax.value_and_grad(losses.entropy_loss)(affinity, value, kind)
    close(found, case()[f"out_entropy_{kind}_{temperature}"], 1e-5)
    close(grad, case()[f"out_entropy_grad_{kind}_{temperature}"], 1e-5)


@pytest.mark.parametrize(("kind", "temperature"), [("softmax", 0.01), ("argmax", 1.0)])
def test_quantizer_losses_and_gradients(kind, temperature):
    tokenizer = Case("maskgit/tokenizer_tiny")
    graphdef, tree = golden_models.tokenizer(tokenizer, tokenizer.config)
    model = nnx.merge(graphdef, tree)
    features = jnp.asarray(tokenizer["out_features"])

    def total(codebook, features):
        through, terms = losses.quantizer_losses(
            features,
            codebook,
            squared_distances(features, codebook),
            losses.QuantizerWeights(temperature=temperature, kind=kind),
        )
        value = sum(terms.values())
        everything = value + jnp.mean(through * tokenizer["in_probe"])
        parts = [value, terms["commitment"], terms["codebook"], terms["entropy"], everything]
        return everything, jnp.stack(parts)

    grads, parts = jax.grad(total, (0, 1), has_aux=True)(model.codebook[...], features)
    close(parts, tokenizer[f"out_train_{kind}_losses"], 1e-5)
    close(grads[0], tokenizer[f"out_train_{kind}_grad_codebook"], 1e-4)
    close(grads[1], tokenizer[f"out_train_{kind}_grad_features"], 1e-4)


def test_perplexity():
    shares = jnp.mean(case()["in_onehot"], axis=1)  # each replica's own
    found = [losses.perplexity(jnp.mean(shares, 0)), *losses.perplexity(shares)]
    close(found, case()["out_perplexity"], 1e-6)
    np.testing.assert_allclose(losses.perplexity(jnp.full(4, 0.25)), 4, rtol=1e-3)


@pytest.mark.parametrize("kind", ["hinge", "non_saturating"])
def test_adversarial_losses(kind):
    real, fake = case()["in_real"], case()["in_fake"]
    close(losses.discriminator_loss(real, fake, kind), case()[f"out_d_{kind}"], 1e-6)
    close(losses.generator_loss(fake, kind), case()[f"out_g_{kind}"], 1e-6)


@pytest.mark.parametrize("number", range(5))
def test_mask_codes(number):
    ids = case()[f"in_mask_{number}_ids"]
    rate, mask_share, random_share = case()[f"in_mask_{number}_args"]
    masked, weights = masking.mask_codes(
        jax.random.PRNGKey(np.sum(ids, dtype=np.int32)),
        ids,
        rate,
        mask_share=float(mask_share),
        random_share=float(random_share),
        codebook=int(case()["in_mask_codes"]),
        pad=-1,
    )
    np.testing.assert_array_equal(masked, case()[f"out_mask_{number}_masked"])
    np.testing.assert_array_equal(weights, case()[f"out_mask_{number}_weights"])


def test_one_rate_for_the_batch_as_the_reference_draws_it():
    cosine = schedules.schedule("cosine")
    found = [
        masking.draw_rates(jax.random.PRNGKey(seed), 3, cosine, 16, shared=True)
        for seed in case()["in_ratio_seeds"]
    ]
    assert all(len(set(np.asarray(rates))) == 1 for rates in found)
    close(np.array(found)[:, 0], case()["out_train_ratio"], 1e-6)


def test_every_row_has_its_own_count():
    codes = jnp.arange(40).reshape(4, 10)
    masked, weights = masking.mask_codes(jax.random.key(0), codes, jnp.array([0.0, 0.31, 0.5, 1.0]))
    np.testing.assert_array_equal(jnp.sum(weights, 1), [1, 4, 5, 10])
    np.testing.assert_array_equal(masked == -1, weights == 1)
    np.testing.assert_array_equal(jnp.where(weights == 0, masked, codes), codes)
