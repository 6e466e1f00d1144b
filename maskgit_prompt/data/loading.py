"""The images of a config.data and what each is for."""

import dataclasses
import difflib
import hashlib
import pathlib
from collections.abc import Sequence
from types import ModuleType

import numpy as np
from ml_collections import ConfigDict

from maskgit_prompt.counts import counted
from maskgit_prompt.data import splits
from maskgit_prompt.data.images import ImageSet
from maskgit_prompt.data.names import legible
from maskgit_prompt.data.pixels import Preprocessing
from maskgit_prompt.data.sets import (
    builders,
    digits,
    fgvc,
    folder,
    listed,
    places,
    prepared,
    twemoji,
    vtab,
    vtab_lists,
)
from maskgit_prompt.errors import UsageError, UserError

# Decides ties: a third image of a class is of more use in test than in judge, which needs three.
ORDER = ("tune", "test", "judge")
NAMES = ("digits", "twemoji", "folder", "tfds", "vtab", "fgvc")
SPLIT = ("tfds", "vtab", "fgvc")  # with splits of their own


@dataclasses.dataclass(frozen=True)
class Splits:
    """A set of images and indices of three splits without common images.

    Attributes:
      images: the whole set.
      tune: images the prompt is tuned on.
      judge: images the classifier is trained on that reads generated ones; where a classifier is
        tuned, those that decide between settings.
      test: held-out images: of the loss, near-copies and the accuracy of the classifier.
      reference: images that distances are measured to; they may be of the other splits, too.
      reference_name: what reports call them.
      judge_name: what the judge's images are for.
    """

    images: ImageSet
    tune: np.ndarray
    judge: np.ndarray
    test: np.ndarray
    reference: np.ndarray
    reference_name: str = "held-out real images"
    judge_name: str = "to train the classifier on"

    def labels(self, rows: np.ndarray) -> np.ndarray:
        """Labels of images by index, int32."""
        return self.images.labels[rows].astype(np.int32)

    def thinned(self, most: int, seed: int) -> "Splits":
        """At most about this many images to judge and to hold out, each class in proportion; what
        distances are measured to stays. 0: all."""
        thin = lambda rows: rows[splits.thin(self.images.labels[rows], most, seed)]
        return dataclasses.replace(self, judge=thin(self.judge), test=thin(self.test))

    def without_judge(self) -> "Splits":
        """The same with the judge's images among those to tune on: a classifier of one class has
        nothing to tell apart."""
        tune = np.sort(np.concatenate([self.tune, self.judge]))
        return dataclasses.replace(self, tune=tune, judge=self.judge[:0])

    def digest(self, rows: np.ndarray) -> str:
        """Sixteen hexadecimal digits of the pixels and the labels of images."""
        found = hashlib.sha256(self.images.subset(rows).fingerprint.encode())
        found.update(self.labels(rows).tobytes())
        return found.hexdigest()[:16]

    def summary(self) -> str:
        """What was found and what it is for, in a few lines."""
        return self.images.summary(
            f"{counted(len(self.tune), 'image')} to tune on, {len(self.judge):,} "
            f"{self.judge_name}, {len(self.test):,} held out"
        )


def load(
    config: ConfigDict, size: int, cache: pathlib.Path | None = None, resample: str = "lanczos"
) -> Splits:
    """Finds the images and splits them, class by class, by (seed, class).

    Args:
      config: a config.data.
      size: S, of the images.
      cache: a folder where what was learnt of files is kept for the next start; None: nowhere.
      resample: the filter that resizes, see Preprocessing.

    Raises:
      UsageError: an unknown name or fit, no path, or what the readers raise.
    """
    if config.name not in NAMES:
        raise UsageError(f"config.data.name = {config.name!r}, expected {', '.join(NAMES)}")
    preprocessing = Preprocessing(
        size,
        config.fit,
        resample=resample,
        full_scale=config.full_scale,
        max_pixels=config.max_pixels,
    )
    if config.name in SPLIT:
        found = _by_splits(config, preprocessing, cache)
    else:
        images = _images(config, preprocessing, cache)
        fractions = {name: config.fractions[name] for name in ORDER}
        cut = splits.split(images.labels, fractions, config.seed, images.copies())
        found = Splits(images, cut["tune"], cut["judge"], cut["test"], cut["test"])
    if len(found.images.classes) == 1:
        found = found.without_judge()
    if config.shots > 0:
        chosen = splits.few_shot(
            found.labels(found.tune), config.shots, config.seed, found.images.classes
        )
        found = dataclasses.replace(found, tune=found.tune[chosen])
    return found


def check_path(config: ConfigDict) -> None:
    """Raises UsageError if config.data asks for a folder where none is: at once, whereas a backbone
    may have to be fetched before `load` can begin."""
    if config.name == "folder":
        _check_names(config)
    if config.name == "folder" or sets_of_lists(config):
        if not config.path:
            raise UsageError("config.data.path is empty, expected the folder of the sets")
        places.existing(config.path)


def _check_names(config: ConfigDict) -> None:
    """Raises UsageError for a path that is empty, or that no report can show."""
    if not config.path:
        raise UsageError("config.data.path is empty; expected a folder: configs/folder.py:PATH")
    for key in ("path", "csv"):
        try:
            config[key].encode()
        except UnicodeEncodeError as error:
            raise UsageError(
                f"config.data.{key} = {legible(config[key])} is not UTF-8, which reports are: "
                "rename it, or make a link to it that has another name"
            ) from error


def _images(
    config: ConfigDict, preprocessing: Preprocessing, cache: pathlib.Path | None
) -> ImageSet:
    if config.name in ("digits", "twemoji"):
        if config.name == "digits":
            images = digits.digits(dataclasses.replace(preprocessing, resample="bicubic"))
        else:
            images = twemoji.twemoji(preprocessing)
        if not config.classes:
            return images
        images = only(images, config.classes)
        return images.subset(np.flatnonzero(images.labels >= 0))
    _check_names(config)
    names, shown = _names(config.classes)
    images = folder.image_folder(
        config.path, preprocessing, config.strict, classes=names, csv=config.csv, cache=cache
    )
    return dataclasses.replace(images, classes=shown) if shown else images


def _names(classes: Sequence) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What classes are called in the data and in reports: ("a=cat", "b") are (a, b), (cat, b)."""
    # str(): the command line makes a number of --config.data.classes=7.
    pairs = [str(name).partition("=")[::2] for name in classes]
    if len({name for name, _ in pairs}) < len(pairs):
        raise UsageError(f"config.data.classes = {tuple(classes)}: expected each class once")
    return tuple(name for name, _ in pairs), tuple(shown or name for name, shown in pairs)


def _by_splits(
    config: ConfigDict, preprocessing: Preprocessing, cache: pathlib.Path | None
) -> Splits:
    """The splits of a data set that has its own.

    The prompt is tuned on config.split. config.test, with VTAB its test split, is cut class by
    class into two halves: one trains the judge, the other is held out. Distances are to
    config.reference, or where that is empty to the held-out half. A classifier, whose config has a
    split for validation, has these images as its judge, and all of config.test are held out.
    """
    names = {"tune": config.split, "test": config.test}
    names |= {name: config[name] for name in ("reference", "validation") if name in config}
    for split, key in (("tune", "split"), ("test", "test")):
        if not names[split]:
            raise UsageError(f"config.data.{key} is empty, expected a split or slice, as train")
    names = {split: name for split, name in names.items() if name}
    data, names = _source(config, names, preprocessing, cache)
    images = data.images
    if config.classes:
        images = only(images, config.classes)

    rows = {split: data.rows(name) for split, name in names.items()}
    rows = {split: found[images.labels[found] >= 0] for split, found in rows.items()}
    if not len(rows["tune"]):
        raise UserError(f"{images.name}: {names['tune']} has no images to tune on")
    test = np.setdiff1d(rows["test"], rows["tune"])
    if "validation" in config:
        judge = np.setdiff1d(rows.get("validation", test[:0]), test)
        return Splits(images, rows["tune"], judge, test, test)
    copies = images.copies()
    halves = splits.split(
        images.labels[test],
        {"judge": 0.5, "test": 0.5},
        config.seed,
        None if copies is None else copies[test],
    )
    found = Splits(images, rows["tune"], test[halves["judge"]], held := test[halves["test"]], held)
    if "reference" not in rows:
        return found
    name = f"real images of the split {config.reference}"
    return dataclasses.replace(found, reference=rows["reference"], reference_name=name)


def sets_of_lists(config: ConfigDict) -> ModuleType | None:
    """The file that reads what config.data names as lists of files in a folder, or None.

    It has chosen, place, how_to_prepare and load.
    """
    if config.name == "vtab" and config.path:
        return vtab_lists
    return fgvc if config.name == "fgvc" else None


def _source(
    config: ConfigDict,
    names: dict[str, str],
    preprocessing: Preprocessing,
    cache: pathlib.Path | None,
) -> tuple[prepared.Prepared | listed.Listed, dict[str, str]]:
    """(what has the images, names of parts as it calls them); names: part -> split."""
    if sets := sets_of_lists(config):
        [task] = sets.chosen([config.task])
        wanted = tuple(dict.fromkeys(names.values()))
        return sets.load(task, config.path, wanted, preprocessing, cache), names
    if config.name == "vtab":
        [task] = vtab.chosen([config.task])
        builder = vtab.open_task(task, config.data_dir)
        how = vtab.how_to_prepare(task, config.data_dir)
        labels, beside = vtab.labels(task, builder), vtab.beside(task, builder)
        preprocessing = dataclasses.replace(preprocessing, gain=task.gain)
    else:
        builder = builders.open_builder(config.dataset, ("",), config.data_dir)
        how = builders.how_to_prepare(config.dataset, config.data_dir)
        labels, beside = prepared.stored_label(builder, config.label), ()
    if config.download and not builders.is_prepared(builder):
        builders.download(builder)
    builders.check_prepared(builder, how)
    if config.name == "vtab":
        counts = {name: split.num_examples for name, split in builder.info.splits.items()}
        names = {split: task.slices(name, counts) for split, name in names.items()}
    data = prepared.Prepared(builder, tuple(names.values()), labels, preprocessing, beside, cache)
    if config.name == "vtab":
        data.images = dataclasses.replace(data.images, name=task.name)
    return data, names


def only(images: ImageSet, classes: Sequence[str]) -> ImageSet:
    """The set with some classes alone, numbered as given; images of others have the label -1.

    classes: names, or "NAME=how it is called from here on".

    Raises:
      UsageError: a class that the set does not have.
    """
    number = {name: i for i, name in enumerate(images.classes)}
    names, shown = _names(classes)
    for name in names:
        if name not in number:
            near = difflib.get_close_matches(name, number, 3) or list(number)[:3]
            raise UsageError(
                f"config.data.classes: {images.name} has no class {name!r} among its "
                f"{len(number)}; near are {', '.join(near)}"
            )
    renumbered = np.full(len(number), -1, np.int32)
    renumbered[[number[name] for name in names]] = np.arange(len(names))
    return dataclasses.replace(images, classes=shown, labels=renumbered[images.labels])
