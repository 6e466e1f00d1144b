"""The losses of a tokenizer: how near a reconstruction is, to the eye and to a critic.

The sum is l1 |x - y| + l2 (x - y)² + perceptual distance + the codebook's terms + how well a
discriminator is deceived (VQGAN, arXiv 2012.09841, eq. 4 to 7).
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from maskgit_prompt import params
from maskgit_prompt.params import Tree
from maskgit_prompt.tasks import losses
from maskgit_prompt.tasks.losses import QuantizerWeights
from maskgit_prompt.tasks.pretraining.codebook import MovingAverage
from maskgit_prompt.tuning import train
from maskgit_prompt.tuning.train import Batch, LossFn

Array = jax.Array
# (the whole parameter tree, images [B, S, S, 3] in [0, 1], others) -> [B].
Distance = Callable[[Tree, Array, Array], Array]
LAST = "tokenizer/decoder/conv_out/kernel"
MOST = 1e4  # of the adaptive weight


@dataclasses.dataclass(frozen=True)
class Nearness:
    """How the distance between an image and its reconstruction is measured.

    Attributes:
      l1, l2: factors of the mean of |x - y| and of (x - y)².
      perceptual: factor of `distance`.
      distance: a perceptual distance; only with `perceptual` above 0.
    """

    l1: float = 1.0
    l2: float = 1.0
    perceptual: float = 0.0
    distance: Distance | None = None

    def terms(self, tree: Tree, images: Array, made: Array) -> dict[str, Array]:
        """name -> [B], each times its factor; "loss" is their sum. Also "mse", without a factor."""
        error = made - images
        mse = jnp.mean(error**2, (1, 2, 3))
        terms = {"pixel": self.l1 * jnp.mean(jnp.abs(error), (1, 2, 3)) + self.l2 * mse}
        if self.perceptual:
            terms["perceptual"] = self.perceptual * self.distance(tree, images, made)
        return {**terms, "loss": sum(terms.values()), "mse": mse}


@dataclasses.dataclass(frozen=True)
class Critic:
    """The discriminator that a tokenizer is trained against.

    Attributes:
      graphdef: of the discriminator, with parameters "discriminator" in the tree.
      weight: factor of the tokenizer's part, `losses.generator_loss`.
      kind: "hinge" or "non_saturating".
      adaptive: multiply the weight by the ratio of the gradients that the other terms and this one
        have at the decoder's last kernel, 1e4 at most (VQGAN, eq. 7).
      penalty: cost of the gradient penalty R1; batches say in which steps it counts.
    """

    graphdef: nnx.GraphDef
    weight: float
    kind: str = "hinge"
    adaptive: bool = False
    penalty: float = 0.0

    def logits(self, tree: Tree, images: Array) -> Array:
        return nnx.merge(self.graphdef, tree["discriminator"])(images)


def tokenizer_loss(
    tokenizer: nnx.GraphDef,
    nearness: Nearness,
    weights: QuantizerWeights,
    average: MovingAverage | None = None,
    critic: Critic | None = None,
) -> LossFn:
    """The tokenizer's loss of a batch with pixels uint8 [B, S, S, 3].

    With a critic the batch has "adversarial" [B], what its term is multiplied by: 0 before the
    discriminator plays. With `average` the codebook has no gradient and is renewed as stats.
    """

    def loss_fn(tree: Tree, batch: Batch, key: Array):
        model = nnx.merge(tokenizer, tree["tokenizer"])
        images = batch["pixels"].astype(jnp.float32) / 255
        features = model.features(images)
        distances = model.distances(features)
        codes, terms = losses.quantizer_losses(features, model.codebook[...], distances, weights)
        made = model.decode_features(codes)
        per_image = nearness.terms(tree, images, made)
        near = {name: jnp.mean(x) for name, x in per_image.items()}
        loss = near.pop("loss")
        metrics = {"psnr": -10 * jnp.log10(near.pop("mse")), **near}
        chosen = jnp.argmin(distances, -1)
        use = jnp.mean(jax.nn.one_hot(chosen, distances.shape[-1]), (0, 1, 2))
        metrics["codes_in_use"] = losses.perplexity(use)
        if average is not None:
            # The codebook follows the features; they alone are drawn to it.
            terms = {**terms, "codebook": jnp.zeros(())}
            flat = jax.lax.stop_gradient(features).reshape(-1, features.shape[-1])
            codebook, usage = average.renewed(
                model.codebook[...], tree["usage"], flat, chosen.ravel(), key
            )
            metrics[train.STATS] = {"tokenizer": {"codebook": codebook}, "usage": usage}
        if critic is not None:
            deceived = losses.generator_loss(critic.logits(tree, made), critic.kind)
            factor = critic.weight * jnp.mean(batch["adversarial"])
            if critic.adaptive:
                ratio = _ratio(tokenizer, nearness, critic, tree, images, codes)
                metrics["adaptive"] = ratio
                factor = factor * ratio
            metrics["adversarial"] = deceived
            loss = loss + factor * deceived
        loss = loss + terms["commitment"] + terms["codebook"] + terms["entropy"]
        return loss, {**metrics, **terms}

    return loss_fn


def _ratio(tokenizer, nearness: Nearness, critic: Critic, tree: Tree, images, codes) -> Array:
    """|gradient of nearness| / |gradient of deceiving|, by the decoder's last kernel."""
    codes = jax.lax.stop_gradient(codes)
    flat = params.flatten(tree)

    def made(kernel):
        own = params.unflatten({**flat, LAST: kernel})["tokenizer"]
        return nnx.merge(tokenizer, own).decode_features(codes)

    near = lambda kernel: jnp.mean(nearness.terms(tree, images, made(kernel))["loss"])
    deceive = lambda kernel: losses.generator_loss(critic.logits(tree, made(kernel)), critic.kind)
    norms = [jnp.linalg.norm(jax.grad(f)(flat[LAST]).ravel()) for f in (near, deceive)]
    return jax.lax.stop_gradient(jnp.clip(norms[0] / (norms[1] + 1e-4), 0.0, MOST))


def discriminator_loss(tokenizer: nnx.GraphDef, critic: Critic) -> LossFn:
    """The discriminator's loss of pixels uint8 [B, S, S, 3] and their reconstructions.

    With a penalty the batch has "penalty" [B], what R1 is multiplied by in this step; where it is 0
    the penalty is not computed.
    """

    def loss_fn(tree: Tree, batch: Batch, key: Array):
        model = nnx.merge(tokenizer, tree["tokenizer"])
        images = batch["pixels"].astype(jnp.float32) / 255
        side = model.cfg.latent_size
        codes = model.encode(images).reshape(-1, side, side)
        made = jax.lax.stop_gradient(model.decode_features(model.codebook[...][codes]))
        real, fake = critic.logits(tree, images), critic.logits(tree, made)
        loss = losses.discriminator_loss(real, fake, critic.kind)
        metrics = {"real": jnp.mean(real), "fake": jnp.mean(fake)}
        if critic.penalty:
            factor = jnp.mean(batch["penalty"])
            measure = lambda: losses.gradient_penalty(
                lambda x: critic.logits(tree, x), images, critic.penalty
            )
            penalty = jax.lax.cond(factor > 0, measure, lambda: jnp.zeros(()))
            metrics["penalty"] = penalty
            loss = loss + factor * penalty
        return loss, metrics

    return loss_fn


def heldout_loss(tokenizer: nnx.GraphDef, nearness: Nearness) -> Callable[[Tree, Batch], Array]:
    """A compiled function of the whole tree and a batch with pixels uint8 [B, S, S, 3]: [B], how
    far each image is from its reconstruction, without codebook and critic."""

    @jax.jit
    def losses_of(tree: Tree, batch: Batch) -> Array:
        model = nnx.merge(tokenizer, tree["tokenizer"])
        images = batch["pixels"].astype(jnp.float32) / 255
        return nearness.terms(tree, images, model.decode(model.encode(images)))["loss"]

    return losses_of
