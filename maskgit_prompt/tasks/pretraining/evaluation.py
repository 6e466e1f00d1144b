"""Losses of held-out images, in their plain views."""

from collections.abc import Callable

import jax
import numpy as np

from maskgit_prompt.backbones.compiled import in_batches
from maskgit_prompt.devices import sharding
from maskgit_prompt.params import Tree
from maskgit_prompt.progress import progress
from maskgit_prompt.tasks.pretraining.lesson import Setup
from maskgit_prompt.tuning.train import Batch
from maskgit_prompt.tuning.tune import Evaluation

ROWS, PIXELS = 64, 2**20  # images and pixels scored at once, at most: 64 of 128 x 128


def evaluations(setup: Setup, losses: Callable[[Tree, Batch], jax.Array]) -> dict[str, Evaluation]:
    """{"heldout": the mean loss of held-out images}, or nothing where none are held out.

    losses: compiled, of the whole tree and a batch with "pixels" and "class_ids": [B].
    """
    rows, mesh, labels = setup.scored(), setup.mesh, setup.corpus.images.labels
    if not len(rows):
        return {}
    most = max(1, min(ROWS, PIXELS // setup.view_maker.size**2, len(rows)))
    size = sharding.whole(most, mesh)

    def heldout(tree: Tree) -> float:
        with jax.set_mesh(mesh), progress(len(rows), "evaluate", "image", delay=5.0) as bar:

            def one(chosen: np.ndarray) -> np.ndarray:
                batch = {
                    "pixels": setup.view_maker(chosen, np.zeros_like(chosen)),
                    "class_ids": labels[chosen].astype(np.int32),
                }
                found = sharding.to_host(losses(tree, sharding.to_global(batch, mesh)), mesh)
                bar.update(len(np.unique(chosen)))  # the last batch is filled up
                return found

            return float(np.mean(in_batches(one, rows, size)))

    return {"heldout": heldout}
