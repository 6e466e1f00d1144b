"""Batches of examples to tune on: pure functions of seed and step."""

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from maskgit_prompt.data import batches
from maskgit_prompt.tasks.multimodal.asked import Asked
from maskgit_prompt.tasks.multimodal.words import padded

AHEAD = 3  # batches that are made before they are asked for
KEPT_BYTES = 2**31  # of pixels that are kept in memory


class Pictures:
    """Rows of examples -> uint8 [k, S, S, 3]; read once, and kept if they are few."""

    def __init__(self, asked: Asked, side: int):
        self._read, self._there = asked.examples.read, np.zeros(len(asked), bool)
        few = len(asked) * side**2 * 3 <= KEPT_BYTES
        self._kept = np.empty((len(asked), side, side, 3), np.uint8) if few else None

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        if self._kept is None:
            return self._read(rows)
        new = np.unique(rows[~self._there[rows]])
        if len(new):
            self._kept[new] = self._read(new)
            self._there[new] = True
        return self._kept[rows]


class Batches:
    """step -> {"images", "source", "target"} as `model.Multimodal` takes them.

    Of several right answers one is drawn, by their weights.

    Args:
      twice: every example stands in the batch twice, b and b + B / 2, for R-Drop.
      steps: of the whole run, beyond which no batch is made ahead.
    """

    def __init__(
        self, asked: Asked, pictures: Pictures, seed: int, size: int, steps: int, twice: bool
    ):
        self._asked, self._pictures, self._seed = asked, pictures, seed
        self._size, self._steps, self._twice = size, steps, twice
        self._pool = ThreadPoolExecutor(1, "batches")
        self._started: dict[int, Future] = {}

    def __call__(self, step: int) -> dict[str, np.ndarray]:
        for ahead in range(step, min(step + AHEAD, self._steps)):
            if ahead not in self._started:
                self._started[ahead] = self._pool.submit(self._make, ahead)
        return self._started.pop(step).result()

    def _make(self, step: int) -> dict[str, np.ndarray]:
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
