"""Distances between every row of one set and every row of another."""

from collections.abc import Iterator

import numpy as np

from maskgit_prompt.counts import counted
from maskgit_prompt.errors import UserError

# Rows are taken in blocks of this many numbers (float64: 128 MiB), so that sets of any size fit.
_BLOCK_NUMBERS = 2**24
_BLOCK_ROWS = 2048


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances of rows a [n, D] and b [m, D], float64 [n, m].

    Rows (0, 0) and (3, 4) are 25 apart. Exact for whole numbers such as uint8 pixels (all sums
    stay below 2^53); for others, what is within rounding of zero is zero, so copies are 0 apart.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    norms = np.sum(a * a, axis=1)[:, None] + np.sum(b * b, axis=1)[None]  # [n, m]
    squared = norms - 2.0 * (a @ b.T)
    squared[squared < 1e-13 * norms] = 0.0
    return squared


def blocks(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Yields (rows of a, rows of b, squared distances between them), rows of a outermost."""
    a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)  # [n, D], [m, D]
    size = max(1, min(_BLOCK_ROWS, _BLOCK_NUMBERS // max(1, a.shape[1])))
    for i in range(0, len(a), size):
        for j in range(0, len(b), size):
            rows, columns = slice(i, i + size), slice(j, j + size)
            yield rows, columns, squared_distances(a[rows], b[columns])


def check_features(name: str, features: np.ndarray, at_least: int = 1) -> np.ndarray:
    """The features as float64 [n, D].

    Raises:
      UserError: not two axes, fewer than `at_least` rows, or a value that is not finite.
    """
    features = np.asarray(features, np.float64)
    if features.ndim != 2:
        raise UserError(
            f"{name} features of shape {features.shape}: expected [images, dims]; "
            "flatten all axes but the first"
        )
    if len(features) < at_least:
        raise UserError(
            f"{name} features of {counted(len(features), 'image')}: at least {at_least} are "
            "needed; give more images"
        )
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        raise UserError(
            f"{name} features of image {bad[0]} (and {len(bad) - 1} more) are NaN or infinite: "
            "expected finite numbers; look for a broken image or network"
        )
    return features


def check_same_dims(a: np.ndarray, b: np.ndarray) -> None:
    """Raises UserError unless both feature sets have the same number of dims."""
    if a.shape[1] != b.shape[1]:
        raise UserError(
            f"features of {a.shape[1]} and of {b.shape[1]} dims: expected the same number; "
            "take both from one network"
        )


def check_images(name: str, images: np.ndarray, at_least: int = 1) -> np.ndarray:
    """The images, checked to be uint8 [n, S, S, 3] with n >= at_least.

    Raises:
      UserError: another dtype or shape, or fewer images.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise UserError(
            f"{name} images are {images.dtype} {list(images.shape)}: expected uint8 [n, S, S, 3]; "
            "round to 0..255 and convert"
        )
    if len(images) < at_least:
        raise UserError(
            f"{counted(len(images), f'{name} image')}: at least {at_least} are needed; give more "
            "images"
        )
    return images


def check_same_size(a: np.ndarray, b: np.ndarray) -> None:
    """Raises UserError unless both image sets have the same height and width."""
    if a.shape[1:] != b.shape[1:]:
        raise UserError(
            f"images of {a.shape[1]}x{a.shape[2]} and of {b.shape[1]}x{b.shape[2]} pixels: "
            "expected one size; resize one set"
        )
