"""The stage that trains an encoder for classifiers: with a linear head it learns to tell classes.

The head is not kept; every task trains one of its own.
"""

import functools

import jax
import jax.numpy as jnp

from maskgit_prompt import params, streams
from maskgit_prompt.data.ahead import Ahead
from maskgit_prompt.devices import sharding
from maskgit_prompt.models.head import AXES, Head, HeadConfig
from maskgit_prompt.params import Tree
from maskgit_prompt.tasks import losses
from maskgit_prompt.tasks.classification.model import Classifier
from maskgit_prompt.tasks.classification.protocols import Normalization
from maskgit_prompt.tasks.pretraining.batches import PixelBatches
from maskgit_prompt.tasks.pretraining.evaluation import evaluations
from maskgit_prompt.tasks.pretraining.lesson import Lesson, Setup
from maskgit_prompt.tuning.train import Batch, LossFn
from maskgit_prompt.tuning.tune import Examples

SMOOTHING = 0.1


def lesson(setup: Setup) -> Lesson:
    """Cross entropy of the classes, of new views in every step."""
    config, corpus, network = setup.config, setup.corpus, setup.network
    sizes = HeadConfig(network.cfg.features, len(corpus.images.classes))
    head, init = params.create(lambda rngs: Head(sizes, rngs=rngs))
    key = jax.random.key(streams.seed_of(config.seed, "prompt"))
    own = sharding.place({"head": jax.device_get(jax.jit(init)(key))}, setup.mesh, AXES)
    model = Classifier(
        network.graphdef, head, normalization=Normalization(network.cfg.mean, network.cfg.std)
    )
    batches = PixelBatches(corpus, setup.view_maker, config.seed, config.train.batch_size)
    heldout = evaluations(setup, jax.jit(functools.partial(_cross_entropy, model)))
    examples = Examples(len(corpus), Ahead(batches), heldout, what="encoder")
    return Lesson(encoder_loss(model), {"encoder": setup.own, **own}, examples)


def encoder_loss(model: Classifier) -> LossFn:
    """Smoothed cross entropy and accuracy: pixels uint8 [B, S, S, 3], class_ids [B]."""

    def loss_fn(tree: Tree, batch: Batch, key: jax.Array):
        logits = model.logits(tree, {"images": batch["pixels"]})
        loss = jnp.mean(losses.smoothed_cross_entropy(logits, batch["class_ids"], SMOOTHING))
        return loss, {"accuracy": jnp.mean(jnp.argmax(logits, -1) == batch["class_ids"])}

    return loss_fn


def _cross_entropy(model: Classifier, tree: Tree, batch: Batch) -> jax.Array:
    logits = model.logits(tree, {"images": batch["pixels"]})
    return losses.smoothed_cross_entropy(logits, batch["class_ids"], 0.0)
