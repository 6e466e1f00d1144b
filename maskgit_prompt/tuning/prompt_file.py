"""One tuned prompt, one small .safetensors file.

Tensors are the generator's parameters; the header holds its config, the class names, the backbone's
name and fingerprint, how to sample, and the scores.
"""

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from maskgit_prompt import params
from maskgit_prompt.backbones import Backbone, abstract
from maskgit_prompt.errors import UsageError, UserError
from maskgit_prompt.models.prompt import PromptConfig, PromptGenerator
from maskgit_prompt.params import Tree
from maskgit_prompt.storage.files import write_whole

FORMAT = 1


@dataclasses.dataclass(frozen=True)
class PromptFile:
    """What the file holds.

    Attributes:
      cfg, tree: the generator.
      classes: class c of the prompt is called classes[c].
      instances: names of the images that have a prompt of their own, by instance id.
      backbone, fingerprint: name and fingerprint of the backbone it was tuned on.
      sample: how the images of the scores were decoded (config.sample).
      scores: what was measured.
      instance_classes: the class of each of `instances`.
    """

    cfg: PromptConfig
    tree: Tree
    classes: tuple[str, ...]
    instances: tuple[str, ...]
    backbone: str
    fingerprint: str
    sample: dict[str, Any]
    scores: dict[str, Any]
    instance_classes: tuple[int, ...] = ()


def save(path: pathlib.Path, prompt: PromptFile) -> None:
    """Writes the file whole or not at all."""
    header = {
        field.name: getattr(prompt, field.name)
        for field in dataclasses.fields(prompt)
        if field.name not in ("cfg", "tree")
    }
    header |= {"format": FORMAT, "cfg": dataclasses.asdict(prompt.cfg)}
    tensors = {name: np.ascontiguousarray(x) for name, x in params.flatten(prompt.tree).items()}
    data = safetensors.numpy.save(tensors, {"maskgit_prompt": json.dumps(header)})
    write_whole(path, data)


def load(path: str | pathlib.Path) -> PromptFile:
    """Reads a prompt file.

    Raises:
      UsageError: no such file. UserError: truncated, damaged, or not a prompt file.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise UsageError(f"no prompt file {path}: expected the prompt.safetensors of a run")
    try:
        with safetensors.safe_open(path, "numpy") as file:
            header = json.loads((file.metadata() or {}).get("maskgit_prompt", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, ValueError) as error:
        raise UserError(
            f"{path} is damaged or truncated ({error}); expected the prompt.safetensors of a run: "
            "copy it again"
        ) from error
    if header is None:
        raise UserError(f"{path} is a safetensors file, but holds no prompt of maskgit_prompt")
    try:
        if header.pop("format") != FORMAT:
            raise UserError(f"{path} is of another format than this version's {FORMAT}; update")
        cfg = PromptConfig(**header.pop("cfg"))
        for name in ("classes", "instances", "instance_classes"):
            header[name] = tuple(header[name])
        prompt = PromptFile(cfg=cfg, tree=params.unflatten(tensors), **header)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} has a damaged header ({error!r}); copy it again") from error
    params.check(
        prompt.tree, abstract(lambda rngs: PromptGenerator(cfg, rngs=rngs)), f"prompt file {path}"
    )
    return prompt


def check_backbone(prompt: PromptFile, backbone: Backbone, path: str | pathlib.Path) -> None:
    """Raises UserError unless the prompt was tuned on this very backbone."""
    if prompt.fingerprint != backbone.fingerprint:
        raise UserError(
            f"{path} was tuned on {prompt.backbone!r} with fingerprint {prompt.fingerprint}, but "
            f"config.backbone is {backbone.name!r} with fingerprint {backbone.fingerprint}; use "
            "the backbone it was tuned on"
        )
