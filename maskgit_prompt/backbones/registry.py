"""The networks that can be a backbone's parts: every file in models/ with a KIND."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from flax import nnx

from maskgit_prompt import discovery, models, params
from maskgit_prompt.models.kind import Axes, Kind
from maskgit_prompt.params import Tree


@functools.cache
def kinds() -> dict[str, Kind]:
    """name -> kind."""
    return discovery.brought(models, "KIND")


def make_module(kind: str, cfg: Any) -> Callable[[nnx.Rngs], nnx.Module]:
    """The function of nnx.Rngs that makes a network of a kind."""
    return lambda rngs: kinds()[kind].module(cfg, rngs=rngs)


@functools.cache
def outline(kind: str, cfg: Any) -> tuple[nnx.GraphDef, Tree]:
    """As params.outline, of a network of a kind; not to be changed.

    Kept: to trace a network's construction takes longer than to run a small one.
    """
    return params.outline(make_module(kind, cfg))


def axes(prefix: str, rules: Axes) -> Axes:
    """A network's rules, with its parameters as a branch of a larger tree."""
    return tuple((rf"{prefix}/{pattern}", logical) for pattern, logical in rules)


def abstract(make: Callable[[nnx.Rngs], nnx.Module]) -> Tree:
    """Names, shapes and dtypes of a module's parameters, without allocating them."""
    return params.outline(make)[1]


def stored_fields(cfg: Any) -> dict[str, Any]:
    """A config's fields for a folder, without the machine's choice of attention."""
    fields = dataclasses.asdict(cfg)
    fields.pop("attention_implementation", None)
    return fields
