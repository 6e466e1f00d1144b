"""Losses of held-out images, in their plain views."""

from collections.abc import Callable, Mapping

import jax
import numpy as np

from maskgit_prompt.devices import sharding
from maskgit_prompt.params import Tree
from maskgit_prompt.progress import progress
from maskgit_prompt.tasks.pretraining.lesson import Setup

ROWS, PIXELS = 64, 2**20  # images and pixels scored at once, at most: 64 of 128 x 128


def evaluate_in_batches(
    setup: Setup,
    rows: np.ndarray,
    measure: Callable[[Tree, dict[str, jax.Array]], Mapping[str, jax.Array]],
) -> Callable[[Tree], dict[str, float]]:
    """A function of the whole tree that gives the means of what `measure` gives for each image.

    Args:
      rows: of the corpus, at least one.
      measure: compiled, of the tree and a batch with "pixels" and "class_ids".
    """
    size = setup.scenes.size
    most = max(1, min(ROWS, PIXELS // size**2, len(rows)))
    step = -(-most // setup.mesh.size) * setup.mesh.size
    labels = setup.corpus.images.labels

    def evaluate(tree: Tree) -> dict[str, float]:
        found: dict[str, list[np.ndarray]] = {}
        bar = progress(len(rows), "evaluate", "image", delay=5.0)
        with jax.set_mesh(setup.mesh), bar as shown:
            for first in range(0, len(rows), step):
                chosen = rows[np.arange(first, first + step).clip(max=len(rows) - 1)]
                batch = {
                    "pixels": setup.scenes(chosen, np.zeros_like(chosen)),
                    "class_ids": labels[chosen].astype(np.int32),
                }
                values = measure(tree, sharding.to_global(batch, setup.mesh))
                count = min(step, len(rows) - first)
                for name, value in values.items():
                    kept = sharding.to_host(value, setup.mesh)[:count]
                    found.setdefault(name, []).append(kept)
                shown.update(count)
        return {name: float(np.mean(np.concatenate(parts))) for name, parts in found.items()}

    return evaluate
