"""A workdir claimed for a set of images, in whatever task."""

import contextlib
import os
import pathlib
from collections.abc import Iterator, Mapping

import numpy as np
from ml_collections import ConfigDict

from maskgit_prompt.data.loading import Splits
from maskgit_prompt.devices import distributed
from maskgit_prompt.errors import UsageError
from maskgit_prompt.storage import workdir
from maskgit_prompt.storage.files import write_whole


def check_apart(data: ConfigDict, path: str | os.PathLike) -> None:
    """Raises UsageError for a workdir that is the folder of the images; data: a config.data."""
    if data.name == "folder" and os.path.realpath(data.path) == os.path.realpath(path):
        raise UsageError(
            f"--workdir={path} is the folder of the images, and a run would add its files to them; "
            "name another, as --workdir=runs/mine"
        )


@contextlib.contextmanager
def claim(
    config: ConfigDict, data: Splits, parts: Mapping[str, np.ndarray], path: str | os.PathLike
) -> Iterator[pathlib.Path]:
    """Makes the workdir, or checks that it is of this config, images and labels; prints what was
    found of these.

    Called once the plan stands, so that a mistyped path claims no workdir. No other run uses it
    until the context is left.

    Args:
      parts: what images are for, in words -> their rows.
    """
    with workdir.prepare(path, config) as home:
        bind(data, parts, home)
        yield home


def bind(data: Splits, parts: Mapping[str, np.ndarray], home: pathlib.Path) -> None:
    """As `claim`, in a folder that is made and claimed already."""
    workdir.bind(home, {words: data.digest(rows) for words, rows in parts.items()})
    if data.images.found is not None:
        write_whole(home / "found.json", data.images.found.to_json())
    if distributed.is_first():
        print(data.summary(), flush=True)
