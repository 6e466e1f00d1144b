"""Precision and recall (arXiv 1904.06991), density and coverage (arXiv 2002.09797).

All four ask which points lie in balls around the points of the other set; a point's ball reaches
to its k-th nearest other point of its own set.
"""

import numpy as np

from maskgit_prompt.errors import UserError
from maskgit_prompt.metrics.pairwise import (
    blocks,
    check_features,
    check_same_dims,
    squared_distances,
)

# A point exactly on a ball's edge is inside (copies make such ties): this much is rounding.
_EDGE = 1.0 + 1e-9


def radii(features: np.ndarray, k: int) -> np.ndarray:
    """Distance of each row of features [n, D] to its k-th nearest other row, float64 [n].

    Points 0, 1, 3 on a line: 1, 1, 2 for k = 1 and 3, 2, 3 for k = 2.

    Raises:
      UserError: no more than k rows.
    """
    features = check_features("the", features)
    if len(features) <= k or k < 1:
        raise UserError(
            f"{len(features)} images for {k} neighbours: each image needs k >= 1 others; "
            "give more images or a smaller k"
        )
    nearest = np.full((len(features), k), np.inf)  # [n, k], squared
    for rows, columns, squared in blocks(features, features):
        if rows == columns:
            np.fill_diagonal(squared, np.inf)
        merged = np.concatenate([nearest[rows], squared], axis=1)  # [n', k + m']
        nearest[rows] = np.partition(merged, k - 1, axis=1)[:, :k]
    return np.sqrt(nearest.max(axis=1))


def precision_recall(real: np.ndarray, generated: np.ndarray, k: int = 3) -> dict[str, float]:
    """The four numbers for features real [n, D] and generated [m, D].

    precision: share of generated points inside at least one real ball (fidelity).
    recall: share of real points inside at least one generated ball (diversity).
    density: mean number of real balls around a generated point, over k; may exceed 1.
    coverage: share of real balls that hold at least one generated point.

    Real 0, 1, 10 and generated 0.5, 20 on a line, k = 1: the real radii are 1, 1, 9; 0.5 is in
    the balls of 0 and 1, and 20 in none: precision 1/2, density (2 + 0) / 2 / 1 = 1, coverage
    2/3; both generated radii are 19.5, so 0, 1 and 10 are all covered: recall 1.

    Raises:
      UserError: no more than k points in a set, different dims, values that are not finite.
    """
    real, generated = check_features("real", real), check_features("generated", generated)
    check_same_dims(real, generated)
    real_reach = radii(real, k) ** 2 * _EDGE  # [n]
    generated_reach = radii(generated, k) ** 2 * _EDGE  # [m]
    balls_around = np.zeros(len(generated), np.int64)
    points_inside = np.zeros(len(real), np.int64)
    recalled = np.zeros(len(real), bool)
    for rows, columns, squared in blocks(real, generated):
        in_real_ball = squared <= real_reach[rows, None]  # [n', m']
        balls_around[columns] += in_real_ball.sum(axis=0)
        points_inside[rows] += in_real_ball.sum(axis=1)
        recalled[rows] |= (squared <= generated_reach[None, columns]).any(axis=1)
    return {
        "precision": float(np.mean(balls_around > 0)),
        "recall": float(np.mean(recalled)),
        "density": float(np.mean(balls_around) / k),
        "coverage": float(np.mean(points_inside > 0)),
    }


def realism(real: np.ndarray, generated: np.ndarray, k: int = 3) -> np.ndarray:
    """How well each generated image lies among real ones, float64 [m]; above about 1: inside.

    The largest of radius² / (distance² + 1e-5) over real points (arXiv 1904.06991, section 5, where
    the ratio is not squared and half of the balls are left out: this is as its code has it). Real
    0, 1, 10 with k = 1 and generated 4: 81 / 36 from 10's ball, 1 / 9 and 1 / 16 from the others'.

    Raises:
      UserError: as precision_recall.
    """
    real, generated = check_features("real", real), check_features("generated", generated)
    check_same_dims(real, generated)
    reach = radii(real, k) ** 2  # [n]
    best = np.zeros(len(generated))
    for rows, columns, squared in blocks(real, generated):
        inside = reach[rows, None] / (squared + 1e-5)  # [n', m']
        best[columns] = np.maximum(best[columns], inside.max(axis=0))
    return best


def resampled(
    real: np.ndarray,
    generated: np.ndarray,
    of_real: np.ndarray,
    of_generated: np.ndarray,
    k: int = 3,
) -> dict[str, np.ndarray]:
    """The four numbers, once for each row of weights: name -> float64 [draws].

    Balls reach as far as among all images: among images that are drawn twice they would shrink.

    Args:
      real, generated: [n, D] and [m, D].
      of_real, of_generated: how often an image is drawn, [draws, n] and [draws, m].
    """
    squared = squared_distances(real, generated)  # [n, m]
    in_real = (squared <= radii(real, k)[:, None] ** 2 * _EDGE).astype(np.float32)
    in_generated = (squared <= radii(generated, k)[None] ** 2 * _EDGE).astype(np.float32)
    mean = lambda values, weights: np.sum(values * weights, axis=1) / weights.sum(axis=1)
    u, w = of_real.astype(np.float32), of_generated.astype(np.float32)
    return {
        "precision": mean((u > 0) @ in_real > 0, w),
        "recall": mean((w > 0) @ in_generated.T > 0, u),
        "density": mean(u @ in_real, w) / k,
        "coverage": mean((w > 0) @ in_real.T > 0, u),
    }
