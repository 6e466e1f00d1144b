"""MIND, the Monge Inception Distance (arXiv 2605.06797): a sliced Wasserstein distance of features.

Features are projected onto random directions, along each of which the best assignment of the
generated images to the real ones is that by rank. No covariance is estimated. By the paper's count
1,000 to 5,000 images order models as 50,000 do by FID.
"""

from collections.abc import Iterator

import numpy as np

from maskgit_prompt.errors import UsageError
from maskgit_prompt.metrics.pairwise import check_features, check_same_dims

DIRECTIONS = 1000
SCALE = 3.0  # times D, with which the paper brings the distance to the size of FID
_AT_ONCE = 64  # directions


def mind(
    real: np.ndarray, generated: np.ndarray, directions: int = DIRECTIONS, seed: int = 2020
) -> float:
    """3 D times the mean squared distance of ranked projections, real [n, D], generated [m, D].

    In one dimension, where both directions give the same, (0, 4) and (3, 2): ranked (0, 4) and
    (2, 3), so 3 · (2² + 1²) / 2 = 7.5. Of the larger set as many are drawn as the smaller has.
    What is drawn is seeded, with numpy's generator: torch-fidelity draws other directions.

    Raises:
      UserError: an empty set, different dims, values that are not finite. UsageError: no
        directions.
    """
    real = check_features("real", real, at_least=1)
    generated = check_features("generated", generated, at_least=1)
    check_same_dims(real, generated)
    rng = np.random.default_rng(seed)
    count = min(len(real), len(generated))
    real, generated = (
        x if len(x) == count else x[rng.permutation(len(x))[:count]] for x in (real, generated)
    )
    total = 0.0
    for some in _directions(real.shape[1], directions, rng):
        gaps = np.sort(real @ some, axis=0) - np.sort(generated @ some, axis=0)  # [n, some]
        total += float(np.sum(np.mean(gaps**2, axis=0)))
    return SCALE * real.shape[1] * total / directions


def _directions(dims: int, count: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Unit vectors [D, at most _AT_ONCE], `count` in all.

    Raises:
      UsageError: none.
    """
    if count < 1:
        raise UsageError(f"{count} directions to project on, expected 1 or more")
    for first in range(0, count, _AT_ONCE):
        some = rng.standard_normal((dims, min(_AT_ONCE, count - first)))
        yield some / np.linalg.norm(some, axis=0)
