"""Which networks a backbone's parts can be: every file in models/ that has a KIND."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from flax import nnx

from maskgit_prompt import discovery, models
from maskgit_prompt.models.kind import Axes, Kind
from maskgit_prompt.params import Tree


@functools.cache
def kinds() -> dict[str, Kind]:
    """name -> kind."""
    return discovery.brought(models, "KIND")


def make_module(kind: str, cfg: Any) -> Callable[[nnx.Rngs], nnx.Module]:
    """The function of nnx.Rngs that makes a network of a kind."""
    return lambda rngs: kinds()[kind].module(cfg, rngs=rngs)


def axes(prefix: str, rules: Axes) -> Axes:
    """A network's rules where its parameters are a branch of a larger tree."""
    return tuple((rf"{prefix}/{pattern}", logical) for pattern, logical in rules)


def abstract(make: Callable[[nnx.Rngs], nnx.Module]) -> Tree:
    """Names, shapes and dtypes of a module's parameters, at no cost."""
    return nnx.to_pure_dict(nnx.state(nnx.eval_shape(lambda: make(nnx.Rngs(0)))))


def stored_fields(cfg: Any) -> dict[str, Any]:
    """A config's fields as a folder has them: how attention is computed is the machine's matter."""
    fields = dataclasses.asdict(cfg)
    fields.pop("attention_implementation", None)
    return fields
