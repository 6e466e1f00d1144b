"""The images of a config.data and what each is for."""

import dataclasses
import pathlib

import numpy as np
from ml_collections import ConfigDict

from maskgit_prompt.data import digits, folder, splits
from maskgit_prompt.data.images import ImageSet
from maskgit_prompt.errors import UsageError

# Decides ties: a third image of a class is of more use in test than in judge, which needs three.
ORDER = ("tune", "test", "judge")


@dataclasses.dataclass(frozen=True)
class Parts:
    """A set of images and indices of three parts without common images.

    Attributes:
      images: the whole set.
      tune: images the prompt is tuned on.
      judge: images the classifier is trained on that reads generated ones.
      test: images that generated ones are scored against.
    """

    images: ImageSet
    tune: np.ndarray
    judge: np.ndarray
    test: np.ndarray

    def labels(self, rows: np.ndarray) -> np.ndarray:
        """Labels of images by index, int32."""
        return self.images.labels[rows].astype(np.int32)


def load(config: ConfigDict, size: int, cache: pathlib.Path | None = None) -> Parts:
    """Finds the images and parts them, class by class, by (seed, class).

    Args:
      config: config.data.
      size: S, side of the images in pixels.
      cache: folder where the scan of a large folder is kept; None: it is not.

    Raises:
      UsageError: an unknown name, no path, or what the readers raise.
    """
    if config.name == "digits":
        images = digits.digits(size)
    elif config.name == "folder":
        if not config.path:
            raise UsageError("config.data.path is empty; expected a folder: configs/folder.py:PATH")
        images = folder.image_folder(
            config.path,
            size,
            config.strict,
            classes=[str(name) for name in config.classes],
            csv=config.csv,
            cache=cache,
        )
    else:
        raise UsageError(f"config.data.name = {config.name!r}, expected digits or folder")
    fractions = {name: config.fractions[name] for name in ORDER}
    parts = splits.split(images.labels, fractions, config.seed)
    tune = parts["tune"]
    if config.shots > 0:
        chosen = splits.few_shot(images.labels[tune], config.shots, config.seed, images.classes)
        tune = tune[chosen]
    return Parts(images, tune, parts["judge"], parts["test"])
