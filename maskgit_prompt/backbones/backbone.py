"""A backbone in memory: its parts, their kinds and their origin."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from typing import Any

from flax import nnx
from jax.sharding import Mesh

from maskgit_prompt.backbones import registry
from maskgit_prompt.backbones.compute import Compute
from maskgit_prompt.devices import sharding
from maskgit_prompt.errors import UserError
from maskgit_prompt.models.kind import Axes
from maskgit_prompt.models.prompt import PromptConfig
from maskgit_prompt.params import Tree


@dataclasses.dataclass(frozen=True)
class Part:
    """One network: its kind, its config and its parameters.

    Attributes:
      tree: arrays, or StoredArrays in the files of a folder.
      sha256: of the file, or of the digests of several files.
      files: for a part in a folder, path -> sha256.
    """

    kind: str
    cfg: Any
    tree: Tree
    sha256: str = ""
    files: dict[str, str] = dataclasses.field(default_factory=dict, repr=False)
    _placed: dict = dataclasses.field(default_factory=dict, repr=False, compare=False)

    @property
    def decoding(self) -> str:
        """How a transformer makes images, see models.kind.Kind."""
        return registry.kinds()[self.kind].decoding

    @property
    def axes(self) -> Axes:
        """Where its parameters lie on a mesh, by path, beginning with the part's name."""
        kind = registry.kinds()[self.kind]
        return registry.axes(kind.part, kind.axes)

    def graphdef(self, cfg: Any = None) -> nnx.GraphDef:
        """For nnx.merge.

        cfg: the part's own config, except for fields that add no parameter, such as dtype.
        """
        return registry.outline(self.kind, cfg or self.cfg)[0]

    def prompted(
        self, prompt: PromptConfig | None, compute: Compute, *, remat: bool = False
    ) -> nnx.GraphDef:
        """The same transformer behind a prompt, without dropout of its own."""
        cfg = dataclasses.replace(compute.applied(self.cfg), dropout=0.0, remat=remat)
        if prompt is not None and hasattr(cfg, "prompt_attention"):
            cfg = dataclasses.replace(cfg, prompt_attention=prompt.attention)
        return self.graphdef(cfg)

    def placed(self, mesh: Mesh) -> Tree:
        """The parameters as float32 arrays on the mesh; read once."""
        if mesh not in self._placed:
            name = registry.kinds()[self.kind].part
            self._placed[mesh] = sharding.place({name: self.tree}, mesh, self.axes)[name]
        return self._placed[mesh]


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A backbone.

    Attributes:
      name: for messages and reports.
      parts: by name; a folder in the middle of pretraining may lack some.
      classes: names of the classes it was trained on.
      provenance: where the weights come from, in words and figures.
      identities: for a backbone in a folder, part -> its kind, config and digest of weights
        (`identity`).
      vocabulary: of its texts, where the model brings it along: see data/text/words.py.
    """

    name: str
    parts: dict[str, Part]
    classes: tuple[str, ...] = ()
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)
    identities: dict[str, str] = dataclasses.field(default_factory=dict, repr=False)
    vocabulary: dict[str, Any] | None = None

    def fingerprint(self, parts: Sequence[str]) -> str:
        """Identifies what a file tuned on these parts depends on: their configs and weights.

        Parts that the task does not need, such as a network to score with, may change. Empty until
        all of these parts are in a folder.
        """
        if not set(parts) <= self.identities.keys():
            return ""
        return fingerprint_of([self.identities[name] for name in parts])

    def part(self, name: str) -> Part:
        if name not in self.parts:
            raise UserError(
                f"backbone {self.name!r} has no {name}, only {', '.join(self.parts) or 'none'}"
            )
        return self.parts[name]

    def check_promptable(self) -> None:
        """Raises UserError for a transformer that needs more in front than a prompt."""
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
                f"backbone {self.name!r}: its tokenizer makes {length} codes per image, its "
                f"transformer takes {cfg.length}; import a tokenizer and a transformer that were "
                "trained together"
            )


def identity(entry: dict) -> str:
    """A part's kind, config and digest of weights, from its entry in config.json.

    It takes the config as written, so a field added later changes no fingerprint.
    """
    return json.dumps([entry["kind"], entry["config"], sha256_of(entry)])


def sha256_of(entry: dict) -> str:
    """The digest of a part's only file, or of the digests of several files."""
    digests = list(entry["files"].values())
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def fingerprint_of(identities: Sequence[str]) -> str:
    """Sixteen hexadecimal digits that differ if a part differs."""
    return hashlib.sha256(f"[{', '.join(identities)}]".encode()).hexdigest()[:16]


def checksum(config: dict) -> str:
    """SHA-256 of what a config.json says, but for this digest itself."""
    rest = {name: value for name, value in config.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
