"""Masks of pictures, by a segmenter that was tuned before.

1. Read the segmenter and its encoder, and find the pictures.
2. Write masks/NAME.png for each, as large as the picture: the class of each pixel is its index into
   a palette. classes.txt has the names and colours, so that the workdir can be tuned on in turn.
"""

import collections
import pathlib
import time

import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from maskgit_prompt.config import rules
from maskgit_prompt.counts import counted
from maskgit_prompt.data.pixels import Preprocessing
from maskgit_prompt.data.sets import pictures
from maskgit_prompt.errors import UsageError, UserError
from maskgit_prompt.progress import progress
from maskgit_prompt.report import sheets
from maskgit_prompt.storage import workdir
from maskgit_prompt.storage.files import write_whole
from maskgit_prompt.tasks.segmentation.predicting import open_segmenter


def run(config: ConfigDict, path: str) -> None:
    began = time.perf_counter()
    rules.check(config)

    # 1. Segmenter, encoder, pictures.
    if not config.data.path:
        raise UsageError("config.data.path is empty; expected pictures: configs/masks.py:PATH")
    opened = open_segmenter(config)
    names, read = pictures.find(config.data.path)
    check_stems(names)
    fit, resample = opened.predictor.images
    preprocessing = Preprocessing(opened.size, fit, resample=resample)

    with workdir.prepare(path, config) as home:
        # 2. Masks.
        broken: dict[str, str] = {}
        with progress(len(names), "segment", "image", delay=5.0) as bar:
            for whole, wrong in pictures.examined(names, read, preprocessing, config.batch_size):
                broken |= wrong
                if whole:
                    pixels = np.stack([seen.pixels for seen in whole.values()])
                    answers = opened.predictor(pixels, config.batch_size)
                    for (name, seen), answer in zip(whole.items(), answers, strict=True):
                        mask = as_image(answer, seen.size, opened.colours)
                        sheets.save_png(mask, home / "masks" / f"{pathlib.PurePath(name).stem}.png")
                bar.update(len(whole) + len(wrong))
        pictures.check_broken(broken, len(names))
        lines = [
            f"{name} {red} {green} {blue}\n"
            for name, (red, green, blue) in zip(
                opened.predictor.classes, opened.colours.tolist(), strict=True
            )
        ]
        write_whole(home / "classes.txt", "".join(lines).encode())
        done = counted(len(names) - len(broken), "mask")
        print(f"{done} in {time.perf_counter() - began:.0f} s: {home / 'masks'}")


def check_stems(names: list[str]) -> None:
    """Raises UserError for two pictures whose masks would have one name."""
    found = collections.defaultdict(list)
    for name in names:
        found[pathlib.PurePath(name).stem].append(name)
    for first, *others in found.values():
        if others:
            raise UserError(
                f"{first} and {others[0]} would have one mask, since they differ in folder or "
                "ending alone; rename one, or give them in runs of their own"
            )


def as_image(answer: np.ndarray, size: tuple[int, int], colours: np.ndarray) -> Image.Image:
    """An answer uint8 [S, S] as an image of (width, height) with a palette."""
    image = Image.fromarray(answer).resize(size, Image.Resampling.NEAREST)
    # A whole palette: with fewer entries a file has fewer bits per pixel than some readers take.
    image.putpalette([*colours.ravel().tolist(), *[0] * (768 - colours.size)])
    return image
