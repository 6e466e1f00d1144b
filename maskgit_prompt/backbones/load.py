"""Backbones: a folder of config.json and the safetensors files of its parts, never changed.

Parts are "tokenizer", "transformer" and, where the model has a network to score images with,
"features". `backbone=mini` is the one shipped with the package; any other name is a folder's path.
Weights are read when they are placed on a mesh, each straight to its shards.
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Callable

from ml_collections import ConfigDict

from maskgit_prompt import params
from maskgit_prompt.backbones.backbone import Backbone, Part
from maskgit_prompt.backbones.registry import KINDS, abstract, make_module
from maskgit_prompt.errors import UsageError, UserError
from maskgit_prompt.progress import bytes_progress
from maskgit_prompt.storage import safetensors_stream

_EMBEDDED = pathlib.Path(__file__).parent / "embedded"
EMBEDDED = {"mini": _EMBEDDED / "mini", "mini-causal": _EMBEDDED / "mini-causal"}
EMBEDDED_OF = {"masked": "mini", "causal": "mini-causal"}  # by kind of transformer
FORMAT = 2
CHUNK = 2**24  # bytes read at once


def load_for(config: ConfigDict) -> Backbone:
    """The backbone that config.backbone and config.model ask for.

    Without a backbone it is the embedded one with a transformer of config.model, masked by default.

    Raises:
      UsageError: no such model or kind, or one of another kind. UserError: as `load`.
    """
    if config.model not in ("", *EMBEDDED_OF):
        raise UsageError(
            f"config.model = {config.model!r}, expected {' or '.join(EMBEDDED_OF)}, or nothing for "
            "what the backbone has"
        )
    backbone = load(config.backbone or EMBEDDED_OF[config.model or "masked"])
    kind = backbone.part("transformer").kind
    if config.model not in ("", kind):
        raise UsageError(
            f"config.model = {config.model!r}, but backbone {backbone.name!r} has a {kind} "
            "transformer; leave config.backbone out for the embedded one, or give another"
        )
    return backbone


def embedded_with(fingerprint: str) -> str:
    """The name of the embedded backbone with this fingerprint; "mini" where none has it."""
    for name, folder in EMBEDDED.items():
        if json.loads((folder / "config.json").read_text())["fingerprint"] == fingerprint:
            return name
    return EMBEDDED_OF["masked"]


def load(name: str, key: str = "config.backbone") -> Backbone:
    """Reads a backbone.

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
            f"{' or '.join(EMBEDDED)}, or the folder of a backbone"
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
        return Backbone(
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
