"""Several sets of images as one, for pretraining: drawn ones, folders, archives, TFDS."""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np
from ml_collections import ConfigDict

from maskgit_prompt.data import found as found_lib
from maskgit_prompt.data import images as images_lib
from maskgit_prompt.data import splits
from maskgit_prompt.data.counts import counted
from maskgit_prompt.data.images import ImageSet
from maskgit_prompt.data.pixels import Preprocessing
from maskgit_prompt.data.sets import builders, folder, prepared, synthetic
from maskgit_prompt.errors import UsageError, UserError

DRAWN, TFDS = "drawn", "tfds:"


@dataclasses.dataclass(frozen=True)
class Corpus:
    """All images of some sets; classes of the same name are one class.

    Attributes:
      images: of all sets, one set after the other, with four channels.
      train: rows of each set to train on.
      heldout: rows of all sets that are not trained on, increasing.
      weights: of the sets in batches; only their proportions count.
      flips: [n] bool, which images may be mirrored.
      photographs: rows of images to train on that serve as grounds.
    """

    images: ImageSet
    train: tuple[np.ndarray, ...]
    heldout: np.ndarray
    weights: tuple[float, ...]
    flips: np.ndarray
    photographs: np.ndarray

    def __len__(self) -> int:
        """How many images are trained on."""
        return sum(map(len, self.train))


def load(config: ConfigDict, size: int, cache: pathlib.Path | None = None) -> Corpus:
    """Finds the images of config.sets, prints what was found, and holds some back.

    Args:
      config: a pretraining job's config.data.
      size: pixels a side that images are read with.
      cache: see `folder.image_folder`.

    Raises:
      UsageError: no sets or one named twice, weights that do not fit them, flips or photographs
        that are none of them, and what the readers raise.
      UserError: a set of which nothing remains to train on.
    """
    if not config.sets or len(set(config.sets)) < len(config.sets):
        raise UsageError(f"config.data.sets = {tuple(config.sets)}, expected some, each once")
    for key in ("flips", "photographs"):
        for name in config[key]:
            if name not in config.sets:
                raise UsageError(
                    f"config.data.{key} has {name!r}, expected of config.data.sets: "
                    f"{', '.join(config.sets)}"
                )
    if config.weights and len(config.weights) != len(config.sets):
        raise UsageError(
            f"config.data.weights = {tuple(config.weights)} for {len(config.sets)} sets: expected "
            "one for each, or none"
        )
    found = [_open(name, config, size, cache) for name in config.sets]
    images = join(found)
    train, heldout, first = [], [], 0
    for name, one in zip(config.sets, found, strict=True):
        rows = _train_rows(one, config)
        if not len(rows):
            raise UserError(f"{one.name}: no image remains to train on")
        train.append(first + rows)
        heldout.append(first + np.setdiff1d(np.arange(len(one)), rows))
        print("\n  ".join(_summary(name, one, len(rows))), flush=True)
        first += len(one)
    starts = np.cumsum([0, *map(len, found)])
    flips = np.zeros(len(images), bool)
    photographs = [np.zeros(0, np.int64)]
    for number, name in enumerate(config.sets):
        flips[starts[number] : starts[number + 1]] = name in config.flips
        if name in config.photographs:
            photographs.append(train[number])
    return Corpus(
        images,
        tuple(train),
        np.concatenate(heldout),
        tuple(config.weights) or tuple(float(len(rows)) for rows in train),
        flips,
        np.concatenate(photographs),
    )


def _open(name: str, config: ConfigDict, size: int, cache: pathlib.Path | None) -> ImageSet:
    if name == DRAWN:
        return synthetic.image_set(config.num, config.seed, size)
    preprocessing = Preprocessing(
        size, config.fit, full_scale=config.full_scale, max_pixels=config.max_pixels, alpha=True
    )
    if not name.startswith(TFDS):
        return folder.image_folder(name, preprocessing, config.strict, cache=cache)
    dataset, _, split = name.removeprefix(TFDS).partition(":")
    split = split or "train"
    builder = builders.open_builder(dataset, ("",), config.data_dir)
    if not builders.is_prepared(builder):
        how = builders.how_to_prepare(dataset, config.data_dir)
        raise UserError(f"{builder.info.full_name} is not prepared in {builder.data_dir}: {how}")
    labels = prepared.stored_label(builder, config.label)
    data = prepared.Prepared(builder, (split,), labels, preprocessing, (), cache)
    return data.images.subset(data.rows(split))


def _train_rows(images: ImageSet, config: ConfigDict) -> np.ndarray:
    if not config.heldout:
        return np.arange(len(images))
    parts = {"heldout": config.heldout}
    held = splits.split(images.labels, parts, config.seed, images.copies())["heldout"]
    return np.setdiff1d(np.arange(len(images)), held)


def _summary(name: str, images: ImageSet, train: int) -> list[str]:
    where = images.name if images.found is None else images.found.where
    lines = [f"found {counted(len(images), 'image')} in {where if name != DRAWN else DRAWN}"]
    lines.append(found_lib.of_classes(images.classes, images.labels))
    lines += [] if images.found is None else images.found.lines()
    parts = f"{counted(train, 'image')} to train on, {len(images) - train:,} held out"
    return [*lines, f"parts: {parts}"]


def join(sets: Sequence[ImageSet]) -> ImageSet:
    """Sets one after the other as one set with four channels; alpha is 255 where there is none.

    Classes ("a", "b") and ("b", "c") give ("a", "b", "c").
    """
    classes = tuple(dict.fromkeys(name for one in sets for name in one.classes))
    number = {name: i for i, name in enumerate(classes)}
    labels = [np.array([number[n] for n in one.classes], np.int32)[one.labels] for one in sets]
    starts = np.cumsum([0, *map(len, sets)])

    def read(indices: np.ndarray) -> np.ndarray:
        indices = np.asarray(indices)
        owner = np.searchsorted(starts, indices, side="right") - 1
        pixels = None
        for source in np.unique(owner):
            here = owner == source
            found = sets[source].read(indices[here] - starts[source])
            if pixels is None:
                pixels = np.full((len(indices), *found.shape[1:3], 4), 255, np.uint8)
            pixels[here, ..., : found.shape[-1]] = found
        return np.zeros((0, 1, 1, 4), np.uint8) if pixels is None else pixels

    prints = np.array([np.frombuffer(bytes.fromhex(one.fingerprint), np.uint8) for one in sets])
    return ImageSet(
        name=", ".join(one.name for one in sets),
        classes=classes,
        labels=np.concatenate(labels),
        ids=[name for one in sets for name in one.ids],
        fingerprint=images_lib.fingerprint("joined", prints),
        read=read,
    )
