"""Backbones: a folder of config.json and the safetensors files of its parts, never changed.

Parts are "tokenizer", "transformer" and, where the model has a network to score images with,
"features"; a classifier's backbone has an "encoder", and one for images and texts has the part
"multimodal". The names in EMBEDDED ship with the package; any other name is the path of a folder.
Weights are read when they are placed on a mesh, each straight to its shards.
"""

import json
import pathlib
from collections.abc import Callable, Sequence

from ml_collections import ConfigDict

from maskgit_prompt import params
from maskgit_prompt.backbones.backbone import (
    Backbone,
    Part,
    checksum,
    fingerprint_of,
    identity,
    sha256_of,
)
from maskgit_prompt.backbones.registry import kinds, outline
from maskgit_prompt.errors import UsageError, UserError
from maskgit_prompt.progress import bytes_progress
from maskgit_prompt.storage import safetensors_stream
from maskgit_prompt.storage.files import sha256

_EMBEDDED = pathlib.Path(__file__).parent / "embedded"
_NAMES = ("mini64", "mini", "mini-causal", "mini-vit", "mini-ofa")
EMBEDDED = {name: _EMBEDDED / name for name in _NAMES}
# By kind.
EMBEDDED_OF = {"masked": "mini", "causal": "mini-causal", "vit": "mini-vit", "ofa": "mini-ofa"}
USUAL = {
    "transformer": "masked",
    "encoder": "vit",
    "multimodal": "ofa",
}  # part that is prompted -> kind
FORMAT = 2
KEYS = {"format", "name", "classes", "provenance", "fingerprint", "parts", "sha256", "vocabulary"}


def load_for(config: ConfigDict, backbone: str, part: str = "transformer") -> Backbone:
    """The backbone that config.backbone and config.model ask for.

    An empty config.backbone means the embedded one whose part is of the kind config.model, by
    default that of USUAL.

    Args:
      backbone: config.backbone, or the folder on this machine that holds what it names.
      part: what is prompted, "transformer", "encoder" or "multimodal".

    Raises:
      UsageError: no such model or kind, or a backbone of another kind. UserError: as in `load`.
    """
    known = [name for name, kind in kinds().items() if kind.part == part]
    if config.model not in ("", *known):
        raise UsageError(
            f"config.model = {config.model!r}, expected {' or '.join(known)}, or nothing to take "
            "what the backbone has"
        )
    name = backbone or EMBEDDED_OF.get(config.model or USUAL[part])
    if name is None:
        raise UsageError(
            f"config.model = {config.model!r}: no embedded backbone has one; give --config.backbone"
        )
    found = load(name)
    kind = found.part(part).kind
    if config.model not in ("", kind):
        raise UsageError(
            f"config.model = {config.model!r}, but backbone {found.name!r} has a {kind} {part}; "
            "leave config.backbone out for the embedded one, or give another"
        )
    return found


def embedded_with(fingerprint: str, parts: Sequence[str]) -> str:
    """The name of the embedded backbone whose parts have this fingerprint; the usual one for the
    last of the parts if none does."""
    for name, folder in EMBEDDED.items():
        entries = json.loads((folder / "config.json").read_text())["parts"]
        if not set(parts) <= entries.keys():
            continue
        if fingerprint_of([identity(entries[part]) for part in parts]) == fingerprint:
            return name
    return EMBEDDED_OF[USUAL[parts[-1]]]


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
            f"{', '.join(EMBEDDED)}, or the folder of a backbone"
        ) from None
    try:
        config = json.loads(text)
        if config["format"] != FORMAT:
            raise UserError(f"{folder} has format {config['format']}, this version reads {FORMAT}")
        _check(config)
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
            {part: identity(entry) for part, entry in config["parts"].items()},
            config.get("vocabulary"),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{folder}/config.json is damaged ({error!r}); fetch it again") from error


def _check(config: dict) -> None:
    """Raises ValueError for a config whose checksum does not hold; earlier versions wrote none."""
    if config.keys() - KEYS:
        raise ValueError(f"strange keys {', '.join(sorted(config.keys() - KEYS))}")
    if "sha256" in config and config["sha256"] != checksum(config):
        raise ValueError("its checksum does not hold; delete the key sha256 if you edited the file")


def _load_part(folder: pathlib.Path, name: str, entry: dict, update: Callable) -> Part:
    kind = kinds()[entry["kind"]]
    if kind.part != name:
        raise ValueError(f"{name} of kind {kind.name}")
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in entry["config"].items()}
    cfg = kind.config(**fields)
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
    params.check(tree, outline(entry["kind"], cfg)[1], str(folder / name))
    files = {str(folder / file): digest for file, digest in entry["files"].items()}
    return Part(entry["kind"], cfg, tree, sha256_of(entry), files)


def _size(path: pathlib.Path) -> int:
    return path.stat().st_size if path.exists() else 0
