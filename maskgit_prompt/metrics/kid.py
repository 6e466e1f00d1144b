"""Kernel distance (KID, Bińkowski et al., arXiv 1801.01401): unbiased polynomial MMD.

Unlike the Fréchet distance its expectation does not depend on the number of images, so it is the
number to read when there are few; it may be negative.
"""

import numpy as np

from maskgit_prompt.errors import UsageError
from maskgit_prompt.metrics.pairwise import check_features, check_same_dims

_BLOCK_ROWS = 4096


def polynomial_mmd(x: np.ndarray, y: np.ndarray) -> float:
    """Squared MMD of features x [n, D], y [m, D] with the kernel (x.y / D + 1)^3, unbiased.

    Mean kernel of two different x, plus that of two different y, minus twice that of an x and
    a y. One dimension, x = (1, 1), y = (0, 0): (1 + 1)^3 + 1^3 - 2 * 1^3 = 7.

    Raises:
      UserError: fewer than two rows, different dims, or values that are not finite.
    """
    x = check_features("real", x, at_least=2)
    y = check_features("generated", y, at_least=2)
    check_same_dims(x, y)
    n, m = len(x), len(y)
    within_x = (_kernel_sum(x, x) - _kernel_self_sum(x)) / (n * (n - 1))
    within_y = (_kernel_sum(y, y) - _kernel_self_sum(y)) / (m * (m - 1))
    return float(within_x + within_y - 2.0 * _kernel_sum(x, y) / (n * m))


def kid_each(
    real: np.ndarray,
    generated: np.ndarray,
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 2020,
) -> np.ndarray:
    """polynomial_mmd of `subsets` random subsets, float64 [subsets].

    Each draws min(subset_size, n, m) rows without replacement from real [n, D], then from
    generated [m, D], off one numpy RandomState(seed): the draws of torch-fidelity.

    Raises:
      UsageError: no subsets, or subsets of fewer than two.
      UserError: as polynomial_mmd.
    """
    if subsets < 1 or subset_size < 2:
        raise UsageError(
            f"{subsets} subsets of {subset_size} images: expected at least 1 of at least 2"
        )
    real = check_features("real", real, at_least=2)
    generated = check_features("generated", generated, at_least=2)
    size = min(subset_size, len(real), len(generated))
    draws = np.random.RandomState(seed)
    values = []
    for _ in range(subsets):
        of_real = draws.choice(len(real), size, replace=False)
        of_generated = draws.choice(len(generated), size, replace=False)
        values.append(polynomial_mmd(real[of_real], generated[of_generated]))
    return np.array(values)


def kid(
    real: np.ndarray,
    generated: np.ndarray,
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 2020,
) -> tuple[float, float]:
    """Mean and population deviation of kid_each: the KID that papers report (often x 1000)."""
    values = kid_each(real, generated, subsets, subset_size, seed)
    return float(values.mean()), float(values.std())


def resampled(
    real: np.ndarray, generated: np.ndarray, of_real: np.ndarray, of_generated: np.ndarray
) -> np.ndarray:
    """polynomial_mmd, once for each row of weights: float64 [draws].

    A pair of one image with itself, drawn twice, does not count.

    Args:
      real, generated: [n, D] and [m, D].
      of_real, of_generated: how often an image is drawn, [draws, n] and [draws, m].
    """
    x, y = np.asarray(real, np.float64), np.asarray(generated, np.float64)
    u, w = of_real.astype(np.float64), of_generated.astype(np.float64)

    def within(x: np.ndarray, u: np.ndarray) -> np.ndarray:
        kernel = _kernel(x @ x.T, x)
        np.fill_diagonal(kernel, 0.0)
        pairs = u.sum(axis=1) ** 2 - (u**2).sum(axis=1)
        return np.sum(u @ kernel * u, axis=1) / np.maximum(pairs, 1)  # none of one image alone

    between = np.sum(u @ _kernel(x @ y.T, x) * w, axis=1) / (u.sum(axis=1) * w.sum(axis=1))
    return within(x, u) + within(y, w) - 2.0 * between


def _kernel_sum(x: np.ndarray, y: np.ndarray) -> float:
    starts = range(0, len(x), _BLOCK_ROWS)
    return sum(float(np.sum(_kernel(x[i : i + _BLOCK_ROWS] @ y.T, x))) for i in starts)


def _kernel_self_sum(x: np.ndarray) -> float:
    return float(np.sum(_kernel(np.sum(x * x, axis=1), x)))


def _kernel(products: np.ndarray, x: np.ndarray) -> np.ndarray:
    base = products / x.shape[1] + 1.0
    return base * base * base  # numpy's power takes twenty times as long
