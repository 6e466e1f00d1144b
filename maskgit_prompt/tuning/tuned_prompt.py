"""One tuned prompt, one small .safetensors file.

Its tensors are the generator's parameters. The header holds the generator's config, the class
names, the backbone's name and fingerprint, the sampling settings and the scores.
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
# Earlier versions wrote no "parts"; their prompts depend on these. The header leaves these out, so
# that those versions can read new files.
IMPLIED = ("tokenizer", "transformer")


@dataclasses.dataclass(frozen=True)
class TunedOn:
    """The backbone of a prompt.

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


@dataclasses.dataclass(frozen=True)
class TunedPrompt:
    """A tuned prompt generator and everything needed to use it again.

    Attributes:
      config, tree: the generator's sizes and parameters.
      classes: class c of the prompt is called classes[c].
      backbone: what it was tuned on.
      instances: names of the images that have a prompt of their own, by instance id.
      instance_classes: the class of each of `instances`.
      sample: config.sample of the images that were scored.
      scores: what was measured.
    """

    config: PromptConfig
    tree: Tree
    classes: tuple[str, ...]
    backbone: TunedOn
    instances: tuple[str, ...] = ()
    instance_classes: tuple[int, ...] = ()
    sample: dict[str, Any] = dataclasses.field(default_factory=dict)
    scores: dict[str, Any] = dataclasses.field(default_factory=dict)


def save(path: pathlib.Path, prompt: TunedPrompt) -> None:
    """Writes the file whole or not at all."""
    header = {
        "format": FORMAT,
        "cfg": dataclasses.asdict(prompt.config),
        "source": prompt.backbone.name,
        "fingerprint": prompt.backbone.fingerprint,
    }
    if prompt.backbone.parts != IMPLIED:
        header["parts"] = prompt.backbone.parts
    names = ("classes", "instances", "instance_classes", "sample", "scores")
    header |= {name: getattr(prompt, name) for name in names}
    tensors = {name: np.ascontiguousarray(x) for name, x in params.flatten(prompt.tree).items()}
    data = safetensors.numpy.save(tensors, {"maskgit_prompt": json.dumps(header)})
    write_whole(path, data)


def load(path: str | pathlib.Path) -> TunedPrompt:
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
        raise UserError(f"{path} is a safetensors file but holds no prompt of maskgit_prompt")
    try:
        if (found := header.pop("format")) != FORMAT:
            raise UserError(
                f"{path} has format {found}, this version reads {FORMAT}; update maskgit_prompt"
            )
        config = PromptConfig(**header.pop("cfg"))
        parts = tuple(header.pop("parts", IMPLIED))
        backbone = TunedOn(header.pop("source"), header.pop("fingerprint"), parts)
        for name in ("classes", "instances", "instance_classes"):
            header[name] = tuple(header[name])
        prompt = TunedPrompt(config, params.unflatten(tensors), backbone=backbone, **header)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} has a damaged header ({error!r}); copy it again") from error
    expected = abstract(lambda rngs: PromptGenerator(config, rngs=rngs))
    params.check(prompt.tree, expected, f"prompt file {path}")
    return prompt


def check_backbone(prompt: TunedPrompt, backbone: Backbone, path: str | pathlib.Path) -> None:
    """Raises UserError unless the prompt was tuned on this very backbone."""
    made, found = prompt.backbone, backbone.fingerprint(prompt.backbone.parts)
    if made.fingerprint != found:
        raise UserError(
            f"{path} was tuned on {made.name!r} with fingerprint {made.fingerprint}, but "
            f"config.backbone is {backbone.name!r} with fingerprint {found}; use the backbone it "
            "was tuned on"
        )
