"""Loss functions. All are computed in float32."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

Array = jax.Array


AFFINITIES = ("softmax", "argmax")
ADVERSARIAL = ("hinge", "non_saturating")


def smoothed_cross_entropy(logits: Array, labels: Array, smoothing: float) -> Array:
    """Cross entropy against one-hot · (1 - smoothing) + smoothing / V, [..., V], [...] -> [...]."""
    targets = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), smoothing)
    return optax.softmax_cross_entropy(logits.astype(jnp.float32), targets)


def masked_cross_entropy(
    logits: Array, labels: Array, weights: Array, smoothing: float = 0.0
) -> Array:
    """Mean over images of the mean over an image's chosen positions (arXiv 2202.04200, eq. 3).

    Losses 1, 3, 8 with weights 1, 1, 0 in one image and weights 0, 0, 0 in another give
    (2 + 0) / 2 = 1: an image without chosen positions counts as 0 and still divides.

    Args:
      logits: [B, L, V]; labels: [B, L]; weights: [B, L] of 0 and 1.
    """
    loss = smoothed_cross_entropy(logits, labels, smoothing) * weights
    return jnp.mean(jnp.sum(loss, -1) / jnp.maximum(jnp.sum(weights, -1), 1e-8))


def entropy_loss(affinity: Array, temperature: float = 1.0, kind: str = "softmax") -> Array:
    """Mean entropy of each feature's choice of code, minus the entropy of the mean choice.

    It is low if every feature is sure of its code and all codes are in use, so it keeps the
    codebook from collapsing. kind "argmax" takes the hard choice, straight-through.

    Args:
      affinity: [..., V], larger is nearer, such as minus the squared distances.
    """
    affinity = affinity.reshape(-1, affinity.shape[-1]) / temperature
    probabilities = jax.nn.softmax(affinity)
    log_probabilities = jax.nn.log_softmax(affinity + 1e-5)
    if kind == "argmax":
        hard = jax.nn.one_hot(jnp.argmax(affinity, -1), affinity.shape[-1])
        probabilities = probabilities + jax.lax.stop_gradient(hard - probabilities)
    elif kind != "softmax":
        raise ValueError(f"entropy loss {kind!r}, expected softmax or argmax")
    average = jnp.mean(probabilities, 0)
    of_average = -jnp.sum(average * jnp.log(average + 1e-5))
    return -jnp.mean(jnp.sum(probabilities * log_probabilities, -1)) - of_average


@dataclasses.dataclass(frozen=True)
class QuantizerWeights:
    """The factors of `quantizer_losses`, and how it takes the entropy.

    Published VQGANs were trained with the first two swapped, commitment 1 and codebook 0.25
    (CompVis/taming-transformers#57), and without the entropy.

    Attributes:
      commitment, codebook, entropy: the terms' factors.
      temperature, kind: see `entropy_loss`.
    """

    commitment: float = 0.25
    codebook: float = 1.0
    entropy: float = 0.1
    temperature: float = 0.01
    kind: str = "softmax"


def quantizer_losses(
    features: Array, codebook: Array, distances: Array, weights: QuantizerWeights
) -> tuple[Array, dict[str, Array]]:
    """Straight-through codes and the terms of the tokenizer's codebook loss.

    Args:
      features: [B, h, h, E]; codebook: [V, E]; distances: [B, h, h, V], squared.

    Returns:
      ([B, h, h, E], {"commitment", "codebook", "entropy"}, each times its factor).
    """
    codes = codebook[jnp.argmin(distances, -1)]  # [B, h, h, E]
    stop = jax.lax.stop_gradient
    entropy = entropy_loss(-distances, weights.temperature, weights.kind)
    terms = {
        "commitment": weights.commitment * jnp.mean((stop(codes) - features) ** 2),
        "codebook": weights.codebook * jnp.mean((codes - stop(features)) ** 2),
        "entropy": weights.entropy * entropy,
    }
    return features + stop(codes - features), terms


def perplexity(shares: Array) -> Array:
    """exp of the entropy of code shares [..., V] that sum to 1: the effective number of codes."""
    return jnp.exp(-jnp.sum(shares * jnp.log(shares + 1e-5), -1))


def discriminator_loss(real: Array, fake: Array, kind: str = "hinge") -> Array:
    """Loss of a discriminator with logits [B, 1]: "hinge" or "non_saturating".

    Hinge: mean(relu(1 - real) + relu(1 + fake)). Real 0.5 and fake -2 give 0.5 + 0 = 0.5.
    Non-saturating: the sum, not the mean, of both cross entropies (arXiv 1406.2661).
    """
    if kind == "hinge":
        return jnp.mean(jax.nn.relu(1 - real) + jax.nn.relu(1 + fake))
    cross_entropy = optax.sigmoid_binary_cross_entropy
    return jnp.mean(
        cross_entropy(real, jnp.ones_like(real)) + cross_entropy(fake, jnp.zeros_like(fake))
    )


def generator_loss(fake: Array, kind: str = "hinge") -> Array:
    """The generator's loss, from logits [B, 1] of its images `fake`: -mean(fake) for "hinge"."""
    if kind == "hinge":
        return -jnp.mean(fake)
    return jnp.mean(optax.sigmoid_binary_cross_entropy(fake, jnp.ones_like(fake)))


def gradient_penalty(
    discriminator: Callable[[Array], Array], images: Array, cost: float = 10.0
) -> Array:
    """R1: cost times the mean over images of |∂ logit / ∂ image|², without a factor of 1/2.

    If the logit is 3 times the sum of an image's 4 pixels, each gradient is 3: 4 · 9 · 10 = 360.
    Source: arXiv 1801.04406, eq. 9.

    Args:
      discriminator: images [B, S, S, 3] -> logits [B, 1]; images: real ones.
    """
    gradient = jax.grad(lambda images: jnp.sum(discriminator(images)))(images)
    return cost * jnp.mean(jnp.sum(gradient**2, (1, 2, 3)))
