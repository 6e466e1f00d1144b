"""Images of data sets that TFDS has prepared, at random, by slices such as "train[:800]+test".

Labels and digests are found in one pass over the files, shared out among hosts and kept in the
cache; images are read when they are asked for. TensorFlow is not imported, but for gs:// paths.
"""

import concurrent.futures
import contextlib
import dataclasses
import functools
import hashlib
import io
import json
import os
import pathlib
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging
from etils import epath

from maskgit_prompt import distributed
from maskgit_prompt.data import pixels
from maskgit_prompt.data.images import ImageSet, Reader, fingerprint
from maskgit_prompt.data.records import ArrayRecords, TFRecords, unreadable
from maskgit_prompt.errors import UsageError, UserError
from maskgit_prompt.files import write_whole
from maskgit_prompt.progress import progress

PREPROCESSING = f"tfds-1, {pixels.PREPROCESSING}"


def open_builder(name: str, versions: Sequence[str], data_dir: str):
    """The TFDS builder of the first version that is prepared, else of the first that exists.

    Args:
      name: "svhn_cropped" or "eurosat/rgb".
      versions: tried in this order: ("4.*.*", "3.*.*").
      data_dir: where prepared data lies; empty: $TFDS_DATA_DIR, or ~/tensorflow_datasets.

    Raises:
      UsageError: TFDS knows no such data set, configuration or version.
      UserError: its metadata is there, but damaged.
    """
    with _quiet():
        return _open_builder(name, versions, data_dir)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """TFDS warns of every folder that is not there, which is told better by whoever asks."""
    level = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(level)


def is_prepared(builder) -> bool:
    with _quiet():
        return builder.is_prepared()


def _open_builder(name: str, versions: Sequence[str], data_dir: str):
    import tensorflow_datasets as tfds

    first, wrong = None, None
    for version in versions:
        full = f"{name}:{version}" if version else name
        try:
            builder = tfds.builder(full, data_dir=expanded(data_dir) or None)
            prepared = builder.is_prepared()
        except (tfds.core.registered.DatasetNotFoundError, AssertionError) as error:
            wrong = wrong or error
            continue
        except Exception as error:  # whatever TFDS raises on metadata it cannot read
            if isinstance(error, ValueError) and "BuilderConfig" in str(error):
                wrong = wrong or error
                continue
            reason = " ".join(str(error).split())
            raise UserError(
                f"what TFDS wrote beside {full} in {place(data_dir)} is damaged "
                f"({type(error).__name__}: {reason[:200]}); delete that folder and prepare it again"
            ) from error
        if prepared:
            return builder
        first = first or builder
    if first is None:
        reason = " ".join(str(wrong).split())
        raise UsageError(
            f"TFDS has no data set {name}:{'|'.join(versions)} ({reason[:200]}); check name and "
            "version in its catalogue"
        ) from wrong
    return first


def expanded(data_dir: str) -> str:
    """The folder with ~ resolved; gs:// paths stay."""
    return data_dir if "://" in data_dir else os.path.expanduser(data_dir)


def place(data_dir: str) -> str:
    """Where prepared data is looked for."""
    import tensorflow_datasets as tfds

    return os.fspath(expanded(data_dir) or tfds.core.constants.DATA_DIR)


def manual_dir(data_dir: str) -> str:
    """Where TFDS looks for files that a person has to fetch."""
    return f"{place(data_dir)}/downloads/manual"


def how_to_prepare(name: str, data_dir: str) -> str:
    """The command that downloads and prepares a data set."""
    where = f", data_dir={expanded(data_dir)!r}" if data_dir else ""
    script = f"import tensorflow_datasets as t; t.builder({name!r}{where}).download_and_prepare()"
    return f'python -c "{script}"'


def download(builder) -> None:
    """Downloads and prepares a data set; of several hosts the first does.

    Raises:
      UserError: whatever ends it: no network, files that a person has to fetch, missing packages.
    """
    wrong = ""
    if distributed.is_first():
        try:
            builder.download_and_prepare()
        except Exception as error:  # whatever a builder's own code raises
            text = " ".join(str(error).split())
            wrong = (
                f"{builder.info.full_name} cannot be prepared in {builder.data_dir}: "
                f"{type(error).__name__}: {text[:300]}"
            )
    wrong = distributed.gather(wrong.encode())[0].decode()  # so that all hosts go on, or none
    if wrong:
        raise UserError(wrong)


@dataclasses.dataclass(frozen=True)
class Labels:
    """How a label is made of an example.

    Attributes:
      name: of the rule; part of the key of kept labels, raise it when the rule changes.
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
      UsageError: no such feature, or one that is no class.
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
      labels: see Labels. size: S. gain: of `pixels.decode_image`.
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
        size: int,
        gain: int = 1,
        cache: pathlib.Path | None = None,
    ):
        import tensorflow_datasets as tfds

        self.name = builder.info.full_name
        instructions = {text: _instructions(builder, text) for text in slices}
        counts: dict[str, int] = {}  # file -> records, in the order of the slices
        for found in instructions.values():
            for one in found:
                counts.setdefault(os.fspath(one.filename), one.examples_in_shard)
        paths = sorted(counts)
        firsts = np.cumsum([0, *(counts[path] for path in paths)])
        number = {path: i for i, path in enumerate(paths)}
        self._rows = {
            text: np.concatenate(
                [
                    firsts[number[os.fspath(one.filename)]] + one.skip + np.arange(one.take)
                    for one in found
                ]
            )
            for text, found in instructions.items()
        }
        array_record = builder.info.file_format is tfds.core.FileFormat.ARRAY_RECORD
        records = (ArrayRecords if array_record else TFRecords)(paths)
        parse = _parser(builder, labels.features)
        scanned = _scan(self.name, records, paths, counts, parse, labels, cache)
        files = np.repeat(np.arange(len(paths)), [counts[path] for path in paths])
        places = np.concatenate([np.arange(counts[path]) for path in paths])

        def fetch(indices: np.ndarray) -> list[tuple[bytes, bytes]]:
            whole = records.read(files[indices], places[indices])
            return [(parse(record)["image"], record) for record in whole]

        ids = [f"{pathlib.PurePath(paths[f]).name}#{i}" for f, i in zip(files, places, strict=True)]
        recipe = f"{PREPROCESSING}|{size}|{gain}"
        decode = functools.partial(pixels.decode_image, size=size, gain=gain)
        self.images = ImageSet(
            name=self.name,
            classes=labels.classes,
            labels=scanned["labels"].astype(np.int32),
            ids=ids,
            fingerprint=fingerprint(recipe, scanned["digests"]),
            read=Reader(fetch, decode, ids, scanned["digests"], size),
            recipe=recipe,
            digests=scanned["digests"],
        )

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


def _parser(builder, features: Mapping[str, Any]) -> Callable[[bytes], dict[str, Any]]:
    """A record -> its image, still encoded, and the named features."""
    import tensorflow_datasets as tfds

    # tfds.decode.PartialDecoding makes the same of it, but imports TensorFlow to compare types.
    have = builder.info.features
    wanted = {"image": have["image"]}
    for name, inner in features.items():
        if inner is True:
            wanted[name] = have[name]
        else:
            wanted[name] = tfds.features.Sequence({key: have[name].feature[key] for key in inner})
    partial = tfds.features.FeaturesDict(wanted)
    encoded = {"image": tfds.decode.SkipDecoding()}
    return lambda record: partial.deserialize_example_np(record, decoders=encoded)


def _scan(
    name: str,
    records: TFRecords | ArrayRecords,
    paths: list[str],
    counts: Mapping[str, int],
    parse: Callable,
    labels: Labels,
    cache: pathlib.Path | None,
) -> dict[str, np.ndarray]:
    """labels [n] and digests [n, 32] of all records; tells `records` where they lie."""
    key = json.dumps([name, labels.name, [[path, *_stamp(path)] for path in paths]])
    file = cache and cache / f"records-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"
    kept = _load(file) if file else None
    # All hosts or none: one may find what another has just written.
    if not all(distributed.gather(b"1" if kept else b"")):
        kept = _scan_files(name, records, paths, counts, parse, labels)
        if file:
            write_whole(file, _npz(kept))
    ends = np.cumsum([counts[path] for path in paths])[:-1]
    records.starts = dict(enumerate(np.split(kept["starts"], ends)))
    records.lengths = dict(enumerate(np.split(kept["lengths"], ends)))
    return kept


def _stamp(path: str) -> list[int]:
    """What changes when a file does."""
    try:
        if "://" in path:
            remote = epath.Path(path).stat()
            return [remote.length, remote.mtime]
        found = os.stat(path)
    except OSError as error:
        raise unreadable(path, error) from error
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def _load(file: pathlib.Path) -> dict[str, np.ndarray] | None:
    """What `_scan` kept, None where it is missing or damaged."""
    try:
        with np.load(file) as found:
            return {name: found[name] for name in found.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, KeyError):
        return None


def _npz(arrays: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _scan_files(
    name: str,
    records: TFRecords | ArrayRecords,
    paths: list[str],
    counts: Mapping[str, int],
    parse: Callable,
    labels: Labels,
) -> dict[str, np.ndarray]:
    """One pass over all files; host h of n takes files h, h + n, …"""
    host, hosts = distributed.index_and_count()
    mine = range(host, len(paths), hosts)
    total = sum(counts[paths[number]] for number in mine)
    wrong, found = "", []
    with (
        progress(total, f"index {name}", "image", delay=5.0) as bar,
        concurrent.futures.ThreadPoolExecutor(os.cpu_count(), "records") as pool,
    ):

        def one(number: int) -> dict[str, np.ndarray]:
            return _scan_file(records, number, paths[number], counts, parse, labels, bar.update)

        try:
            found = list(pool.map(one, mine))
        except UserError as error:
            wrong = str(error)
    # What one host finds wrong all are told, so that none waits for another.
    wrong = [text for text in map(bytes.decode, distributed.gather(wrong.encode())) if text]
    if wrong:
        raise UserError(wrong[0])
    everywhere = [_unpack(data) for data in distributed.gather(_npz(_merge(mine, found)))]
    by_file = {int(n): part for share in everywhere for n, part in share.items()}
    return {
        key: np.concatenate([by_file[number][key] for number in range(len(paths))])
        for key in ("labels", "digests", "starts", "lengths")
    }


def _merge(numbers: Sequence[int], parts: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {
        f"{number}/{key}": array
        for number, part in zip(numbers, parts, strict=True)
        for key, array in part.items()
    }


def _unpack(data: bytes) -> dict[str, dict[str, np.ndarray]]:
    """The reverse of `_merge`: file number -> its arrays."""
    with np.load(io.BytesIO(data)) as found:
        parts: dict[str, dict[str, np.ndarray]] = {}
        for name in found.files:
            number, key = name.split("/")
            parts.setdefault(number, {})[key] = found[name]
    return parts


def _scan_file(
    records: TFRecords | ArrayRecords,
    number: int,
    path: str,
    counts: Mapping[str, int],
    parse: Callable,
    labels: Labels,
    done: Callable[[int], None],
) -> dict[str, np.ndarray]:
    """labels, digests, starts and lengths of one file's records."""
    classes, digests = [], []
    for record in records.scan(number):
        try:
            label = labels.rule(parse(record))
        except Exception as error:  # whatever TFDS raises on bytes that are no such example
            raise UserError(
                f"record {len(classes)} of {path} is no example of its data set "
                f"({type(error).__name__}: {error}); prepare the data set again"
            ) from error
        if not 0 <= label < len(labels.classes):
            raise UserError(
                f"record {len(classes)} of {path} has label {label}, expected 0 to "
                f"{len(labels.classes) - 1}; this split has no labels, or the data set is damaged"
            )
        classes.append(label)
        digests.append(hashlib.sha256(record).digest())
        if len(classes) % 256 == 0:
            done(256)
    done(len(classes) % 256)
    if len(classes) != counts[path]:
        raise UserError(
            f"{path} holds {len(classes)} records, expected {counts[path]}; prepare the data set "
            "again"
        )
    return {
        "labels": np.array(classes, np.int32),
        "digests": np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32),
        "starts": records.starts[number],
        "lengths": records.lengths[number],
    }
