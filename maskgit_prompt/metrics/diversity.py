"""How much images differ from each other, and from a reference, in pixels.

The distance of two images is the root of the mean squared difference of pixels scaled to 0..1.
"""

import numpy as np

from maskgit_prompt.errors import UserError
from maskgit_prompt.metrics.pairwise import blocks, check_images, check_same_size


def pairwise_distance(images: np.ndarray) -> float:
    """Mean distance over all pairs of images uint8 [n, S, S, 3]; larger is more diverse.

    Three flat images of values 0, 51, 255: pairs 0.2, 1.0, 0.8, so 2/3.

    Raises:
      UserError: fewer than two images, another dtype or shape.
    """
    images = check_images("given", images, at_least=2)
    n = len(images)
    # Each pair is met twice and each image once with itself, at distance zero.
    return _distance_sum(images, images) / (n * (n - 1))


def distance_to(images: np.ndarray, reference: np.ndarray) -> float:
    """Mean distance from images to a reference; smaller is more faithful to it.

    Args:
      images: uint8 [n, S, S, 3].
      reference: one image uint8 [S, S, 3], or [m, S, S, 3]: then the mean over all n m pairs.

    Raises:
      UserError: no images, another dtype or shape, or two image sizes.
    """
    reference = np.asarray(reference)
    reference = reference[None] if reference.ndim == 3 else reference  # [m, S, S, 3]
    images = check_images("given", images)
    reference = check_images("reference", reference)
    check_same_size(images, reference)
    return _distance_sum(images, reference) / (len(images) * len(reference))


def pairwise_distance_by_class(images: np.ndarray, labels: np.ndarray) -> float:
    """pairwise_distance within each class of labels [n], averaged over classes.

    A class with a single image has no pair and is left out.

    Raises:
      UserError: no class with two images, or labels of another length.
    """
    images, labels = _check_labels(images, labels)
    values = [
        pairwise_distance(images[labels == label])
        for label, count in zip(*np.unique(labels, return_counts=True), strict=True)
        if count >= 2
    ]
    if not values:
        raise UserError("no class has two images: expected pairs to compare; give more images")
    return float(np.mean(values))


def distance_to_by_class(
    images: np.ndarray, labels: np.ndarray, reference: np.ndarray, reference_labels: np.ndarray
) -> float:
    """distance_to the references of the same class, averaged over the classes of `labels` [n].

    Raises:
      UserError: a class without a reference, or labels of another length.
    """
    images, labels = _check_labels(images, labels)
    reference, reference_labels = _check_labels(reference, reference_labels)
    classes = np.unique(labels)
    missing = np.setdiff1d(classes, reference_labels)
    if len(missing):
        raise UserError(
            f"class {missing[0]} has images but no reference: expected one for every class; "
            "add one or leave the class out"
        )
    return float(
        np.mean(
            [
                distance_to(images[labels == label], reference[reference_labels == label])
                for label in classes
            ]
        )
    )


def _distance_sum(a: np.ndarray, b: np.ndarray) -> float:
    total = sum(float(np.sqrt(squared).sum()) for _, _, squared in blocks(a, b))
    return total / np.sqrt(a[0].size) / 255.0


def _check_labels(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    images, labels = check_images("given", images), np.asarray(labels)
    if labels.shape != (len(images),):
        raise UserError(
            f"labels of shape {labels.shape} for {len(images)} images: expected one label an image"
        )
    return images, labels
