"""Tuned prefixes of an encoder-decoder, one small .safetensors file.

Its tensors are the generators' parameters, an MLP folded away. The header holds the generators'
configs, the backbone's name and fingerprint, what the prefixes are for, and the scores.
"""

import dataclasses
import pathlib
from typing import Any

import jax
import numpy as np

from maskgit_prompt import params
from maskgit_prompt.backbones import abstract
from maskgit_prompt.models.prefixes import PrefixesConfig, PrefixGenerator, folded_places
from maskgit_prompt.models.prompt import PromptConfig
from maskgit_prompt.params import Tree
from maskgit_prompt.tuning import tuned_file
from maskgit_prompt.tuning.tuned_file import TunedOn

FILE = tuned_file.Kind("prefix", "prefix.safetensors", "maskgit_prompt_prefix", format=1)


@dataclasses.dataclass(frozen=True)
class TunedPrefix:
    """Tuned prefix generators and everything needed to use them again.

    Attributes:
      config, tree: the generators' sizes and parameters.
      backbone: what they were tuned on.
      task: what they are for: its name, its instruction, its settings.
      scores: what was measured.
    """

    config: PrefixesConfig
    tree: Tree
    backbone: TunedOn
    task: dict[str, Any] = dataclasses.field(default_factory=dict)
    scores: dict[str, Any] = dataclasses.field(default_factory=dict)

    def folded(self) -> "TunedPrefix":
        """The same without MLPs, as `save` writes it."""
        config, tree = folded_places(self.config, self.tree)
        return dataclasses.replace(self, config=config, tree=jax.tree.map(np.asarray, tree))


def save(path: pathlib.Path, prefix: TunedPrefix) -> None:
    """Writes the file whole or not at all."""
    prefix = prefix.folded()
    header = {
        "cfg": {place: dataclasses.asdict(one) for place, one in prefix.config.places.items()},
        "backbone": dataclasses.asdict(prefix.backbone),
        "task": prefix.task,
        "scores": prefix.scores,
    }
    tuned_file.save(path, FILE, prefix.tree, header)


def load(path: str | pathlib.Path) -> TunedPrefix:
    """Reads a prefix file.

    Raises:
      UsageError: no such file. UserError: truncated, damaged, or not a prefix file.
    """
    with tuned_file.opened(path, FILE) as (tree, header):
        sizes = {place: PromptConfig(**cfg) for place, cfg in header.pop("cfg").items()}
        backbone = header.pop("backbone")
        backbone["parts"] = tuple(backbone["parts"])
        prefix = TunedPrefix(PrefixesConfig(**sizes), tree, TunedOn(**backbone), **header)
    expected = abstract(lambda rngs: PrefixGenerator(prefix.config, rngs=rngs))
    params.check(prefix.tree, expected, f"prefix file {path}")
    return prefix
