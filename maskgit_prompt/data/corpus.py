"""Several sets of images as one, for pretraining: drawn ones, folders, archives, TFDS."""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np
from ml_collections import ConfigDict

from maskgit_prompt.counts import counted
from maskgit_prompt.data import images as images_lib
from maskgit_prompt.data import splits
from maskgit_prompt.data.images import ImageSet
from maskgit_prompt.data.mixture import PERIOD, Mixture
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
      summary: what was found, a few lines for each set.
    """

    images: ImageSet
    train: tuple[np.ndarray, ...]
    heldout: np.ndarray
    weights: tuple[float, ...]
    flips: np.ndarray
    photographs: np.ndarray
    summary: str

    def __len__(self) -> int:
        """How many images are trained on."""
        return sum(map(len, self.train))


def load(config: ConfigDict, size: int, cache: pathlib.Path | None = None) -> Corpus:
    """Finds the images of config.sets, and holds some back.

    Args:
      config: a pretraining job's config.data.
      size: pixels a side that images are read with.
      cache: see `folder.image_folder`.

    Raises:
      UsageError: no sets or one named twice, weights that do not fit them or leave one out, flips
        or photographs that are none of them, and what the readers raise.
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
    train, held, photographs, said = [], [], [np.zeros(0, np.int64)], []
    starts = np.cumsum([0, *map(len, found)])
    flips = np.zeros(len(images), bool)
    for name, one, start in zip(config.sets, found, starts[:-1], strict=True):
        kept, out = _cut(one, config)
        if not len(kept):
            raise UserError(f"{one.name}: no image remains to train on")
        train.append(start + kept)
        held.append(start + out)
        flips[start : start + len(one)] = name in config.flips
        if name in config.photographs:
            photographs.append(train[-1])
        said.append(
            one.summary(f"{counted(len(kept), 'image')} to train on, {len(out):,} held out")
        )
    # The smallest place among the batches that there is: beside 50,000 images twelve count, too.
    least = sum(map(len, train)) / PERIOD
    weights = tuple(config.weights) or tuple(max(least, len(rows)) for rows in train)
    Mixture(train, weights, config.seed)  # raises for weights that leave a set out
    return Corpus(
        images,
        tuple(train),
        np.concatenate(held),
        weights,
        flips,
        np.concatenate(photographs),
        "\n".join(said),
    )


def _open(name: str, config: ConfigDict, size: int, cache: pathlib.Path | None) -> ImageSet:
    if name == DRAWN:
        drawn = synthetic.image_set(config.num, config.seed, size)
        return dataclasses.replace(drawn, name=DRAWN)
    preprocessing = Preprocessing(
        size, config.fit, full_scale=config.full_scale, max_pixels=config.max_pixels, alpha=True
    )
    if not name.startswith(TFDS):
        return folder.image_folder(name, preprocessing, config.strict, cache=cache)
    dataset, _, split = name.removeprefix(TFDS).partition(":")
    split = split or "train"
    builder = builders.open_builder(dataset, ("",), config.data_dir)
    builders.check_prepared(builder, builders.how_to_prepare(dataset, config.data_dir))
    labels = prepared.stored_label(builder, config.label)
    data = prepared.Prepared(builder, (split,), labels, preprocessing, (), cache)
    return data.images.subset(data.rows(split))


def _cut(images: ImageSet, config: ConfigDict) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on, and rows to hold out."""
    everything = np.arange(len(images))
    if not config.heldout:
        return everything, everything[:0]
    parts = {"heldout": config.heldout}
    held = splits.split(images.labels, parts, config.seed, images.copies())["heldout"]
    return np.setdiff1d(everything, held), held


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
