"""Parts of what TFDS has prepared, by a task of VTAB or any data set."""

import numpy as np

from maskgit_prompt.config import defaults, named_data
from maskgit_prompt.data import loading


def data_config(data_dir, task="svhn", **changes):
    config = named_data.vtab(defaults.transfer(), "", "vtab.py").data
    config.task, config.data_dir = task, str(data_dir)
    config.update(changes)
    return config


def load(data_dir, task="svhn", size=32, cache=None, **changes):
    return loading.load(data_config(data_dir, task, **changes), size, cache)


def numbers(found: loading.Splits, rows: np.ndarray) -> list[int]:
    """Which images these are, by their red: of svhn train 0 to 23, test 24 to 47."""
    return found.images.read(rows)[:, 0, 0, 0].tolist()


def tfds_config(data_dir, **changes):
    config = defaults.transfer().data
    config.name, config.dataset, config.data_dir = "tfds", "svhn_cropped", str(data_dir)
    config.shots = 0
    config.update(changes)
    return config
