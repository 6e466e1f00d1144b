"""How far a number moves from one set of images to the next: 95 % intervals.

An interval is the number plus and minus what would change with other images of the same kind, as
many of them: real ones and generated ones. Most are bootstrapped: images are drawn with
replacement, the number is computed again, and the spread of these around their own mean is the
interval's. So their bias is left out (a resampled set has fewer different images), and the
number's own is left in: with few images a Fréchet distance is too large, and so is its interval.
What is drawn is seeded.
"""

from collections.abc import Callable, Mapping

import numpy as np

RESAMPLES = 200
MOST = 1000  # images of a set that are resampled; of larger sets some, and the spread is scaled
_TAIL = 0.025
_NORMAL = 1.959964  # the normal distribution's quantile at 1 - _TAIL

Interval = tuple[float, float]


def of_share(share: float, count: int) -> Interval:
    """Wilson's interval of a share of `count` images: 1.0 of 10 images gives (0.72, 1.0).

    The bootstrap's is the same in the middle, but (1.0, 1.0) for that, as if ten were all there
    are.
    """
    room = _NORMAL**2 / count
    middle = (share + room / 2) / (1 + room)
    half = np.sqrt(room * share * (1 - share) + room**2 / 4) / (1 + room)
    return min(share, max(0.0, float(middle - half))), max(share, min(1.0, float(middle + half)))


def hull(a: Interval, b: Interval, least: float = -np.inf, most: float = np.inf) -> Interval:
    """From the lower end of both to the higher, within least and most."""
    return max(least, min(a[0], b[0])), min(most, max(a[1], b[1]))


def around(value: float, draws: np.ndarray, scale: float = 1.0) -> Interval:
    """The value plus the spread of draws [n] around their mean, times `scale`.

    Draws 0, 1, …, 40 and value 10: the spread is -19 to 19, the interval (-9, 29).
    """
    low, high = scale * (np.quantile(draws, (_TAIL, 1 - _TAIL)) - np.mean(draws))
    return float(value + min(low, 0.0)), float(value + max(high, 0.0))


def of_two_sets(
    values: Mapping[str, float],
    again: Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], Mapping[str, np.ndarray]],
    real: np.ndarray,
    generated: np.ndarray,
) -> dict[str, Interval]:
    """Bootstrap intervals of numbers that compare features real [n, D] and generated [m, D].

    values: name -> number. again: of (real, generated, weights [RESAMPLES, n] and [RESAMPLES, m]:
    how often each image was drawn) -> the numbers again, name -> [RESAMPLES].
    """
    rng = np.random.default_rng(0)
    *some, scale = _some(real, generated, rng)
    weights = [rng.multinomial(len(x), np.full(len(x), 1 / len(x)), RESAMPLES) for x in some]
    draws = again(*some, *weights)
    return {name: around(value, draws[name], scale) for name, value in values.items()}


def of_distance(
    value: float,
    deviation: Callable[[np.ndarray, np.ndarray], float],
    real: np.ndarray,
    generated: np.ndarray,
) -> Interval:
    """The interval of a distance, 0 or more, whose standard deviation `deviation` estimates."""
    *some, scale = _some(real, generated, np.random.default_rng(0))
    half = _NORMAL * scale * deviation(*some)
    return max(0.0, float(value - half)), float(value + half)


def _some(
    real: np.ndarray, generated: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, float]:
    """At most MOST of each, and how much less numbers of all of them spread."""
    few = [x[np.sort(rng.permutation(len(x))[:MOST])] for x in (real, generated)]
    spread = lambda a, b: 1 / len(a) + 1 / len(b)
    return *few, float(np.sqrt(spread(real, generated) / spread(*few)))
