"""The examples that config.data names: drawn scenes, a table beside its images, or one file."""

import numpy as np
from ml_collections import ConfigDict

from maskgit_prompt.data import batches
from maskgit_prompt.data.examples import Columns, Examples
from maskgit_prompt.data.pixels import Preprocessing
from maskgit_prompt.data.sets import scene_tasks
from maskgit_prompt.data.sets.image_text import image_text
from maskgit_prompt.data.sets.image_tsv import image_tsv
from maskgit_prompt.errors import UsageError, UserError

NAMES = ("scenes", "table", "tsv")


def find(data: ConfigDict, side: int) -> tuple[Examples, Examples]:
    """(those to tune on, those held out), of images of side x side pixels.

    Raises:
      UsageError: config.data.name is unknown, config.data.path is empty, no table is found there or
        at config.data.test, or a column is given by name although the file has no heading.
      UserError: a table or an image cannot be read, or there are too few examples to hold any out.
    """
    if data.name == "scenes":
        return tuple(
            scene_tasks.scene_examples(data.task, number, data.seed, split, side)
            for split, number in (("tune", data.tune_num), ("test", data.test_num))
        )
    if data.name not in NAMES:
        raise UsageError(f"config.data.name = {data.name!r}, expected {', '.join(NAMES)}")
    if not data.path:
        raise UsageError(
            "config.data.path is empty; expected a table of images, texts and targets: "
            "configs/multimodal.py:PATH"
        )
    preprocessing = Preprocessing(side, data.fit, resample="bicubic")
    read = lambda path: _read(data, path, preprocessing)
    if data.test:
        tune, test = read(data.path), read(data.test)
    else:
        tune, test = split(read(data.path), data.heldout, data.seed)
    rng = batches.generator(data.seed, (batches.STREAM_SHOTS,))
    if 0 < data.tune_num < len(tune):
        tune = tune.subset(np.sort(rng.permutation(len(tune))[: data.tune_num]))
    if 0 < data.test_num < len(test):
        test = test.subset(np.sort(rng.permutation(len(test))[: data.test_num]))
    return tune, test


def split(examples: Examples, heldout: float, seed: int) -> tuple[Examples, Examples]:
    """(those to tune on, those held out), cut at random without a look at the images.

    heldout: the share that is held out; at least one example is, and one is not.

    Raises:
      UserError: fewer than two examples.
    """
    number = len(examples)
    if number < 2:
        raise UserError(
            f"{examples.rows[0]}: the only example; expected two or more, to tune on and to hold "
            "out: add some, or name a table of others in config.data.test"
        )
    count = min(number - 1, max(1, round(heldout * number)))
    order = batches.generator(seed, (batches.STREAM_SPLIT,)).permutation(number)
    return examples.subset(np.sort(order[count:])), examples.subset(np.sort(order[:count]))


def _read(data: ConfigDict, path: str, preprocessing: Preprocessing) -> Examples:
    if data.name == "table":
        columns = Columns(data.image, tuple(data.texts), data.target)
        return image_text(path, preprocessing, columns)
    names = {"image": (data.image,), "texts": tuple(data.texts), "target": (data.target,)}
    for key, found in names.items():
        for name in found:
            if not name.isdecimal():
                raise UsageError(
                    f"config.data.{key} has {name!r}, expected the number of a column, counted "
                    "from 0: such a file has no heading"
                )
    columns = Columns(int(data.image), tuple(map(int, data.texts)), int(data.target))
    return image_tsv(path, preprocessing, columns)
