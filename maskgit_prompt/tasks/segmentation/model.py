"""A frozen vision transformer with what is tuned around it and a head for pixels.

Shapes: B batch, S image size, g patches a side, D width, C classes.
"""

import jax
import jax.numpy as jnp
import optax

from maskgit_prompt.data.masks import IGNORED
from maskgit_prompt.devices import sharding
from maskgit_prompt.params import Tree
from maskgit_prompt.tasks.classification.model import Classifier
from maskgit_prompt.tuning.train import Batch, LossFn

Array = jax.Array


class Segmenter(Classifier):
    """What computes logits [B, S, S, C] of images: the head sees the patches where they lie."""

    def features(self, tree: Tree, images: Array, key: Array | None = None) -> Array:
        """[B, S, S, 3] -> [B, g, g, D]; a key means training: prompt tokens are dropped."""
        encoder, images, prompt, how = self.prepared(tree, images, key)
        x, _ = encoder.hidden(images, prompt, pin=sharding.split_batch, **how)
        return encoder.patch_grid(x)


def segmentation_loss(model: Segmenter) -> LossFn:
    """Cross entropy of each pixel's class, mean over the batch's pixels that count.

    The batch has images [B, S, S, 3] and masks [B, S, S].
    """

    def loss_fn(tree: Tree, batch: Batch, key: Array):
        masks = batch["masks"].astype(jnp.int32)
        counted = masks != IGNORED
        logits = model.logits(tree, batch, key)
        labels = jnp.where(counted, masks, 0)
        losses = optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels)
        mean = lambda x: jnp.sum(jnp.where(counted, x, 0)) / jnp.maximum(jnp.sum(counted), 1)
        return mean(losses), {"accuracy": mean(jnp.argmax(logits, -1) == labels)}

    return loss_fn
