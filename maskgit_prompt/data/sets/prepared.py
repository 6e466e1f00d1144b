"""Images of data sets that TFDS has prepared, at random, by slices such as "train[:800]+test".

Images are read when they are asked for. TensorFlow is not imported, but for gs:// paths.
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from maskgit_prompt.data import pixels
from maskgit_prompt.data.images import ImageSet, Reader, fingerprint
from maskgit_prompt.data.sets.record_scan import RecordFiles, scan
from maskgit_prompt.data.sets.records import ArrayRecords, TFRecords
from maskgit_prompt.errors import UsageError, UserError


@dataclasses.dataclass(frozen=True)
class Labels:
    """How a label is made of an example.

    Attributes:
      name: of the rule, see record_scan.RecordFiles.
      features: what is read of an example beside its image: {"label": True}, {"objects": {"type"}}.
      rule: those features -> class number.
      classes: names.
    """

    name: str
    features: Mapping[str, Any]
    rule: Callable[[dict[str, Any]], int]
    classes: tuple[str, ...]


def stored_label(builder, feature: str) -> Labels:
    """The label that a data set stores under a name, such as "label".

    Raises:
      UsageError: no such feature, or one that is not a class.
    """
    import tensorflow_datasets as tfds

    features = builder.info.features
    classes = [k for k, v in features.items() if isinstance(v, tfds.features.ClassLabel)]
    if feature not in classes or "image" not in features:
        raise UsageError(
            f"config.data.label = {feature!r}: {builder.info.full_name} has the classes "
            f"{', '.join(classes) or 'none'} and the features {', '.join(features)}; expected an "
            "image and one of the former"
        )
    names = features[feature].names or map(str, range(features[feature].num_classes))
    return Labels(feature, {feature: True}, lambda example: int(example[feature]), tuple(names))


class Prepared:
    """Slices of a prepared builder as rows of one ImageSet.

    Args:
      builder: prepared.
      slices: all that will be asked for, as TFDS writes them.
      labels: see Labels.
      beside: labels that others will ask for of the same data set; made and kept along with these.
      cache: a folder where labels and digests are kept; None: nowhere.

    Attributes:
      images: every image of the files that the slices touch.

    Raises:
      UserError: a slice that the data cannot give, damaged files, a label out of range.
    """

    def __init__(
        self,
        builder,
        slices: Sequence[str],
        labels: Labels,
        preprocessing: pixels.Preprocessing,
        beside: Sequence[Labels] = (),
        cache: pathlib.Path | None = None,
    ):
        import tensorflow_datasets as tfds

        self.name = builder.info.full_name
        instructions = {text: _instructions(builder, text) for text in slices}
        every = {
            os.fspath(one.filename): one.examples_in_shard
            for found in instructions.values()
            for one in found
        }
        counts = dict(sorted(every.items()))  # file -> records
        paths = list(counts)
        firsts = dict(zip(paths, np.cumsum([0, *counts.values()]), strict=False))
        self._rows = {
            text: np.concatenate(
                [firsts[os.fspath(one.filename)] + one.skip + np.arange(one.take) for one in found]
            )
            for text, found in instructions.items()
        }
        array_record = builder.info.file_format is tfds.core.FileFormat.ARRAY_RECORD
        records = (ArrayRecords if array_record else TFRecords)(paths)
        kinds = {one.name: one for one in (*beside, labels)}
        scanned = scan(
            RecordFiles(
                self.name,
                counts,
                records,
                _parser(builder, [one.features for one in kinds.values()]),
                {name: one.rule for name, one in kinds.items()},
            ),
            cache,
        )
        files = np.repeat(np.arange(len(paths)), [counts[path] for path in paths])
        places = np.concatenate([np.arange(counts[path]) for path in paths])
        found = scanned[f"label/{labels.name}"]
        for row in np.flatnonzero((found < 0) | (found >= len(labels.classes)))[:1]:
            raise UserError(
                f"record {places[row]} of {paths[files[row]]} has label {found[row]}, expected 0 "
                f"to {len(labels.classes) - 1}; this split has no labels, or the data set is "
                "damaged"
            )
        image_of = _parser(builder, [])

        def fetch(indices: np.ndarray) -> list[tuple[bytes, bytes]]:
            whole = records.read(files[indices], places[indices])
            return [(image_of(record)["image"], record) for record in whole]

        ids = [f"{pathlib.PurePath(paths[f]).name}#{i}" for f, i in zip(files, places, strict=True)]
        recipe = f"tfds-1, {preprocessing.steps}|{preprocessing.size}|{preprocessing.gain}"
        if preprocessing.full_scale:
            recipe += f"|full scale {preprocessing.full_scale:g}"
        decode = functools.partial(pixels.decode_image, preprocessing=preprocessing)
        self._fetch = fetch
        read = Reader(fetch, decode, ids, scanned["digests"], preprocessing.shape)
        self.images = ImageSet(
            name=self.name,
            classes=labels.classes,
            labels=found,
            ids=ids,
            fingerprint=fingerprint(recipe, scanned["digests"]),
            read=read,
            read_windows=read,
            recipe=recipe,
            digests=scanned["digests"],
        )

    def encoded(self, rows: np.ndarray) -> list[bytes]:
        """The files of some of the images, as they are stored."""
        return [image for image, _ in self._fetch(np.asarray(rows))]

    def rows(self, text: str) -> np.ndarray:
        """Rows of `images` that a slice holds, in its order; int64."""
        return self._rows[text]


def _instructions(builder, text: str) -> list:
    """Which examples of which files a slice holds, as TFDS works it out."""
    try:
        found = list(builder.info.splits[text].file_instructions)
        if not found:
            raise ValueError("it is empty")
        return found
    except (KeyError, ValueError) as error:
        counts = ", ".join(f"{k} of {v.num_examples}" for k, v in builder.info.splits.items())
        reason = " ".join(str(error).split())
        raise UserError(
            f"{builder.info.full_name} has no slice {text!r}: {reason[:200]}; it has {counts}"
        ) from error


def _parser(builder, features: Sequence[Mapping[str, Any]]) -> Callable[[bytes], dict[str, Any]]:
    """A record -> its image, still encoded, and the features of all these."""
    import tensorflow_datasets as tfds

    # tfds.decode.PartialDecoding makes the same of it, but imports TensorFlow to compare types.
    have = builder.info.features
    wanted, nested = {"image": have["image"]}, {}
    for name, inner in (item for one in features for item in one.items()):
        if inner is True:
            wanted[name] = have[name]
        else:
            nested.setdefault(name, {}).update((key, have[name].feature[key]) for key in inner)
    wanted |= {name: tfds.features.Sequence(inner) for name, inner in nested.items()}
    partial = tfds.features.FeaturesDict(wanted)
    encoded = {"image": tfds.decode.SkipDecoding()}
    return lambda record: partial.deserialize_example_np(record, decoders=encoded)
