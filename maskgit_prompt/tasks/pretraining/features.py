"""The stage that trains a feature network: it learns to tell the classes of images."""

import functools

import jax
import jax.numpy as jnp
from flax import nnx

from maskgit_prompt.data.ahead import Ahead
from maskgit_prompt.params import Tree
from maskgit_prompt.tasks import losses
from maskgit_prompt.tasks.pretraining.batches import PixelBatches
from maskgit_prompt.tasks.pretraining.evaluation import evaluations
from maskgit_prompt.tasks.pretraining.lesson import Lesson, Setup
from maskgit_prompt.tuning.train import Batch, LossFn
from maskgit_prompt.tuning.tune import Examples

SMOOTHING = 0.1


def lesson(setup: Setup) -> Lesson:
    """Cross entropy of the classes, of new views in every step."""
    config, corpus, classifier = setup.config, setup.corpus, setup.network.graphdef
    batches = PixelBatches(corpus, setup.view_maker, config.seed, config.train.batch_size)
    heldout = evaluations(setup, jax.jit(functools.partial(_cross_entropy, classifier)))
    examples = Examples(len(corpus), Ahead(batches), heldout, what="features")
    return Lesson(classifier_loss(classifier), {"features": setup.own}, examples)


def classifier_loss(classifier: nnx.GraphDef) -> LossFn:
    """Cross entropy and accuracy of the feature network: pixels [B, S, S, 3], class_ids [B]."""

    def loss_fn(tree: Tree, batch: Batch, key: jax.Array):
        model = nnx.merge(classifier, tree["features"])
        logits = model(batch["pixels"].astype(jnp.float32) / 255)
        loss = jnp.mean(losses.smoothed_cross_entropy(logits, batch["class_ids"], SMOOTHING))
        return loss, {"accuracy": jnp.mean(jnp.argmax(logits, -1) == batch["class_ids"])}

    return loss_fn


def _cross_entropy(classifier: nnx.GraphDef, tree: Tree, batch: Batch) -> jax.Array:
    logits = nnx.merge(classifier, tree["features"])(batch["pixels"].astype(jnp.float32) / 255)
    return losses.smoothed_cross_entropy(logits, batch["class_ids"], 0.0)
