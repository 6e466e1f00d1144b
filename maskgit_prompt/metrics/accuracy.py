"""A classifier trained on held-out real images that reads the generated ones.

Its accuracy on generated images says whether they show their class; its accuracy on real images
stands beside it and says how far the judge itself is to be trusted.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from maskgit_prompt.counts import counted
from maskgit_prompt.errors import UserError
from maskgit_prompt.metrics.pairwise import check_images

_SIDE = 16
_MIN_IMAGES = 3


@dataclasses.dataclass(frozen=True)
class Judge:
    """A support vector machine on 16x16 grey pixels and, if given, extra features.

    Make one with `Judge.fit` or `Judge.fit_or_reason`. Each block (pixels, features) is divided by
    one number, its spread, not column by column: a pixel that never varies in real images must not
    turn a generated image's faint noise there into a huge value.
    """

    machine: Any
    scales: tuple[float, ...]

    @classmethod
    def fit(
        cls, images: np.ndarray, labels: np.ndarray, features: np.ndarray | None = None
    ) -> "Judge":
        """Trains on real images.

        Args:
          images: uint8 [n, S, S, 3] that the generator was not trained on.
          labels: [n] class numbers.
          features: [n, D] more about each image, or none; then predict needs them too.

        Raises:
          UserError: fewer than 2 classes or 3 images per class; another shape or dtype.
        """
        judge, reason = cls.fit_or_reason(images, labels, features)
        if judge is None:
            raise UserError(f"no classifier to judge with: {reason}; give more held-out images")
        return judge

    @classmethod
    def fit_or_reason(
        cls,
        images: np.ndarray,
        labels: np.ndarray,
        features: np.ndarray | None = None,
        names: Sequence[str] | None = None,
    ) -> tuple["Judge | None", str | None]:
        """As fit, but (None, why) where the images are too few to train on; else (judge, None).

        names: of the classes, for the reason.

        Raises:
          UserError: another shape or dtype.
        """
        from sklearn.svm import SVC

        images, labels = check_images("judge's", images, at_least=0), np.asarray(labels)
        if labels.shape != (len(images),):
            raise UserError(
                f"labels of shape {labels.shape} for {len(images)} images: "
                "expected one label an image"
            )
        classes, counts = np.unique(labels, return_counts=True)
        if len(classes) < 2:
            many = counted(len(classes), "class")
            return None, f"{many} of images to train a classifier on, 2 are needed"
        if counts.min() < _MIN_IMAGES:
            fewest = classes[counts.argmin()]
            name = repr(names[fewest]) if names else fewest
            return None, (
                f"class {name} has {counted(counts.min(), 'image')} to train a classifier on, "
                f"{_MIN_IMAGES} are needed: add images of it"
            )
        blocks = _blocks(images, features)
        scales = tuple(_spread(b) for b in blocks)
        machine = SVC(kernel="rbf", C=10.0, gamma=1.0 / len(blocks))
        return cls(machine.fit(_join(blocks, scales), labels), scales), None

    @property
    def sees_features(self) -> bool:
        """Whether predict and accuracy need features, too."""
        return len(self.scales) == 2

    def predict(self, images: np.ndarray, features: np.ndarray | None = None) -> np.ndarray:
        """The class number read from each image of uint8 [n, S, S, 3], [n].

        Raises:
          UserError: features missing where the judge was trained with them, or the reverse.
        """
        blocks = _blocks(check_images("given", images), features)
        if len(blocks) != len(self.scales):
            had = "with" if self.sees_features else "without"
            raise UserError(f"this judge was trained {had} features: expected the same here")
        return self.machine.predict(_join(blocks, self.scales))

    def accuracy(
        self, images: np.ndarray, labels: np.ndarray, features: np.ndarray | None = None
    ) -> float:
        """The share of images read as their label [n]: 3 of 4 gives 0.75.

        Raises:
          UserError: as predict, or labels of another length.
        """
        labels = np.asarray(labels)
        if labels.shape != (len(images),):
            raise UserError(
                f"labels of shape {labels.shape} for {len(images)} images: "
                "expected one label an image"
            )
        return float(np.mean(self.predict(images, features) == labels))


def grey_pixels(images: np.ndarray, side: int = _SIDE) -> np.ndarray:
    """Images [n, S, S', 3] as grey float64 [n, side * side] in 0..1, each pixel an area's mean.

    The row (0, 51, 102, 255) shrunk to side 2 is (0.1, 0.7).
    """
    grey = images.mean(axis=-1) / 255.0  # [n, S, S']
    down, across = area_weights(grey.shape[1], side), area_weights(grey.shape[2], side)
    return (down @ grey @ across.T).reshape(len(images), side * side)


def area_weights(size: int, side: int) -> np.ndarray:
    """[side, size]: the share of each of `size` pixels in each of `side` equal intervals.

    3 pixels to 2: ((2/3, 1/3, 0), (0, 1/3, 2/3)).
    """
    edges = np.arange(side + 1) * (size / side)
    pixels = np.arange(size)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.maximum(overlap, 0.0) * (side / size)


def _blocks(images: np.ndarray, features: np.ndarray | None) -> list[np.ndarray]:
    blocks = [grey_pixels(images)]
    if features is not None:
        features = np.asarray(features, np.float64)
        if features.ndim != 2 or len(features) != len(images):
            raise UserError(
                f"features of shape {features.shape} for {len(images)} images: "
                f"expected [{len(images)}, dims]"
            )
        blocks.append(features)
    return blocks


def _spread(block: np.ndarray) -> float:
    """Root mean squared distance of rows [n, D] to their mean; 1 for equal rows."""
    # Asked of the range, as the deviation of equal rows need not round to zero.
    return float(np.sqrt(block.var(axis=0).sum())) if np.ptp(block, axis=0).any() else 1.0


def _join(blocks: list[np.ndarray], scales: tuple[float, ...]) -> np.ndarray:
    return np.concatenate([b / s for b, s in zip(blocks, scales, strict=True)], axis=1)
