"""What a file in importers/ says of the checkpoints that it reads."""

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
      name: as config.format calls it; no two files in importers/ have the same.
      read: a file's names and arrays, none of which is read.
      networks: what makes networks of them: of names, the file for messages, and options.
      tokenizer: beginnings of names that only a tokenizer has.
      licence: a note for the folder.
      find: (checkpoint, options) of what was given, where that may be a folder.
      tuned_on: the kind of transformer that its prompts were tuned on, if files may hold prompts.
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
    """name -> format, of every file in importers/ that has a FORMAT."""
    return discovery.brought(importers, "FORMAT")
