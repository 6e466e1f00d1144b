"""Paths as users write them: ~ is expanded, what cannot be a path of this machine is refused.

The one place that does so; everything below gets a path that the operating system takes.
"""

import os
import re

from ml_collections import ConfigDict

from maskgit_prompt.errors import UsageError

# Keys that hold paths, in any job. A backbone may also be the name of an embedded one.
PATHS = (
    "backbone",
    "data.codes",
    "data.csv",
    "data.data_dir",
    "data.flips",
    "data.path",
    "data.photographs",
    "data.sets",
    "image",
    "models.backbones",
    "prompt",
    "source",
)
REMOTE = ("data.data_dir",)  # TFDS reads buckets itself
SEVERAL = ("source",)  # FILE,FILE
WRITTEN = ("--workdir", "config.data.codes")
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # gs://, s3://, file:/, but not C:/


def expand(config: ConfigDict) -> None:
    """Expands and checks all paths of a config, in place.

    Raises:
      UsageError: as `local`.
    """
    for key in PATHS:
        *sections, leaf = key.split(".")
        section = config
        for name in sections:
            section = section.get(name) if isinstance(section, ConfigDict) else None
        value = section.get(leaf) if isinstance(section, ConfigDict) else None
        if isinstance(value, str):
            parts = value.split(",") if key in SEVERAL else [value]
            remote = key in REMOTE
            section[leaf] = ",".join(local(f"config.{key}", part, remote) for part in parts)
        elif isinstance(value, tuple):
            section[leaf] = tuple(
                local(f"config.{key}", part) if isinstance(part, str) else part for part in value
            )


def local(key: str, path: str, remote: bool = False) -> str:
    """A path with ~ expanded; an empty one stays empty.

    Args:
      key: where the user gave it, for messages.
      remote: addresses such as gs://BUCKET/NAME are taken as they are.

    Raises:
      UsageError: only blanks, a zero byte, an address of another machine, ~ of nobody.
    """
    if path and not path.strip():
        raise UsageError(f"{key} = {path!r} is blank, expected a path")
    if "\0" in path:
        raise UsageError(f"{key} = {path!r} has a zero byte, expected a path")
    if ADDRESS.match(path):
        if remote:
            return path
        raise UsageError(
            f"{key} = {path!r} is an address, expected a path on this machine; {_way(key)}"
        )
    expanded = os.path.expanduser(path)
    if expanded.startswith("~") and not os.path.exists(path):
        raise UsageError(
            f"{key} = {path!r}: there is no user {path[1:].partition('/')[0]!r}; write the path "
            "out, or ./~… for a name that begins with ~"
        )
    return expanded


def _way(key: str) -> str:
    if key in WRITTEN:
        return (
            "give a folder; on a TPU VM launch/tpu_vm.sh --store=gs://BUCKET/NAME.tar.gz keeps the "
            "workdir in a bucket"
        )
    return "copy it first, as gcloud storage cp -r gs://BUCKET/NAME . does"
