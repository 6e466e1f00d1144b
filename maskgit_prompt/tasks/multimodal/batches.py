"""Batches of examples to tune on: pure functions of seed and step."""

from collections.abc import Callable

import numpy as np

from maskgit_prompt.data import batches
from maskgit_prompt.tasks.multimodal.asked import Asked
from maskgit_prompt.tasks.multimodal.words import padded

Pictures = Callable[[np.ndarray], np.ndarray]  # rows of examples -> uint8 [k, S, S, 3]


class Batches:
    """step -> {"images", "source", "target"} as `model.Multimodal` takes them.

    Of several right answers one is drawn, by their weights.

    Args:
      twice: every example stands in the batch twice, b and b + B / 2, for R-Drop.
    """

    def __init__(self, asked: Asked, pictures: Pictures, seed: int, size: int, twice: bool):
        self._asked, self._pictures, self._seed = asked, pictures, seed
        self._size, self._twice = size, twice

    def __call__(self, step: int) -> dict[str, np.ndarray]:
        rows = batches.batch_indices(self._seed, step, len(self._asked), self._size)
        rng = batches.generator(self._seed, (batches.STREAM_VIEW, step))
        targets = [self._drawn(row, rng) for row in rows]
        found = {
            "images": self._pictures(rows),
            "source": self._asked.sources[rows],
            "target": padded(targets, self._asked.longest),
        }
        if self._twice:
            found = {name: np.concatenate([x, x]) for name, x in found.items()}
        return found

    def _drawn(self, row: int, rng: np.random.Generator) -> list[int]:
        weights = np.array(self._asked.examples.weights[row])
        targets = self._asked.targets[row]
        return targets[rng.choice(len(targets), p=weights / weights.sum())]
