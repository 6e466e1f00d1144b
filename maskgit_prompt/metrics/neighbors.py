"""Is it copying? The nearest training image of each generated one, in pixels and in features."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from maskgit_prompt.metrics.accuracy import area_weights
from maskgit_prompt.metrics.pairwise import (
    check_features,
    check_images,
    check_same_size,
    squared_distances,
)

QUANTILE = 0.02  # of the held-out images' distances: nearer than that is too near
FARTHEST = 0.4  # in pixels: two images farther apart are not one picture to the eye
PAIRS = 12  # of a generated image and its nearest training image that are kept to be looked at
_SIDE = 16  # pixels are compared as means of 16 x 16 areas: fine noise and blur count for little
_MEAN_COLOUR = 0.25  # share of it that counts: a copy may be lighter or darker
_SMALL = 32  # an image may slide by one 32nd of its side
_CANDIDATES = 8  # training images that each image is slid over
_GREY_LEVEL = 1 / 255  # contrast below which an image is as good as flat
_BLOCK_NUMBERS = 2**22


@dataclasses.dataclass(frozen=True)
class Looks:
    """Images and what a network sees in them.

    Attributes:
      images: uint8 [n, S, S, 3].
      features: [n, F], or None where there is no network.
    """

    images: np.ndarray
    features: np.ndarray | None

    def __post_init__(self):
        check_images("compared", self.images)
        if self.features is not None:
            check_features("compared", self.features)


@dataclasses.dataclass(frozen=True)
class Nearest:
    """The nearest training image of each of n images.

    Attributes:
      index: [n] int64.
      pixel, feature: the two distances to it, [n]; feature: None without features.
    """

    index: np.ndarray
    pixel: np.ndarray
    feature: np.ndarray | None

    @property
    def product(self) -> np.ndarray:
        """What "nearest" means: the two distances multiplied, so that neither's unit counts."""
        return self.pixel if self.feature is None else self.pixel * self.feature


def pixel_distances(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Relative distances of images uint8 [n, S, S, 3] to others [m, S, S, 3], float64 [n, m].

    The root of the squared difference over the variances of both, 0 for equal images and about 1
    for two that have nothing in common, whatever their contrast: |x - y| / sqrt(var x + var y). A
    distance in grey levels would take a pale image, which is not far from anything, for the
    original of every shapeless one.

    One row of two pixels, black and white (0, 1), has variance 1/4 a pixel; its negative (1, 0) is
    sqrt(1 / (1/4 + 1/4)) = 1.41 away, and grey (1/2, 1/2) is sqrt(1/4 / (1/4 + 0)) = 1.
    """
    return _relative(_areas(_shrunk(images)), _areas(_shrunk(others)))


def nearest(looks: Looks, training: Looks) -> Nearest:
    """The nearest training image of each image: the least pixel distance times feature distance.

    The training images that come nearest as they lie are then slid by a 32nd of the side in all
    eight directions, and the pixel distance is the least of these; images under 32 pixels are not
    slid. The feature distance is Euclidean. Among equally near ones the lowest index.

    Raises:
      UserError: another dtype or shape, an empty set, or two image sizes.
    """
    check_same_size(looks.images, training.images)
    small, others = _shrunk(looks.images), _shrunk(training.images)
    pixels = _areas(small), _areas(others)
    features = None if looks.features is None else (looks.features, training.features)
    candidates, pixel, feature = _candidates(*pixels, features)  # [n, c] each
    fixed, slid = _slides(small, others)
    for b in slid:
        for place, index in enumerate(candidates.T):
            gap = np.sum((fixed - b[index]) ** 2, axis=1)
            room = _variance(fixed) + _variance(b)[index] + _flat(b)
            pixel[:, place] = np.minimum(pixel[:, place], np.sqrt(gap / room))
    product = pixel if feature is None else pixel * feature
    rows = np.arange(len(candidates))
    # An equal image is 0 away in both; among several of product 0 it comes first.
    least = np.lexsort((candidates, pixel, product))[:, 0]
    return Nearest(
        candidates[rows, least],
        pixel[rows, least],
        None if feature is None else feature[rows, least],
    )


def near_copies(
    generated: Nearest, heldout: Nearest | None, names: Sequence[str], least: int
) -> dict[str, Any]:
    """Counts generated images that are nearer to a training image than real unseen ones are.

    How near is too near depends on the images: two digits resemble each other more than two birds.
    So held-out images set both thresholds, each the QUANTILE of their distances to their nearest
    training image, but no more than FARTHEST in pixels; held-out images that are equal to one are
    left out. A copy is nearer than both thresholds to the same training image, or equal to it.

    Held-out images with distances 0.1, 0.2, …, 5.1 in pixels and 1, 2, …, 51 in features: of 51
    values the QUANTILE is the second, so 0.2 and 2. A generated image of distances 0.15 and 1.5 is
    a copy, one of 0.15 and 3 is not, nor is one of 0.25 and 1.5.

    Args:
      generated, heldout: their nearest training images; None: nothing is held out.
      names: of the training images.
      least: held-out images that thresholds are estimated from, at least; of fewer there is no
        count.

    Returns:
      "count" and "fraction" of copies, and "threshold" {"pixel", "feature"}, all None where they
      cannot be told; "quantile"; "median" and "median_heldout" {"pixel", "feature"}, the latter
      None where nothing is held out; "copied", {training image: how many copies}, most first;
      "pairs", the PAIRS nearest pairs, a list of {"generated", "training" (both by index),
      "image" (the training image's name), "pixel", "feature", "copy"}.
    """
    found: dict[str, Any] = {"count": None, "fraction": None, "threshold": None}
    copy = generated.pixel == 0
    if limits := _thresholds(heldout, least):
        near = (generated.pixel < limits["pixel"]) & (generated.feature < limits["feature"])
        copy = copy | near
        count = int(copy.sum())
        found = {"count": count, "fraction": count / len(copy), "threshold": limits}
    copied, times = np.unique(generated.index[copy], return_counts=True)
    by_times = np.argsort(-times, kind="stable")
    found["copied"] = {names[copied[i]]: int(times[i]) for i in by_times}
    found["quantile"] = QUANTILE
    found["median"] = _medians(generated)
    found["median_heldout"] = None if heldout is None else _medians(heldout)
    order = np.argsort(generated.product, kind="stable")[:PAIRS]
    found["pairs"] = [_pair(generated, int(i), names, bool(copy[i])) for i in order]
    return found


def different(heldout: Nearest | None) -> np.ndarray:
    """Which held-out images are not equal to a training image: bool [h]."""
    return np.zeros(0, bool) if heldout is None else heldout.pixel > 0


def _thresholds(heldout: Nearest | None, least: int) -> dict[str, float] | None:
    """Distances below which an image is a copy, or None where they cannot be told."""
    chosen = different(heldout)
    if chosen.sum() < least or heldout.feature is None:
        return None
    return {
        "pixel": min(FARTHEST, float(np.quantile(heldout.pixel[chosen], QUANTILE))),
        "feature": float(np.quantile(heldout.feature[chosen], QUANTILE)),
    }


def _pair(generated: Nearest, i: int, names: Sequence[str], copy: bool) -> dict[str, Any]:
    training = int(generated.index[i])
    return {
        "generated": i,
        "training": training,
        "image": names[training],
        "pixel": float(generated.pixel[i]),
        "feature": None if generated.feature is None else float(generated.feature[i]),
        "copy": copy,
    }


def _medians(found: Nearest) -> dict[str, float | None]:
    feature = None if found.feature is None else float(np.median(found.feature))
    return {"pixel": float(np.median(found.pixel)), "feature": feature}


def _candidates(
    pixels: np.ndarray, others: np.ndarray, features: tuple[np.ndarray, np.ndarray] | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Indices of the nearest training images [n, c], with both distances.

    pixels, others: areas of the images and of those for training; features: of both.
    """
    count = min(_CANDIDATES, len(others))
    size = max(1, _BLOCK_NUMBERS // len(others))
    found = []
    for first in range(0, len(pixels), size):
        rows = slice(first, first + size)
        distances = [_relative(pixels[rows], others)]
        if features is not None:
            distances.append(np.sqrt(squared_distances(features[0][rows], features[1])))
        index = np.argsort(np.prod(distances, axis=0), axis=1, kind="stable")[:, :count]
        found.append((index, *(np.take_along_axis(x, index, axis=1) for x in distances)))
    index, pixel, *feature = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return index, pixel, feature[0] if feature else None


def _slides(fixed: np.ndarray, moved: np.ndarray) -> tuple[np.ndarray, Iterator[np.ndarray]]:
    """Areas of the first shrunk images without their margin, and of the second slid each way."""
    size = fixed.shape[1]
    step = size // _SMALL
    window = lambda images, down, right: _areas(
        images[:, step + down : size - step + down, step + right : size - step + right]
    )
    ways = [(down, right) for down in (-step, 0, step) for right in (-step, 0, step)]
    slid = (window(moved, *way) for way in ways if any(way))
    return window(fixed, 0, 0), slid


def _shrunk(images: np.ndarray) -> np.ndarray:
    """Images uint8 [n, S, S, 3] in 0..1 as means of at most _SMALL x _SMALL areas, float64."""
    some = max(1, _BLOCK_NUMBERS // images[0].size)
    blocks = (images[i : i + some] for i in range(0, len(images), some))
    return np.concatenate([_means(x, _SMALL) for x in blocks]) / 255


def _areas(small: np.ndarray) -> np.ndarray:
    """Shrunk images [n, s, s', 3] as means of areas, float64 [n, A * 3], A at most 16 * 16.

    Their mean colour is brought nearer to black, so that it counts for little.
    """
    areas = _means(small, _SIDE)
    areas -= (1 - _MEAN_COLOUR) * areas.mean(axis=(1, 2), keepdims=True)
    return areas.reshape(len(areas), -1)


def _means(images: np.ndarray, most: int) -> np.ndarray:
    """Images [n, S, S', 3] as means of at most most x most areas."""
    down, across = (area_weights(size, min(most, size)) for size in images.shape[1:3])
    return np.einsum("as,nstc,bt->nabc", down, images, across, optimize=True)


def _relative(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """`pixel_distances` of areas [n, A * 3] and [m, A * 3]."""
    room = _variance(a)[:, None] + _variance(b)[None] + _flat(b)
    return np.sqrt(squared_distances(a, b) / room)


def _variance(areas: np.ndarray) -> np.ndarray:
    """Squared differences of areas [n, A * 3] to the image's own mean colour, summed: [n]."""
    pixels = areas.reshape(len(areas), -1, 3)
    return np.sum((pixels - pixels.mean(axis=1, keepdims=True)) ** 2, axis=(1, 2))


def _flat(areas: np.ndarray) -> float:
    """What two flat images are divided by: one grey level a number."""
    return areas.shape[1] * _GREY_LEVEL**2
