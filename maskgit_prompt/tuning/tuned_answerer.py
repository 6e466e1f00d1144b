"""What was tuned of or around an encoder-decoder by any method but prefixes, as .safetensors.

Prefixes have a file of their own (`tuned_prefix.py`), which may stand in a batch beside others.
"""

import dataclasses
import pathlib
from typing import Any

from maskgit_prompt.params import Tree
from maskgit_prompt.tuning import tuned_file
from maskgit_prompt.tuning.tuned_file import TunedOn

FILE = tuned_file.Kind("tuned model", "tuned.safetensors", "maskgit_prompt_answerer", format=1)


@dataclasses.dataclass(frozen=True)
class TunedAnswerer:
    """Attributes:
    tree: parameters that stand around the network, and of the network those that were tuned.
    sizes: of what stands around it, for its configs.
    backbone: what they were tuned on.
    method: how.
    task: what they are for: goal, instruction, settings.
    scores: what was measured.
    """

    tree: Tree
    sizes: dict[str, Any]
    backbone: TunedOn
    method: str
    task: dict[str, Any] = dataclasses.field(default_factory=dict)
    scores: dict[str, Any] = dataclasses.field(default_factory=dict)


def save(path: pathlib.Path, found: TunedAnswerer) -> None:
    """Writes the file whole or not at all."""
    header = {
        "sizes": found.sizes,
        "backbone": dataclasses.asdict(found.backbone),
        "method": found.method,
        "task": found.task,
        "scores": found.scores,
    }
    tuned_file.save(path, FILE, found.tree, header)


def load(path: str | pathlib.Path) -> TunedAnswerer:
    """Reads a file.

    Raises:
      UsageError: no such file. UserError: truncated, damaged, or another kind of file.
    """
    with tuned_file.opened(path, FILE) as (tree, header):
        backbone = header.pop("backbone")
        backbone["parts"] = tuple(backbone["parts"])
        return TunedAnswerer(tree=tree, backbone=TunedOn(**backbone), **header)
