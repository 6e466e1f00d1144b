"""One pass over the record files of a data set: labels, digests, and where each record lies.

The pass is shared out among hosts by file, and kept for the next start. Labels of all tasks on a
data set are made at once, since reading it is what takes the time.
"""

import concurrent.futures
import dataclasses
import hashlib
import io
import json
import os
import pathlib
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from etils import epath

from maskgit_prompt.data.sets.places import UNSURE, stamp
from maskgit_prompt.data.sets.records import ArrayRecords, TFRecords, unreadable
from maskgit_prompt.devices import distributed
from maskgit_prompt.errors import UserError
from maskgit_prompt.progress import progress
from maskgit_prompt.storage.files import write_whole

Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class RecordFiles:
    """What is looked through.

    Attributes:
      name: of the data set, with its version.
      counts: file -> how many records it has to hold, in the order of the rows.
      records: reads them; is told where they lie.
      parse: a record -> what the rules take.
      rules: name of a kind of label -> the rule that makes it. A rule that changes has to change
        its name, too: kept labels are told apart by it.
    """

    name: str
    counts: Mapping[str, int]
    records: TFRecords | ArrayRecords
    parse: Callable[[bytes], dict[str, Any]]
    rules: Mapping[str, Callable[[dict[str, Any]], int]]


def scan(files: RecordFiles, cache: pathlib.Path | None) -> Arrays:
    """ "digests" uint8 [n, 32] of all records, and "label/NAME" int32 [n] for each rule.

    Args:
      cache: folder where they are kept; None: nowhere.

    Raises:
      UserError: files that are missing, damaged or hold other numbers of records, on all hosts.
    """
    stamps = [_stamp(path) for path in files.counts]
    kept_as = None
    if cache is not None and UNSURE.hex() not in stamps:
        key = json.dumps([files.name, sorted(files.rules), list(files.counts), stamps])
        kept_as = cache / f"records-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"
    found = _load(kept_as) if kept_as else None
    # All hosts or none: one may find what another has just written.
    if not all(distributed.gather(b"1" if found else b"")):
        found = _scan_files(files)
        if kept_as:
            write_whole(kept_as, _npz(found))
    ends = np.cumsum(list(files.counts.values()))[:-1]
    files.records.starts = dict(enumerate(np.split(found["starts"], ends)))
    files.records.lengths = dict(enumerate(np.split(found["lengths"], ends)))
    return found


def _stamp(path: str) -> str:
    """What is another whenever a file may have changed."""
    try:
        if "://" in path:
            remote = epath.Path(path).stat()
            return f"{remote.length} {remote.mtime}"
        return stamp(os.stat(path)).hex()
    except OSError as error:
        raise unreadable(path, error) from error


def _load(file: pathlib.Path) -> Arrays | None:
    """What `scan` kept, None where it is missing or damaged."""
    try:
        with np.load(file) as found:
            return {name: found[name] for name in found.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, KeyError):
        return None


def _npz(arrays: Arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _scan_files(files: RecordFiles) -> Arrays:
    """Host h of n takes files h, h + n, …; all get all."""
    host, hosts = distributed.index_and_count()
    paths = list(files.counts)
    mine = range(host, len(paths), hosts)
    wrong, found = "", []
    with (
        progress(
            sum(files.counts[paths[number]] for number in mine),
            f"index {files.name}",
            "image",
            delay=5.0,
        ) as bar,
        concurrent.futures.ThreadPoolExecutor(os.cpu_count(), "records") as pool,
    ):
        try:
            found = list(pool.map(lambda n: _scan_file(files, n, paths[n], bar.update), mine))
        except UserError as error:
            wrong = str(error)
    # What one host finds wrong all are told, so that none waits for another.
    wrong = [text for text in map(bytes.decode, distributed.gather(wrong.encode())) if text]
    if wrong:
        raise UserError(wrong[0])
    share = {
        f"{number}|{key}": array
        for number, arrays in zip(mine, found, strict=True)
        for key, array in arrays.items()
    }
    whole: Arrays = {}
    for data in distributed.gather(_npz(share)):
        with np.load(io.BytesIO(data)) as part:
            whole |= {name: part[name] for name in part.files}
    keys = {name.partition("|")[2] for name in whole}
    return {
        key: np.concatenate([whole[f"{number}|{key}"] for number in range(len(paths))])
        for key in sorted(keys)
    }


def _scan_file(files: RecordFiles, number: int, path: str, done: Callable[[int], None]) -> Arrays:
    """The arrays of `scan` and starts and lengths, of one file."""
    labels: dict[str, list[int]] = {name: [] for name in files.rules}
    digests: list[bytes] = []
    for record in files.records.scan(number):
        try:
            example = files.parse(record)
            for name, rule in files.rules.items():
                labels[name].append(rule(example))
        except Exception as error:  # whatever TFDS raises on bytes that are not such an example
            raise UserError(
                f"record {len(digests)} of {path} is not an example of its data set "
                f"({type(error).__name__}: {error}); prepare the data set again"
            ) from error
        digests.append(hashlib.sha256(record).digest())
        if len(digests) % 256 == 0:
            done(256)
    done(len(digests) % 256)
    if len(digests) != files.counts[path]:
        raise UserError(
            f"{path} holds {len(digests)} records, expected {files.counts[path]}; prepare the data "
            "set again"
        )
    return {f"label/{name}": np.array(found, np.int32) for name, found in labels.items()} | {
        "digests": np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32),
        "starts": files.records.starts[number],
        "lengths": files.records.lengths[number],
    }
