"""Losses of tokenizers and feature networks, as functions of a tree, a batch and a key."""

import jax
import jax.numpy as jnp
from flax import nnx

from maskgit_prompt.params import Tree
from maskgit_prompt.tasks import losses
from maskgit_prompt.tuning.train import Batch, LossFn

Array = jax.Array


def tokenizer_loss(tokenizer: nnx.GraphDef, weights: losses.QuantizerWeights) -> LossFn:
    """Pixel loss |x - y| + (x - y)² and the codebook's losses, of pixels [B, S, S, 3]."""

    def loss_fn(tree: Tree, batch: Batch, key: Array):
        model = nnx.merge(tokenizer, tree["tokenizer"])
        images = batch["pixels"].astype(jnp.float32) / 255
        features = model.features(images)
        distances = model.distances(features)
        codes, terms = losses.quantizer_losses(features, model.codebook[...], distances, weights)
        error = model.decode_features(codes) - images
        pixel = jnp.mean(jnp.abs(error)) + jnp.mean(error**2)
        use = jnp.mean(jax.nn.one_hot(jnp.argmin(distances, -1), distances.shape[-1]), (0, 1, 2))
        terms = {**terms, "pixel": pixel, "codes_in_use": losses.perplexity(use)}
        terms["psnr"] = -10 * jnp.log10(jnp.mean(error**2))
        loss = pixel + terms["commitment"] + terms["codebook"] + terms["entropy"]
        return loss, terms

    return loss_fn


def classifier_loss(classifier: nnx.GraphDef) -> LossFn:
    """Cross entropy and accuracy of the feature network: pixels [B, S, S, 3], class_ids [B]."""

    def loss_fn(tree: Tree, batch: Batch, key: Array):
        model = nnx.merge(classifier, tree["features"])
        logits = model(batch["pixels"].astype(jnp.float32) / 255)
        loss = jnp.mean(losses.smoothed_cross_entropy(logits, batch["class_ids"], 0.1))
        return loss, {"accuracy": jnp.mean(jnp.argmax(logits, -1) == batch["class_ids"])}

    return loss_fn
