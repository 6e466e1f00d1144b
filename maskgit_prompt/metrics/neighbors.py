"""Is it copying? Distances from generated images to the nearest training image."""

import numpy as np

from maskgit_prompt.errors import UsageError
from maskgit_prompt.metrics.pairwise import blocks, check_images, check_same_size


def nearest(images: np.ndarray, training: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest training image of each image.

    The distance is the root of the mean squared difference of pixels scaled to 0..1: an all-black
    image is 1 away from an all-white one and 0.2 from an all-51 one (51 / 255).

    Args:
      images: uint8 [n, S, S, 3].
      training: uint8 [m, S, S, 3].

    Returns:
      (distance [n] float64, index [n] int64); among equally near ones the lowest index.

    Raises:
      UserError: another dtype or shape, an empty set, or two image sizes.
    """
    images, training = check_images("given", images), check_images("training", training)
    check_same_size(images, training)
    best = np.full(len(images), np.inf)
    index = np.zeros(len(images), np.int64)
    for rows, columns, squared in blocks(images, training):
        least = squared.min(axis=1)  # [n']
        better = least < best[rows]
        index[rows] = np.where(better, columns.start + squared.argmin(axis=1), index[rows])
        best[rows] = np.minimum(least, best[rows])
    return np.sqrt(best / images[0].size) / 255.0, index


def near_copies(
    generated: np.ndarray, training: np.ndarray, test: np.ndarray, quantile: float = 0.005
) -> dict[str, float | int]:
    """Counts generated images that are suspiciously near to a training image.

    How near is too near depends on the domain: two real digits resemble each other more than two
    real cats. So real images nobody trained on set the scale: the threshold is the
    `quantile`-quantile of the held-out images' own distances to their nearest training image, and
    an image nearer than that counts (a pixel-exact copy always does). Real unseen images
    themselves would therefore score about `quantile`; a model that scores many times that
    is copying.

    Held-out distances 0.1, 0.2, 0.3 and quantile 0.5: the threshold is 0.2, and generated
    distances 0.0, 0.15, 0.25, 0.4 give count 2, fraction 0.5.

    Args:
      generated: uint8 [n, S, S, 3].
      training: uint8 [m, S, S, 3].
      test: uint8 [h, S, S, 3], held-out real images that are not among the training images.
      quantile: the share of real images that may look like copies, in 0..1.

    Returns:
      "fraction" and "count" of near-copies, "threshold" and its "quantile", and the median
      distance to the nearest training image of generated ("median_distance") and held-out
      ("median_distance_heldout") images.

    Raises:
      UsageError: a quantile outside 0..1.
      UserError: as nearest.
    """
    if not 0.0 <= quantile <= 1.0:
        raise UsageError(f"quantile {quantile}: expected a share between 0 and 1, such as 0.005")
    distance, _ = nearest(generated, training)
    distance_test, _ = nearest(test, training)
    threshold = float(np.quantile(distance_test, quantile))
    near = (distance < threshold) | (distance == 0.0)
    return {
        "fraction": float(near.mean()),
        "count": int(near.sum()),
        "threshold": threshold,
        "quantile": float(quantile),
        "median_distance": float(np.median(distance)),
        "median_distance_heldout": float(np.median(distance_test)),
    }
