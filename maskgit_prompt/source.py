"""Source models: a folder with config.json and one safetensors file a part, frozen ever after.

Parts are "tokenizer", "transformer" and, where the model has a network to score images with,
"features". `source=mini` is the one shipped with the package; any other name is a folder's path.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import tempfile
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from flax import nnx

from maskgit_prompt import distributed, params
from maskgit_prompt.errors import UsageError, UserError
from maskgit_prompt.models.features import FeatureNetwork, FeaturesConfig
from maskgit_prompt.models.masked import MaskedConfig, MaskedTransformer
from maskgit_prompt.models.tokenizer import Tokenizer, TokenizerConfig
from maskgit_prompt.params import Tree

EMBEDDED = {"mini": pathlib.Path(__file__).parent / "sources" / "mini"}
FORMAT = 1
KINDS = {  # part -> kind -> (config class, module class)
    "tokenizer": {"vq": (TokenizerConfig, Tokenizer)},
    "transformer": {"masked": (MaskedConfig, MaskedTransformer)},
    "features": {"convolutional": (FeaturesConfig, FeatureNetwork)},
}


@dataclasses.dataclass(frozen=True)
class Part:
    """One network: its kind, its config and its parameters as host arrays (float32)."""

    kind: str
    cfg: Any
    tree: Tree
    sha256: str = ""

    def graphdef(self, name: str, **changes: Any) -> nnx.GraphDef:
        """For nnx.merge; `changes` replace fields of the config that add no parameter (dtype)."""
        return params.create(
            make_module(name, self.kind, dataclasses.replace(self.cfg, **changes))
        )[0]


@dataclasses.dataclass(frozen=True)
class Source:
    """A source model.

    Attributes:
      name: for messages and reports.
      parts: by name; a half-trained folder may lack some.
      classes: names of the classes it was trained on.
      provenance: where the weights come from, in words and figures.
    """

    name: str
    parts: dict[str, Part]
    classes: tuple[str, ...] = ()
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)

    def part(self, name: str) -> Part:
        if name not in self.parts:
            raise UserError(
                f"source model {self.name!r} has no {name}, only {', '.join(self.parts) or 'none'}"
            )
        return self.parts[name]

    @property
    def fingerprint(self) -> str:
        """Of what a prompt depends on: tokenizer and transformer, configs and weights."""
        kinds = [self.part(name) for name in ("tokenizer", "transformer")]
        text = json.dumps([[p.kind, _to_json(p.cfg), p.sha256] for p in kinds])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def make_module(name: str, kind: str, cfg: Any):
    """The function of nnx.Rngs that makes part `name` of a kind."""
    _, module = KINDS[name][kind]
    return lambda rngs: module(cfg, rngs=rngs)


def load(name: str) -> Source:
    """Reads a source model.

    Raises:
      UsageError: no such model. UserError: a damaged or incomplete folder, named.
    """
    folder = EMBEDDED.get(name, pathlib.Path(name))
    try:
        text = (folder / "config.json").read_text()
    except OSError:
        raise UsageError(
            f"config.source = {name!r}: no config.json in {folder}; expected "
            f"{' or '.join(EMBEDDED)}, or the folder of a source model"
        ) from None
    try:
        config = json.loads(text)
        if config["format"] != FORMAT:
            raise UserError(f"{folder} has format {config['format']}, this version reads {FORMAT}")
        parts = {part: _load_part(folder, part, entry) for part, entry in config["parts"].items()}
        return Source(config["name"], parts, tuple(config["classes"]), config["provenance"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{folder}/config.json is damaged ({error!r}); fetch it again") from error


def _load_part(folder: pathlib.Path, name: str, entry: dict) -> Part:
    config_class, _ = KINDS[name][entry["kind"]]
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in entry["config"].items()}
    cfg = config_class(**fields)
    path = folder / entry["file"]
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; fetch it again") from error
    if digest != entry["sha256"]:
        raise UserError(
            f"{path} has sha256 {digest[:16]}…, expected {entry['sha256'][:16]}…: it is damaged or "
            "of another model; fetch it again"
        )
    flat = safetensors.numpy.load_file(path)
    tree = params.unflatten({path: host_array(x) for path, x in flat.items()})
    params.check(tree, abstract(make_module(name, entry["kind"], cfg)), str(path))
    return Part(entry["kind"], cfg, tree, digest)


def host_array(x: np.ndarray) -> np.ndarray:
    """A float32 copy of x that begins at a multiple of 64 bytes.

    JAX on a CPU computes with such an array where it lies; of others (numpy aligns to 16) it makes
    another copy, so that a frozen model would be in memory twice.
    """
    size = x.size * 4
    room = np.empty(size + 64, np.uint8)
    first = -room.ctypes.data % 64
    aligned = room[first : first + size].view(np.float32).reshape(x.shape)
    aligned[...] = x
    return aligned


def abstract(make) -> Tree:
    """Names, shapes and dtypes of a module's parameters, at no cost."""
    return nnx.to_pure_dict(nnx.state(nnx.eval_shape(lambda: make(nnx.Rngs(0)))))


def save(source: Source, folder: str | pathlib.Path, dtype: str = "float32") -> Source:
    """Writes a source model, whole or not at all, and returns it as `load` will.

    dtype: what weights are stored in; "float16" halves the files.
    """
    folder = pathlib.Path(folder)
    if distributed.is_first():
        _save(source, folder, dtype)
    distributed.barrier("source model")
    return load(str(folder))


def _save(source: Source, folder: pathlib.Path, dtype: str) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = pathlib.Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        entries = {}
        for name, part in source.parts.items():
            flat = params.flatten(part.tree)
            flat = {path: np.ascontiguousarray(x, dtype=dtype) for path, x in flat.items()}
            data = safetensors.numpy.save(flat)
            (temporary / f"{name}.safetensors").write_bytes(data)
            entries[name] = {
                "kind": part.kind,
                "config": _to_json(part.cfg),
                "file": f"{name}.safetensors",
                "sha256": hashlib.sha256(data).hexdigest(),
            }
        config = {
            "format": FORMAT,
            "name": source.name,
            "classes": list(source.classes),
            "provenance": source.provenance,
            "parts": entries,
        }
        (temporary / "config.json").write_text(json.dumps(config, indent=1) + "\n")
        os.chmod(temporary, 0o755)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(temporary, folder)
    except OSError as error:
        raise UserError(f"cannot write source model {folder}: {error.strerror}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _to_json(cfg: Any) -> dict:
    return json.loads(json.dumps(dataclasses.asdict(cfg)))
