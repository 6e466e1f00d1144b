"""Which images of several sources make the batch of a step, in given proportions.

A pure function of (seed, step), as batches.batch_indices is for one source.
"""

from collections.abc import Sequence

import numpy as np

from maskgit_prompt.data import batches
from maskgit_prompt.data.splits import shares
from maskgit_prompt.errors import UsageError

PERIOD = 1000  # places, shared out among the sources; the walk repeats them in the same order


class Mixture:
    """A walk through several sources: of every PERIOD images each source has its share.

    Each source is walked through in epochs of its own, so that none of its images comes again
    before all have come.

    Args:
      parts: rows of each source, none empty.
      weights: of the sources, above 0; only their proportions count.
      seed: of the order.

    Raises:
      UsageError: a weight that is not above 0 or less than 1 / PERIOD of all, a source without
        images.
    """

    def __init__(self, parts: Sequence[np.ndarray], weights: Sequence[float], seed: int):
        weights = np.asarray(weights, np.float64)
        if len(weights) != len(parts) or not (weights > 0).all():
            raise UsageError(
                f"weights {weights.tolist()} for {len(parts)} sources: expected one above 0 for "
                "each"
            )
        counts = shares(PERIOD, weights / weights.sum())
        for part, count in zip(parts, counts, strict=True):
            if not len(part) or not count:
                raise UsageError(
                    f"weights {weights.tolist()} for sources of {[len(p) for p in parts]} images: "
                    f"expected images in each, and at least 1/{PERIOD} of all weights for it"
                )
        self._parts, self._seed = [np.asarray(part, np.int64) for part in parts], seed
        self._counts = counts
        order = np.repeat(np.arange(len(parts)), counts)
        # [PERIOD]: the source of each place, and how many places before it are the source's own.
        self._source = batches.generator(seed, (batches.STREAM_MIXTURE,)).permutation(order)
        self._before = np.zeros(PERIOD, np.int64)
        for source in range(len(parts)):
            own = self._source == source
            self._before[own] = np.arange(own.sum())

    def rows(self, step: int, batch_size: int) -> np.ndarray:
        """Rows of the (global) batch of a step, [batch_size] int64."""
        places = step * batch_size + np.arange(batch_size)
        rounds, place = np.divmod(places, PERIOD)
        sources = self._source[place]
        found = np.empty(batch_size, np.int64)
        for source, part in enumerate(self._parts):
            here = np.flatnonzero(sources == source)
            if not len(here):
                continue
            visit = rounds[here] * self._counts[source] + self._before[place[here]]
            # Consecutive, as the places are.
            walk = batches.visits(self._seed, int(visit[0]), len(part), len(here), source)
            found[here] = part[walk]
        return found
