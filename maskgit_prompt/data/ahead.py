"""Batches that are made in a thread while the model learns from earlier ones."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

AHEAD = 4  # batches that are made before they are asked for

Batch = dict[str, np.ndarray]


class Ahead:
    """step -> the batch of that step; a thread then goes on to those of the next steps.

    Args:
      make: step -> a batch; a pure function.
      steps: how many the run has, so that no batch is made beyond them; None if not known.
    """

    def __init__(self, make: Callable[[int], Batch], steps: int | None = None):
        self._make, self._steps = make, steps
        self._pool = ThreadPoolExecutor(1, "batches")
        self._started: dict[int, Future] = {}

    def __call__(self, step: int) -> Batch:
        end = step + AHEAD
        for ahead in range(step, end if self._steps is None else min(end, self._steps)):
            if ahead not in self._started:
                self._started[ahead] = self._pool.submit(self._make, ahead)
        return self._started.pop(step).result()
