"""Paths as users write them: ~ is expanded, what cannot be a path of this machine is refused.

The one place that does so; everything below gets a path that the operating system takes, or for
some keys an address that can be fetched.
"""

import os
import re

from ml_collections import ConfigDict

from maskgit_prompt.errors import UsageError
from maskgit_prompt.storage import addresses

# Keys that hold paths, in any job. A backbone may also be the name of an embedded or published one.
PATHS = (
    "backbone",
    "classifiers",
    "data.codes",
    "data.csv",
    "data.data_dir",
    "data.flips",
    "data.path",
    "data.photographs",
    "data.sets",
    "generated",
    "image",
    "inception",
    "models.backbones",
    "prefixes",
    "prompt",
    "real",
    "reconstruction.network",
    "source",
    "tuned",
    "vocabulary",
)
REMOTE = ("data.data_dir",)  # TFDS reads buckets itself
FETCHED = ("backbone", "inception", "models.backbones", "source")  # https:// and gs:// are fetched
SEVERAL = ("reconstruction.network", "source")  # FILE,FILE
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
            section[leaf] = ",".join(_checked(key, part) for part in parts)
        elif isinstance(value, tuple):
            section[leaf] = tuple(
                _checked(key, part) if isinstance(part, str) else part for part in value
            )


def _checked(key: str, path: str) -> str:
    """A path as `local` gives it; an address where this key takes one."""
    if key in REMOTE and ADDRESS.match(path):
        return path
    if key in FETCHED and addresses.is_address(path):
        try:
            addresses.url(path)  # that it names a host and a file
        except UsageError as error:
            raise UsageError(f"config.{key}: {error}") from error
        return path
    return local(f"config.{key}", path)


def local(key: str, path: str) -> str:
    """A path with ~ expanded; an empty one stays empty.

    key: where the user gave it, for messages.

    Raises:
      UsageError: only blanks, a zero byte, an address of another machine, ~ of nobody.
    """
    if path and not path.strip():
        raise UsageError(f"{key} = {path!r} is blank, expected a path")
    if "\0" in path:
        raise UsageError(f"{key} = {path!r} has a zero byte, expected a path")
    if ADDRESS.match(path):
        fetched = "https://, gs:// or " if key.removeprefix("config.") in FETCHED else ""
        raise UsageError(
            f"{key} = {path!r} is an address, expected {fetched}a path on this machine; {_way(key)}"
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
