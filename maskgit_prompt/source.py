"""Source models: a folder of config.json and the safetensors files of its parts, never changed.

Parts are "tokenizer", "transformer" and, where the model has a network to score images with,
"features". `source=mini` is the one shipped with the package; any other name is a folder's path.
Weights are read when they are placed on a mesh, each straight to its shards.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

from flax import nnx
from ml_collections import ConfigDict

from maskgit_prompt import params, safetensors_stream, sharding
from maskgit_prompt.errors import UsageError, UserError
from maskgit_prompt.models.causal import CausalConfig, CausalTransformer
from maskgit_prompt.models.features import FeatureNetwork, FeaturesConfig
from maskgit_prompt.models.masked import MaskedConfig, MaskedTransformer
from maskgit_prompt.models.prompt import PromptConfig
from maskgit_prompt.models.tokenizer import Tokenizer, TokenizerConfig
from maskgit_prompt.models.vqgan import VQGAN, VQGANConfig
from maskgit_prompt.params import Tree
from maskgit_prompt.progress import bytes_progress

_SOURCES = pathlib.Path(__file__).parent / "sources"
EMBEDDED = {"mini": _SOURCES / "mini", "mini-causal": _SOURCES / "mini-causal"}
EMBEDDED_OF = {"masked": "mini", "causal": "mini-causal"}  # by kind of transformer
FORMAT = 2
CHUNK = 2**24  # bytes read at once
KINDS = {  # part -> kind -> (config class, module class)
    "tokenizer": {"vq": (TokenizerConfig, Tokenizer), "vqgan": (VQGANConfig, VQGAN)},
    "transformer": {
        "masked": (MaskedConfig, MaskedTransformer),
        "causal": (CausalConfig, CausalTransformer),
    },
    "features": {"convolutional": (FeaturesConfig, FeatureNetwork)},
}


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
class Source:
    """A source model.

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
                f"source model {self.name!r} has no {name}, only {', '.join(self.parts) or 'none'}"
            )
        return self.parts[name]

    def check_promptable(self) -> None:
        """Raises UserError for a transformer that a prompt alone cannot stand in front of."""
        cfg = self.part("transformer").cfg
        condition = getattr(cfg, "condition", 1)
        if condition != 1:
            raise UserError(
                f"source model {self.name!r} takes {condition} codes as its condition (a depth "
                "map, coordinates, objects); prompts are tuned on models of classes or of nothing"
            )
        length = self.part("tokenizer").cfg.length
        if length > cfg.length:
            raise UserError(
                f"source model {self.name!r}: its tokenizer makes {length} codes an image, its "
                f"transformer takes {cfg.length}; import a tokenizer and a transformer that were "
                "trained together"
            )


def make_module(name: str, kind: str, cfg: Any):
    """The function of nnx.Rngs that makes part `name` of a kind."""
    _, module = KINDS[name][kind]
    return lambda rngs: module(cfg, rngs=rngs)


def load_for(config: ConfigDict) -> Source:
    """The source model that config.source and config.model ask for.

    Without a source it is the embedded one with a transformer of config.model, masked by default.

    Raises:
      UsageError: no such model or kind, or one of another kind. UserError: as `load`.
    """
    if config.model not in ("", *EMBEDDED_OF):
        raise UsageError(
            f"config.model = {config.model!r}, expected {' or '.join(EMBEDDED_OF)}, or nothing for "
            "what the source model has"
        )
    source = load(config.source or EMBEDDED_OF[config.model or "masked"])
    kind = source.part("transformer").kind
    if config.model not in ("", kind):
        raise UsageError(
            f"config.model = {config.model!r}, but source model {source.name!r} has a {kind} "
            "transformer; leave config.source out for the embedded one, or give another"
        )
    return source


def embedded_with(fingerprint: str) -> str:
    """The name of the embedded source model with this fingerprint; "mini" where none has it."""
    for name, folder in EMBEDDED.items():
        if json.loads((folder / "config.json").read_text())["fingerprint"] == fingerprint:
            return name
    return EMBEDDED_OF["masked"]


def load(name: str, key: str = "config.source") -> Source:
    """Reads a source model.

    Args:
      name: one of EMBEDDED, or a folder; key: where the user gave it, for messages.

    Raises:
      UsageError: no such model. UserError: a damaged or incomplete folder, named.
    """
    folder = EMBEDDED.get(name, pathlib.Path(name))
    try:
        text = (folder / "config.json").read_bytes()
    except OSError:
        raise UsageError(
            f"{key} = {name!r}: no config.json in {folder}; expected "
            f"{' or '.join(EMBEDDED)}, or the folder of a source model"
        ) from None
    try:
        config = json.loads(text)
        if config["format"] != FORMAT:
            raise UserError(f"{folder} has format {config['format']}, this version reads {FORMAT}")
        files = [folder / file for entry in config["parts"].values() for file in entry["files"]]
        with bytes_progress(sum(map(_size, files)), "check") as update:
            parts = {
                part: _load_part(folder, part, entry, update)
                for part, entry in config["parts"].items()
            }
        return Source(
            config["name"],
            parts,
            tuple(config["classes"]),
            config["provenance"],
            fingerprint(config["parts"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{folder}/config.json is damaged ({error!r}); fetch it again") from error


def _load_part(folder: pathlib.Path, name: str, entry: dict, update: Callable) -> Part:
    config_class, _ = KINDS[name][entry["kind"]]
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in entry["config"].items()}
    cfg = config_class(**fields)
    flat = {}
    for file, expected in entry["files"].items():
        path = folder / file
        digest = sha256(path, update)
        if digest != expected:
            raise UserError(
                f"{path} has sha256 {digest[:16]}…, expected {expected[:16]}…: it is damaged or "
                "of another model; fetch it again"
            )
        flat |= safetensors_stream.read(path)
    tree = params.unflatten(flat)
    params.check(tree, abstract(make_module(name, entry["kind"], cfg)), str(folder / name))
    files = {str(folder / file): digest for file, digest in entry["files"].items()}
    return Part(entry["kind"], cfg, tree, _sha256(entry), files)


def _size(path: pathlib.Path) -> int:
    return path.stat().st_size if path.exists() else 0


def sha256(path: str | os.PathLike, update: Callable[[int], None]) -> str:
    """Of a file, in hex; update is told how many bytes were read."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(CHUNK):
                digest.update(block)
                update(len(block))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; fetch it again") from error
    return digest.hexdigest()


def _sha256(entry: dict) -> str:
    """Of a part's one file, or of the digests of several."""
    digests = list(entry["files"].values())
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def fingerprint(entries: dict) -> str:
    """Of configs as they are written, so that a field added later changes no fingerprint."""
    if not {"tokenizer", "transformer"} <= entries.keys():
        return ""
    used = [entries[name] for name in ("tokenizer", "transformer")]
    text = json.dumps([[entry["kind"], entry["config"], _sha256(entry)] for entry in used])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def stored_fields(cfg: Any) -> dict[str, Any]:
    """A config's fields as a folder has them: how attention is computed is the machine's matter."""
    fields = dataclasses.asdict(cfg)
    fields.pop("attention_implementation", None)
    return fields


def abstract(make) -> Tree:
    """Names, shapes and dtypes of a module's parameters, at no cost."""
    return nnx.to_pure_dict(nnx.state(nnx.eval_shape(lambda: make(nnx.Rngs(0)))))
