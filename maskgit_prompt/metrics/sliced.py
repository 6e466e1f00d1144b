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
    (2, 3), so 3 · (2² + 1²) / 2 = 7.5. From the larger set, as many rows are drawn as the
    smaller one has. Draws are seeded, by numpy's generator: torch-fidelity draws other directions.

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
        gaps = np.sort(some @ real.T) - np.sort(some @ generated.T)  # [some, n]
        total += float(np.sum(np.mean(gaps**2, axis=1)))
    return SCALE * real.shape[1] * total / directions


def resampled(
    real: np.ndarray, generated: np.ndarray, of_real: np.ndarray, of_generated: np.ndarray
) -> np.ndarray:
    """mind in _AT_ONCE directions, once for each row of weights: float64 [draws].

    Where one set is larger, each rank of the smaller is compared with the larger's at that place.

    Args:
      real, generated: [n, D] and [m, D].
      of_real, of_generated: how often an image is drawn, [draws, n] and [draws, m].
    """
    dims = real.shape[1]
    some = next(_directions(dims, _AT_ONCE, np.random.default_rng(0)))
    count = min(len(real), len(generated))

    real, generated = some @ real.T, some @ generated.T  # [directions, n], [directions, m]

    def drawn(projected: np.ndarray, weights: np.ndarray) -> np.ndarray:  # -> [directions, count]
        ranked = np.sort(np.repeat(projected, weights, axis=1))
        return ranked[:, ((np.arange(count) + 0.5) * (ranked.shape[1] / count)).astype(int)]

    gaps = (
        drawn(real, u) - drawn(generated, w) for u, w in zip(of_real, of_generated, strict=True)
    )
    return np.array([SCALE * dims * np.mean(gap**2) for gap in gaps])


def _directions(dims: int, count: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Unit vectors [at most _AT_ONCE, D], `count` in all.

    Raises:
      UsageError: none.
    """
    if count < 1:
        raise UsageError(f"{count} directions to project on, expected 1 or more")
    for first in range(0, count, _AT_ONCE):
        some = rng.standard_normal((min(_AT_ONCE, count - first), dims))
        yield some / np.linalg.norm(some, axis=1, keepdims=True)
