"""The Fréchet distance between two sets of features, each taken as a normal distribution.

With Inception features this is FID (Heusel et al., arXiv 1706.08500); with any other features it
must not be called so. Everything is float64 numpy: a float32 covariance loses the digits at which
models differ.
"""

import dataclasses

import numpy as np
import scipy.linalg

from maskgit_prompt.errors import UserError
from maskgit_prompt.metrics.pairwise import check_features, check_same_dims

GROUPS = 20  # of images, one left out at a time
MOST_DIMS = 256
# Of FID-infinity: how many sizes of subsets, and the least where there are many images.
SIZES, LEAST_SIZE = 6, 5000
# Above, singular values are roots of eigenvalues: four times as quick, and off by some 1e-8 of the
# largest each.
EXACT_DIMS = 512


def statistics(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean [D] and covariance [D, D] (divisor n - 1) of features [n, D], float64.

    Rows (0, 0), (2, 4): mean (1, 2), covariance ((2, 4), (4, 8)).

    Raises:
      UserError: fewer than two rows, or a value that is not finite.
    """
    features = check_features("the", features, at_least=2)
    mean = features.mean(axis=0)  # [D]
    centred = features - mean
    return mean, centred.T @ centred / (len(features) - 1)  # [D, D]


def frechet_distance(
    mean1: np.ndarray, cov1: np.ndarray, mean2: np.ndarray, cov2: np.ndarray
) -> float:
    """|mean1 - mean2|^2 + tr(cov1) + tr(cov2) - 2 tr sqrt(cov1 cov2).

    In one dimension (m1 - m2)^2 + (s1 - s2)^2: means 0 and 3, variances 4 and 1 give
    9 + (2 - 1)^2 = 10. Symmetric; zero for equal statistics. Fewer images than dims are fine.

    With cov1 = A A^T and cov2 = B B^T the last trace is the sum of the singular values of A^T B,
    real and accurate where the covariances are singular and a general matrix root is neither.

    Args:
      mean1, mean2: [D].
      cov1, cov2: [D, D], symmetric.

    Raises:
      UserError: the two have different dims.
    """
    mean1, mean2 = np.asarray(mean1, np.float64), np.asarray(mean2, np.float64)
    cov1, cov2 = np.asarray(cov1, np.float64), np.asarray(cov2, np.float64)
    check_same_dims(mean1[None], mean2[None])
    root_trace = _singular_sum(_factor(cov1).T @ _factor(cov2))
    gap = mean1 - mean2
    distance = gap @ gap + np.trace(cov1) + np.trace(cov2) - 2.0 * root_trace
    return float(max(distance, 0.0))


def _singular_sum(x: np.ndarray) -> float:
    """The sum of the singular values of x [n, m]: of ((3, 0), (0, 4)) it is 7."""
    if min(x.shape) <= EXACT_DIMS:
        return float(np.linalg.svd(x, compute_uv=False).sum())
    x = x if len(x) < len(x.T) else x.T
    return float(np.sqrt(np.linalg.eigvalsh(x @ x.T).clip(min=0)).sum())


def frechet_of_features(real: np.ndarray, generated: np.ndarray) -> float:
    """The Fréchet distance of features real [n, D] and generated [m, D]."""
    return frechet_distance(*statistics(real), *statistics(generated))


@dataclasses.dataclass(frozen=True)
class Normal:
    """A normal distribution that many distances are measured to: its root is found once.

    Attributes:
      mean: [D].
      root: [D, rank], with root root^T the covariance.
    """

    mean: np.ndarray
    root: np.ndarray

    @classmethod
    def of(cls, mean: np.ndarray, cov: np.ndarray) -> "Normal":
        """From statistics, [D] and [D, D]."""
        return cls(np.asarray(mean, np.float64), _factor(np.asarray(cov, np.float64)))

    @classmethod
    def of_features(cls, features: np.ndarray) -> "Normal":
        """From features [n, D]; of fewer images than dims the centred rows are the root.

        Raises:
          UserError: as `statistics`.
        """
        features = check_features("the", features, at_least=2)
        if len(features) > features.shape[1]:
            return cls.of(*statistics(features))
        mean = features.mean(axis=0)
        return cls(mean, (features - mean).T / np.sqrt(len(features) - 1))

    def distance(self, generated: np.ndarray) -> float:
        """The Fréchet distance to generated [m, D], by the quickest exact enough of three ways.

        Raises:
          UserError: fewer than two images, different dims, a value that is not finite.
        """
        generated = check_features("generated", generated, at_least=2)
        check_same_dims(self.mean[None], generated)
        if len(generated) > generated.shape[1] > EXACT_DIMS:
            return max(self._distance(*statistics(generated)), 0.0)
        other = Normal.of_features(generated)
        gap, shared = self.mean - other.mean, _singular_sum(self.root.T @ other.root)
        return float(max(gap @ gap + np.sum(self.root**2) + np.sum(other.root**2) - 2 * shared, 0))

    def at_infinity(self, generated: np.ndarray, seed: int = 2020) -> float:
        """What `distance` nears as generated images become many (FID-infinity, arXiv 1911.07023).

        A distance of m images is too large by about c / m. So it is measured for subsets of SIZES
        sizes, evenly from LEAST_SIZE (or from half of the images, if these are fewer) to all, and
        a line through the distances over 1 / m is read at 0. Distances 12 of 50 images and 11 of
        100 give 10. It may be a little below 0. Larger subsets hold the smaller: one seeded order.

        With fewer images than dims the line is not straight and leads far below 0. The bias that
        the real images bring is left in.

        Raises:
          UserError: no more images than dims, different dims, values that are not finite.
        """
        generated = check_features("generated", generated, at_least=2)
        check_same_dims(self.mean[None], generated)
        count, dims = generated.shape
        if count <= dims:
            raise UserError(
                f"{count} images for a distance at infinitely many in features of {dims} dims: at "
                f"least {dims + 1} are needed; give more images"
            )
        sizes = np.linspace(min(LEAST_SIZE, max(2, count // 2)), count, SIZES).astype(int)
        sizes = np.unique(sizes)
        order = np.random.default_rng(seed).permutation(count)
        some, found = Statistics(), []
        for rows in np.split(order, sizes)[:-1]:
            some.add(generated[rows])
            found.append(self._distance(*some.result()))
        return float(np.polyfit(1 / sizes, found, 1)[1])

    def _distance(self, mean: np.ndarray, cov: np.ndarray) -> float:
        """frechet_distance to other statistics; quick, less exact where dims are missing."""
        values = np.linalg.eigvalsh(self.root.T @ cov @ self.root).clip(min=0)
        gap = self.mean - mean
        traces = np.sum(self.root**2) + np.trace(cov)
        return float(gap @ gap + traces - 2.0 * np.sqrt(values).sum())


def deviation(real: np.ndarray, generated: np.ndarray) -> float:
    """The standard deviation of frechet_of_features, real [n, D] and generated [m, D].

    By the jackknife: the images of each set in GROUPS, one left out at a time. It errs on the large
    side. Drawing with replacement would err by more: a covariance of fewer different images than
    dims is another one.

    Features are taken in the at most MOST_DIMS directions in which they differ most.

    Raises:
      UserError: a set of fewer than three images.
    """
    together = np.concatenate([real, generated]).astype(np.float64)
    together -= together.mean(axis=0)
    together = _along_most(together)
    real, generated = together[: len(real)], together[len(real) :]
    return float(np.sqrt(_jackknife(real, generated) + _jackknife(generated, real)))


def _along_most(centred: np.ndarray) -> np.ndarray:
    """Centred rows [n, D] in their at most MOST_DIMS directions of most spread, [n, MOST_DIMS]."""
    count, dims = centred.shape
    if dims <= MOST_DIMS:
        return centred
    # Eigenvalues go from the least to the largest.
    last = lambda size: (max(0, size - MOST_DIMS), size - 1)
    if count < dims:
        values, places = scipy.linalg.eigh(centred @ centred.T, subset_by_index=last(count))
        return places * np.sqrt(values.clip(min=0))
    _, axes = scipy.linalg.eigh(centred.T @ centred, subset_by_index=last(dims))
    return centred @ axes


def _jackknife(features: np.ndarray, others: np.ndarray) -> float:
    """The variance that the images of `features` bring into their distance to `others`."""
    distribution = Normal.of(*statistics(others))
    groups = np.arange(len(features)) % GROUPS
    found = []
    for group in range(groups.max() + 1):
        found.append(distribution._distance(*statistics(features[groups != group])))
    return (len(found) - 1) * float(np.var(found))


class Statistics:
    """`statistics` of features that come in blocks and are not kept; sums are float64.

    Blocks ((0, 0),) and ((2, 4),): mean (1, 2), covariance ((2, 4), (4, 8)).
    """

    def __init__(self):
        self.count = 0

    def add(self, features: np.ndarray) -> None:
        """Takes in features [n, D] of some more images."""
        features = check_features("the", features)
        if not self.count:
            # Sums are of differences to the first mean, so that no digits are lost to a far origin.
            self._origin = features.mean(axis=0)
            self._sum, self._products = np.zeros_like(self._origin), 0.0
        centred = features - self._origin
        self.count += len(features)
        self._sum = self._sum + centred.sum(axis=0)
        self._products = self._products + centred.T @ centred

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean [D] and covariance [D, D] (divisor n - 1) of all, float64."""
        mean = self._sum / self.count
        scatter = self._products - self.count * np.outer(mean, mean)
        return self._origin + mean, scatter / (self.count - 1)

    def distance(self, generated: np.ndarray) -> float:
        """The Fréchet distance of all that was added and generated [m, D]."""
        return frechet_distance(*self.result(), *statistics(generated))


def _factor(cov: np.ndarray) -> np.ndarray:
    """A [D, rank] with A A^T = cov; directions that are rounding noise are left out."""
    if cov.ndim != 2 or cov.shape[0] != cov.shape[1]:
        raise UserError(f"covariance of shape {cov.shape}: expected [dims, dims]")
    values, vectors = np.linalg.eigh(cov)  # [D], [D, D]
    kept = values > values.max(initial=0.0) * len(cov) * np.finfo(np.float64).eps
    return vectors[:, kept] * np.sqrt(values[kept])  # [D, rank]
