"""A backbone in memory: its parts, what they are and where they come from."""

import dataclasses
from typing import Any

from flax import nnx

from maskgit_prompt import params
from maskgit_prompt.backbones.registry import make_module
from maskgit_prompt.devices import sharding
from maskgit_prompt.errors import UserError
from maskgit_prompt.models.prompt import PromptConfig
from maskgit_prompt.params import Tree


@dataclasses.dataclass(frozen=True)
class Part:
    """One network: its kind, its config and its parameters.

    Attributes:
      tree: arrays, or StoredArrays in the files of a folder.
      sha256: of the file, or of the digests of several.
      files: of a part in a folder: path -> sha256.
    """

    kind: str
    cfg: Any
    tree: Tree
    sha256: str = ""
    files: dict[str, str] = dataclasses.field(default_factory=dict, repr=False)
    _placed: dict = dataclasses.field(default_factory=dict, repr=False, compare=False)

    def graphdef(self, name: str, **changes: Any) -> nnx.GraphDef:
        """For nnx.merge.

        changes: of fields of the config that add no parameter, as dtype, attention_implementation.
        """
        return params.create(
            make_module(name, self.kind, dataclasses.replace(self.cfg, **changes))
        )[0]

    def prompted(self, prompt: PromptConfig | None, **changes: Any) -> nnx.GraphDef:
        """The transformer as it stands behind a prompt; its parameters are the same."""
        if prompt is not None and self.kind == "causal":
            changes["prompt_attention"] = prompt.attention
        return self.graphdef("transformer", **changes)

    def placed(self, name: str, mesh) -> Tree:
        """The parameters as float32 arrays on the mesh, by the rules for part `name`; read once."""
        if mesh not in self._placed:
            self._placed[mesh] = sharding.place({name: self.tree}, mesh)[name]
        return self._placed[mesh]


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A backbone.

    Attributes:
      name: for messages and reports.
      parts: by name; a half-trained folder may lack some.
      classes: names of the classes it was trained on.
      provenance: where the weights come from, in words and figures.
      fingerprint: of what a prompt depends on: configs and weights of tokenizer and transformer;
        empty until both are in a folder.
    """

    name: str
    parts: dict[str, Part]
    classes: tuple[str, ...] = ()
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)
    fingerprint: str = ""

    def part(self, name: str) -> Part:
        if name not in self.parts:
            raise UserError(
                f"backbone {self.name!r} has no {name}, only {', '.join(self.parts) or 'none'}"
            )
        return self.parts[name]

    def check_promptable(self) -> None:
        """Raises UserError for a transformer that a prompt alone cannot stand in front of."""
        cfg = self.part("transformer").cfg
        condition = getattr(cfg, "condition", 1)
        if condition != 1:
            raise UserError(
                f"backbone {self.name!r} takes {condition} codes as its condition (a depth "
                "map, coordinates, objects); prompts are tuned on models of classes or of nothing"
            )
        length = self.part("tokenizer").cfg.length
        if length > cfg.length:
            raise UserError(
                f"backbone {self.name!r}: its tokenizer makes {length} codes an image, its "
                f"transformer takes {cfg.length}; import a tokenizer and a transformer that were "
                "trained together"
            )
