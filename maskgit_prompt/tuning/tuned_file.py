"""What files of tuned parameters share: safetensors, a header in JSON, their backbone."""

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from maskgit_prompt import params
from maskgit_prompt.backbones import Backbone
from maskgit_prompt.errors import UsageError, UserError
from maskgit_prompt.params import Tree
from maskgit_prompt.storage import sealed


@dataclasses.dataclass(frozen=True)
class TunedOn:
    """The backbone of tuned parameters.

    Attributes:
      name: for messages.
      fingerprint: of its parts, see Backbone.fingerprint.
      parts: those that the fingerprint covers: what the task needs of a backbone.
    """

    name: str
    fingerprint: str
    parts: tuple[str, ...]

    @classmethod
    def of(cls, backbone: Backbone, parts: tuple[str, ...]) -> "TunedOn":
        return cls(backbone.name, backbone.fingerprint(parts), parts)

    def check(self, backbone: Backbone, path: str | pathlib.Path) -> None:
        """Raises UserError unless the file at `path` was tuned on this very backbone."""
        found = backbone.fingerprint(self.parts)
        if self.fingerprint != found:
            raise UserError(
                f"{path} was tuned on {self.name!r} with fingerprint {self.fingerprint}, but "
                f"config.backbone is {backbone.name!r} with fingerprint {found}; use the backbone "
                "it was tuned on"
            )


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of file.

    Attributes:
      what: it holds, in a word.
      name: of the file in a run's folder.
      text: the name of the header in the file.
      format: the version that is written and read.
    """

    what: str
    name: str
    text: str
    format: int


def changed(tree: Tree, trainable: Sequence[str], part: str) -> Tree:
    """What a file must hold of a tuned tree: all that stands around the backbone's `part`, and what
    of the part itself was trained.

    Args:
      trainable: patterns, as params.split takes them.
    """
    around = {name: branch for name, branch in tree.items() if name != part}
    trained, _ = params.split(tree, tuple(trainable))
    return around | ({part: trained[part]} if part in trained else {})


def overlaid(weights: Tree, tree: Tree, part: str, path: str | pathlib.Path) -> Tree:
    """The weights of a backbone's `part` with those that a file holds in their place.

    Args:
      tree: of the file at `path`.

    Raises:
      UserError: parameters that the part does not have.
    """
    try:
        return params.overlaid(weights, tree.get(part, {}))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} does not fit the backbone's {part} ({error}); use the backbone it was tuned on"
        ) from error


def save(path: pathlib.Path, kind: Kind, tree: Tree, header: dict[str, Any]) -> None:
    """Writes the file whole or not at all."""
    text = json.dumps({"format": kind.format, **header})
    sealed.save(path, params.flatten(tree), {kind.text: text})


@contextlib.contextmanager
def opened(path: str | pathlib.Path, kind: Kind) -> Iterator[tuple[Tree, dict[str, Any]]]:
    """(parameters, the header without its format), to make a struct of.

    Raises:
      UsageError: no such file. UserError: truncated, damaged, or another kind of file; also where
        the struct cannot be made of the header.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise UsageError(f"no {kind.what} file {path}: expected the {kind.name} of a run")
    way_out = f"expected the {kind.name} of a run: copy it again"
    tensors, found = sealed.load(path, {kind.text}, way_out)
    if kind.text not in found:
        raise UserError(f"{path} is a safetensors file but holds no {kind.what} of maskgit_prompt")
    for name, x in tensors.items():
        if not np.isfinite(x).all():
            raise UserError(f"{path} holds NaN or infinite numbers in {name}; copy it again")
    try:
        header = json.loads(found[kind.text])
        if (version := header.pop("format")) != kind.format:
            raise UserError(
                f"{path} has format {version}, this version reads {kind.format}; update "
                "maskgit_prompt"
            )
        yield params.unflatten(tensors), header
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} has a damaged header ({error!r}); copy it again") from error
