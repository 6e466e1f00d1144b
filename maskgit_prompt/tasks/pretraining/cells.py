"""A loss on the cells of an image's grid: each says what it shows of a scene, and where that ends.

Answers alone teach an image's grid slowly: one word for a picture says little about its sixteen
cells. The head is not kept.

Shapes: B batch, I cells of an image, S = I + tokens of the source, D width.
"""

import itertools

import jax
import jax.numpy as jnp
from flax import nnx

from maskgit_prompt.data.sets.scene_cells import ATTRIBUTES
from maskgit_prompt.models.kind import Axes
from maskgit_prompt.params import Tree
from maskgit_prompt.tasks.multimodal.model import LossConfig, Multimodal, means, target_sums
from maskgit_prompt.tuning.train import Batch, LossFn

Array = jax.Array

CHOICES = tuple(1 + len(names) for names in ATTRIBUTES)
AXES: Axes = ((r"cells/.*", None),)
EDGES = 4.0  # factor of the edges' loss; they are shares of the side


class CellHead(nnx.Module):
    """[B, I, D] -> logits of each attribute [B, I, 1 + its names], edges [B, I, 4]."""

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        self.out = nnx.Linear(width, sum(CHOICES) + 4, rngs=rngs)

    def __call__(self, x: Array) -> tuple[list[Array], Array]:
        *logits, edges = jnp.split(self.out(x), list(itertools.accumulate(CHOICES)), axis=-1)
        return logits, edges


def cell_loss(found: tuple[list[Array], Array], names: Array, edges: Array, there: Array) -> Array:
    """Cross entropy of the attributes, mean over cells, and how far off edges are.

    Args:
      found: as CellHead gives it.
      names, edges: as `cells_of` gives them, int [B, I, 3] and float [B, I, 4].
      there: bool [B], which examples have an image.
    """
    logits, guessed = found
    seen = jnp.broadcast_to(there[:, None], names.shape[:2]).astype(jnp.float32)
    mean = lambda x, weights: jnp.sum(x * weights) / jnp.maximum(jnp.sum(weights), 1)
    loss = EDGES * mean(jnp.abs(guessed - edges).mean(-1), seen * (names[..., 0] > 0))
    for attribute, of_cell in enumerate(logits):
        likely = jnp.take_along_axis(
            jax.nn.log_softmax(of_cell), names[..., attribute, None], axis=-1
        )
        loss -= mean(likely[..., 0], seen)
    return loss


def scene_loss(model: Multimodal, cfg: LossConfig, head: nnx.GraphDef, factor: float) -> LossFn:
    """Cross entropy of targets, and `factor` times the loss of the image's cells.

    head: the graph of a CellHead, on what the encoder makes of an image; its parameters are "cells"
    of the tree.
    """

    def loss_fn(tree: Tree, batch: Batch, key: Array):
        memory, logits = model.read(tree, batch, key)
        loss, metrics = means(target_sums(logits, cfg, batch["target"]))
        names, edges = batch["cell_names"], batch["cell_edges"]
        found = nnx.merge(head, tree["cells"])(memory.x[:, : names.shape[1]])
        cells = cell_loss(found, names, edges, batch["there"])
        return loss + factor * cells, metrics | {"cells": cells}

    return loss_fn
