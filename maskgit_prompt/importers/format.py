"""What a file in importers/ declares about the checkpoints that it reads."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from maskgit_prompt import discovery, importers
from maskgit_prompt.backbones import Part
from maskgit_prompt.importers.rules import Options


@dataclasses.dataclass(frozen=True)
class Format:
    """One format of checkpoints.

    Attributes:
      name: as in config.format; no two files in importers/ have the same.
      read: path -> {name: array}, without reading an array.
      networks: (names and arrays, the file for messages, options) -> the networks in them.
      tokenizer: beginnings of names that only a tokenizer has.
      licence: a note for the folder.
      find: what was given, which may be a folder -> (checkpoint, options).
      tuned_on: the kind of transformer that prompts in such files were tuned on, if there are any.
    """

    name: str
    read: Callable[[str], dict[str, Any]]
    networks: Callable[[dict[str, Any], str, Options], dict[str, Part]]
    tokenizer: tuple[str, ...]
    licence: str
    find: Callable[[str, Options], tuple[str, Options]] | None = None
    tuned_on: str = ""


@functools.cache
def formats() -> dict[str, Format]:
    """name -> format, for every file in importers/ with a FORMAT."""
    return discovery.brought(importers, "FORMAT")
