"""One tuned prompt, one small .safetensors file.

Its tensors are the generator's parameters. The header holds the generator's config, the class
names, the backbone's name and fingerprint, the sampling settings and the scores.
"""

import dataclasses
import pathlib
from typing import Any

from maskgit_prompt import params
from maskgit_prompt.backbones import abstract
from maskgit_prompt.errors import UserError
from maskgit_prompt.models.prompt import PromptConfig, PromptGenerator
from maskgit_prompt.params import Tree
from maskgit_prompt.tuning import tuned_file
from maskgit_prompt.tuning.tuned_file import TunedOn

FILE = tuned_file.Kind("prompt", "prompt.safetensors", "maskgit_prompt", format=1)
# Earlier versions wrote no "parts"; their prompts depend on these. The header leaves these out, so
# that those versions can read new files.
IMPLIED = ("tokenizer", "transformer")
# Nor do those versions know these sizes of a generator, and the header leaves them out unless set.
LATER = ("uniform", "shared", "stages", "std", "reparameterize", "left_out", "gated")


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
    cfg = dataclasses.asdict(prompt.config)
    header = {
        "cfg": {k: x for k, x in cfg.items() if x or k not in LATER},
        "source": prompt.backbone.name,
        "fingerprint": prompt.backbone.fingerprint,
    }
    if prompt.backbone.parts != IMPLIED:
        header["parts"] = prompt.backbone.parts
    names = ("classes", "instances", "instance_classes", "sample", "scores")
    header |= {name: getattr(prompt, name) for name in names}
    tuned_file.save(path, FILE, prompt.tree, header)


def load(path: str | pathlib.Path) -> TunedPrompt:
    """Reads a prompt file.

    Raises:
      UsageError: no such file. UserError: truncated, damaged, or not a prompt file.
    """
    with tuned_file.opened(path, FILE) as (tree, header):
        config = PromptConfig(**header.pop("cfg"))
        parts = tuple(header.pop("parts", IMPLIED))
        backbone = TunedOn(header.pop("source"), header.pop("fingerprint"), parts)
        for name in ("classes", "instances", "instance_classes"):
            header[name] = tuple(header[name])
        prompt = TunedPrompt(config, tree, backbone=backbone, **header)
    expected = abstract(lambda rngs: PromptGenerator(config, rngs=rngs))
    params.check(prompt.tree, expected, f"prompt file {path}")
    if wrong := _wrong_names(prompt):
        raise UserError(f"{path} has a damaged header ({wrong}); copy it again")
    return prompt


def _wrong_names(prompt: TunedPrompt) -> str:
    """What is wrong with the names of classes and instances; empty if nothing is."""
    config, classes = prompt.config, len(prompt.classes)
    if classes != config.classes:
        return f"{classes} names for {config.classes} classes"
    if not len(prompt.instances) == len(prompt.instance_classes) == config.instances:
        return f"{len(prompt.instances)} names for {config.instances} instances"
    strange = [c for c in prompt.instance_classes if c not in range(classes)]
    return f"an instance of class {strange[0]} among {classes} classes" if strange else ""
