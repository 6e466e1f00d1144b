"""Settings to decode with, each with each of the others, without those that would be the same."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from maskgit_prompt.config import defaults, keys, uses
from maskgit_prompt.decoding.config import OF_KIND, DecodeConfig
from maskgit_prompt.errors import UsageError

# What is tried unless somebody names values, by the kind of transformer.
GRIDS = {
    "masked": {
        "sampler": ("plain", "entropy", "remasking"),
        "steps": (12, 32),
        "order": ("confidence", "halton"),
        "guidance": (1.0, 1.5, 2.0),
    },
    "causal": {
        "temperature": (0.8, 0.9, 1.0),
        "top_p": (0.95, 1.0),
        "guidance": (1.0, 1.5, 2.0),
    },
}
Changes = dict[str, Any]


def check(grid: Mapping[str, Sequence[Any]]) -> None:
    """Raises UsageError for a value that its key of config.sample could not have."""
    own = DecodeConfig()
    for name, values in grid.items():
        kind = type(getattr(own, name))
        for value in values:
            number = kind is float and isinstance(value, int) and not isinstance(value, bool)
            if not isinstance(value, kind) and not number:
                raise UsageError(
                    f"config.grid.{name} has {value!r}, expected {keys.TYPES[kind]}, each"
                )
            try:
                dataclasses.replace(own, **{name: value})
            except UsageError as error:
                raise UsageError(str(error).replace("config.sample.", "config.grid.", 1)) from error


def expand(
    grid: Mapping[str, Sequence[Any]], own: Mapping[str, Any], transformer: str
) -> list[Changes]:
    """What each setting changes of the run's own, which is the first one: {}.

    Order confidence and Halton with choice temperatures 1 and 2 are three settings: only confidence
    uses the temperature.

    Args:
      grid: key of config.sample -> values to try; without any, those of GRIDS.
      own: the run's config.sample.
      transformer: its kind, "masked" or "causal".

    Raises:
      UsageError: a key that no setting of the grid has a use for.
    """
    named = {name: values for name, values in grid.items() if values} or GRIDS[transformer]
    # In the order of config.sample, whoever named them: a setting has one name.
    tried = {name: tuple(named[name]) for name in own if name in named}
    found: list[Changes] = [{}]
    used, reasons = set(), {}
    for values in itertools.product(*tried.values()):
        given = {**own, **dict(zip(tried, values, strict=True))}
        if given["sampler"] not in OF_KIND[transformer]:
            reasons["sampler"] = f"a {transformer} transformer"
            continue
        idle = _idle(given, own, transformer)
        reasons |= idle
        changes = {
            name: given[name] for name in tried if given[name] != own[name] and name not in idle
        }
        used |= set(changes)
        if changes not in found:
            found.append(changes)
    for name, values in grid.items():
        if any(value != own[name] for value in values) and name not in used:
            reason = reasons.get(name, f"a {transformer} transformer")
            raise UsageError(f"config.grid.{name} = {tuple(values)!r} has no use with {reason}")
    return found


def _idle(given: Mapping[str, Any], own: Mapping[str, Any], transformer: str) -> dict[str, str]:
    """key -> why it has no use beside the others, of settings that differ from the run's own."""
    of = lambda sample: ConfigDict({**defaults.sample().to_dict(), "sample": dict(sample)})
    found = uses.unused(of(given), {"transformer": transformer, "prompts": "one prompt"}, of(own))
    return {key.removeprefix("sample."): reason for key, reason in found.items()}


def in_words(changes: Changes) -> str:
    """{"order": "halton", "steps": 32} is "order=halton,steps=32", and none are "own"."""
    return ",".join(f"{name}={value}" for name, value in changes.items()) or "own"


def flags(changes: Changes) -> str:
    """The same for a command line."""
    return " ".join(f"--config.sample.{name}={value}" for name, value in changes.items())
