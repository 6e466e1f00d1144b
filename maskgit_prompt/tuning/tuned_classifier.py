"""One tuned classifier, one .safetensors file: what stands around the frozen encoder.

Its tensors are the parameters of head, prompt, adapters and low-rank updates, and those of the
encoder that were trained. The header holds sizes, class names, how images are prepared, and the
backbone's name and fingerprint.
"""

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np

from maskgit_prompt import params
from maskgit_prompt.backbones import Backbone
from maskgit_prompt.errors import UsageError, UserError
from maskgit_prompt.params import Tree
from maskgit_prompt.storage import sealed
from maskgit_prompt.tuning.tuned_prompt import TunedOn

FORMAT = 1
TEXT = "maskgit_prompt_classifier"  # the name of the header in the file


@dataclasses.dataclass(frozen=True)
class TunedClassifierFile:
    """A tuned classifier and everything needed to use it again.

    Attributes:
      tree: parameters by part: "head" and, where they are, "prompt", "adapter", "lora", "encoder".
      sizes: of these parts, as plain values.
      classes: class c is called classes[c].
      backbone: what it was tuned on.
      method: how it was tuned.
      images: how pixels are made: "fit", "resample", "mean", "std".
      scores: what was measured.
    """

    tree: Tree
    sizes: dict[str, Any]
    classes: tuple[str, ...]
    backbone: TunedOn
    method: str
    images: dict[str, Any]
    scores: dict[str, Any] = dataclasses.field(default_factory=dict)


def save(path: pathlib.Path, found: TunedClassifierFile) -> None:
    """Writes the file whole or not at all."""
    header = {
        "format": FORMAT,
        "backbone": found.backbone.name,
        "fingerprint": found.backbone.fingerprint,
        "parts": found.backbone.parts,
    }
    names = ("sizes", "classes", "method", "images", "scores")
    header |= {name: getattr(found, name) for name in names}
    sealed.save(path, params.flatten(found.tree), {TEXT: json.dumps(header)})


def load(path: str | pathlib.Path) -> TunedClassifierFile:
    """Reads a classifier file.

    Raises:
      UsageError: no such file. UserError: truncated, damaged, or not a classifier.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise UsageError(f"no classifier {path}: expected the classifier.safetensors of a run")
    way_out = "expected the classifier.safetensors of a run: copy it again"
    tensors, found = sealed.load(path, {TEXT}, way_out)
    if TEXT not in found:
        raise UserError(f"{path} is a safetensors file but holds no classifier of maskgit_prompt")
    for name, x in tensors.items():
        if not np.isfinite(x).all():
            raise UserError(f"{path} holds NaN or infinite numbers in {name}; copy it again")
    try:
        header = json.loads(found[TEXT])
        if (version := header.pop("format")) != FORMAT:
            raise UserError(
                f"{path} has format {version}, this version reads {FORMAT}; update maskgit_prompt"
            )
        on = TunedOn(header.pop("backbone"), header.pop("fingerprint"), tuple(header.pop("parts")))
        header["classes"] = tuple(header["classes"])
        return TunedClassifierFile(params.unflatten(tensors), backbone=on, **header)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} has a damaged header ({error!r}); copy it again") from error


def check_backbone(
    found: TunedClassifierFile, backbone: Backbone, path: str | pathlib.Path
) -> None:
    """Raises UserError unless the classifier was tuned on this very backbone."""
    made, here = found.backbone, backbone.fingerprint(found.backbone.parts)
    if made.fingerprint != here:
        raise UserError(
            f"{path} was tuned on {made.name!r} with fingerprint {made.fingerprint}, but "
            f"config.backbone is {backbone.name!r} with fingerprint {here}; use the backbone it "
            "was tuned on"
        )
