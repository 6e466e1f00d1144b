"""Other people's checkpoints to a source model's folder.

1. Read names and shapes of every file, without running what is in it.
2. Check that every name is used and that every parameter is there.
3. Write the folder, one parameter at a time; or, of a prompt checkpoint, prompt.safetensors.

The workdir is the source model's folder: a part is added to those that it has.
"""

import dataclasses
import math
import os
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from maskgit_prompt import config as defaults
from maskgit_prompt import params, prompt_file, safetensors_stream, sniff
from maskgit_prompt import source as sources
from maskgit_prompt.errors import UsageError, UserError
from maskgit_prompt.importers import (
    flax_msgpack,
    maskgit,
    maskgit_torch,
    pytorch,
    taming,
    taming_folder,
)
from maskgit_prompt.importers.rules import Options
from maskgit_prompt.progress import bytes_progress
from maskgit_prompt.source import Part, Source


@dataclasses.dataclass(frozen=True)
class Format:
    """What reads a file's names, what makes networks of them, and a note for the folder."""

    read: Callable[[str], dict[str, Any]]
    networks: Callable[[dict[str, Any], str, Options], dict[str, Part]]
    licence: str


def _torch_file(path: str) -> dict[str, Any]:
    """PyTorch's own format or safetensors, whatever the name says."""
    with open(path, "rb") as file:
        head = file.read(sniff.HEAD)
    kind = sniff.kind(head, os.path.getsize(path))
    return (safetensors_stream if kind.name == "safetensors" else pytorch).read(path)


FORMATS = {
    "maskgit": Format(
        flax_msgpack.read,
        maskgit.read,
        "google-research/maskgit and google-research/generative_transfer: code Apache-2.0; terms "
        "of the weights: see their pages",
    ),
    "maskgit-torch": Format(
        _torch_file,
        maskgit_torch.read,
        "bytedance/1d-tokenizer: code Apache-2.0; weights of google-research/maskgit; terms: see "
        "their pages",
    ),
    "taming": Format(
        _torch_file,
        taming.read,
        "CompVis/taming-transformers: code MIT; terms of the weights: see its page",
    ),
}
DTYPES = ("float32", "float16", "bfloat16")


def run(config: ConfigDict, path: str) -> None:
    if config.format not in FORMATS:
        raise UsageError(f"config.format = {config.format!r}, expected {', '.join(FORMATS)}")
    if config.store_dtype not in DTYPES:
        raise UsageError(
            f"config.store_dtype = {config.store_dtype!r}, expected {', '.join(DTYPES)}"
        )
    for name in ("image_size", "codebook", "heads", "classes"):
        if config[name] < 0:
            raise UsageError(f"config.{name} = {config[name]}, expected 0 (found out) or more")
    folder, form = pathlib.Path(path).absolute(), FORMATS[config.format]

    # 1. and 2. Names and shapes.
    there = _existing(folder)
    found = _read(config, form, there)
    if "prompt" in found:
        if len(found) > 1:
            raise UsageError(f"{config.source} holds a prompt beside other parts; give it alone")
        _write_prompt(found["prompt"][0], config, folder)
        return

    # 3. The folder.
    files = there.provenance.get("files", {})
    new = {
        name: (part, origin)
        for name, (part, origin) in found.items()
        if files.get(name, {}).get("sha256") != origin["sha256"]
    }
    if not new:
        print(
            f"{folder} holds {', '.join(found)} of these very files already; delete it to import "
            "them with other options"
        )
        return
    if kept := new.keys() & there.parts.keys():
        raise UsageError(
            f"{folder} has another {', '.join(sorted(kept))} already; use another --workdir, or "
            "delete that one"
        )
    parts = _fit({**there.parts, **{name: part for name, (part, _) in new.items()}}, config)
    origins = {name: origin for name, (_, origin) in new.items()}
    source = Source(
        config.name or there.name or folder.name,
        parts,
        provenance={"files": {**files, **origins}},
    )
    written = sources.save(source, folder, config.store_dtype)
    for name, part in written.parts.items():
        sizes = {field: x for field, x in dataclasses.asdict(part.cfg).items() if x}
        sizes = ", ".join(f"{field} {x}" for field, x in sizes.items() if field != "dtype")
        print(f"{name}: {part.kind}, {params.count(part.tree):,} parameters: {sizes}")
    missing = [name for name in ("tokenizer", "transformer") if name not in parts]
    if missing:
        print(f"no {missing[0]} yet: run again with its file and the same --workdir")
    else:
        print(f"wrote {path}, fingerprint {written.fingerprint}: use --config.source={path}")


def _read(config: ConfigDict, form: Format, there: Source) -> dict[str, tuple[Part, dict]]:
    """part -> (the network, where it comes from), of all files; no weight is read."""
    options = Options(config.image_size, config.codebook, config.heads, config.classes)
    opened = []
    for given in _files(config.source):
        file, known = given, options
        if config.format == "taming":
            file, known = taming_folder.find(given, options)
        opened.append((file, known, form.read(file)))
    # A tokenizer first: it tells where the codes among a transformer's words end.
    sign = maskgit.SIGNS["tokenizer"]
    opened.sort(key=lambda one: not any(name.endswith(sign) for name in one[2]))
    codebook = options.codebook
    if not codebook and "tokenizer" in there.parts:
        codebook = there.parts["tokenizer"].cfg.codebook
    found = {}
    for file, known, names in opened:
        known = dataclasses.replace(known, codebook=codebook)
        inside = form.networks(names, file, known)
        if twice := inside.keys() & found.keys():
            raise UsageError(f"{file} holds a {', '.join(twice)} too; give one file for each part")
        if "tokenizer" in inside:
            codebook = codebook or inside["tokenizer"].cfg.codebook
        origin = {
            "file": pathlib.Path(file).name,
            "sha256": _digest(file),
            "format": config.format,
            "licence": form.licence,
        }
        found |= {name: (part, origin) for name, part in inside.items()}
    return found


def _existing(folder: pathlib.Path) -> Source:
    """The source model in a folder, or an empty one where there is none yet.

    Raises:
      UsageError: something else is there.
    """
    if not folder.exists():
        return Source("", {})
    if not folder.is_dir():
        raise UsageError(f"workdir {folder} is a file, expected a folder; use another --workdir")
    if not {path.name for path in folder.iterdir()} - {".partial", "lost+found"}:
        return Source("", {})
    if not (folder / "config.json").is_file():
        raise UsageError(
            f"workdir {folder} holds something else than a source model "
            f"({min(path.name for path in folder.iterdir())}, …); use another --workdir"
        )
    return sources.load(str(folder), "--workdir")


def _files(given: str) -> list[str]:
    """FILE,FILE as a list; a name that exists as it is may hold commas.

    Raises:
      UsageError: none is given, or one is not there.
    """
    if not given:
        raise UsageError("config.source is empty; give a checkpoint, as --config.source=FILE")
    files = [given] if pathlib.Path(given).exists() else given.split(",")
    for file in files:
        if not file or not pathlib.Path(file).exists():
            raise UsageError(
                f"config.source: no file {file!r}; docs/source_models.md says what to fetch"
            )
    return files


def _digest(path: str) -> str:
    with bytes_progress(os.path.getsize(path), "hash") as update:
        return sources.sha256(path, update)


def _fit(parts: dict[str, Part], config: ConfigDict) -> dict[str, Part]:
    """Parts that fit together: the image size follows from the transformer's number of codes.

    Raises:
      UserError: they do not.
    """
    if "transformer" not in parts or "tokenizer" not in parts:
        return parts
    tokenizer, transformer = parts["tokenizer"], parts["transformer"]
    side = math.isqrt(transformer.cfg.length)
    if side**2 != transformer.cfg.length:
        raise UserError(
            f"the transformer has {transformer.cfg.length} codes an image, expected a square number"
        )
    # A causal transformer's table may have rows beyond the codes, for a condition's.
    least = transformer.kind == "causal" and transformer.cfg.codebook > tokenizer.cfg.codebook
    if transformer.cfg.codebook != tokenizer.cfg.codebook and not least:
        raise UserError(
            f"the tokenizer has {tokenizer.cfg.codebook} codes, the transformer "
            f"{transformer.cfg.codebook}: they do not belong together"
        )
    if (tokenizer.kind, transformer.kind) in (("vq", "causal"), ("vqgan", "masked")):
        raise UserError(
            f"a {tokenizer.kind} tokenizer and a {transformer.kind} transformer are of different "
            "projects: they do not belong together"
        )
    size = side * tokenizer.cfg.factor
    if config.image_size not in (0, size):
        raise UsageError(
            f"config.image_size = {config.image_size}, but the transformer's "
            f"{transformer.cfg.length} codes are those of images of {size}"
        )
    cfg = dataclasses.replace(tokenizer.cfg, image_size=size)  # a multiple of the factor
    return {**parts, "tokenizer": dataclasses.replace(tokenizer, cfg=cfg)}


def _write_prompt(part: Part, config: ConfigDict, folder: pathlib.Path) -> None:
    """prompt.safetensors of a prompt that generative_transfer tuned.

    Raises:
      UserError: it does not fit the backbone.
    """
    if not config.backbone:
        raise UsageError(
            "a prompt needs the source model that it was tuned on: give --config.backbone=FOLDER"
        )
    path = folder / "prompt.safetensors"
    if path.exists():
        raise UsageError(f"{path} is there already; use another --workdir, or delete it")
    source = sources.load(config.backbone, "config.backbone")
    kind = source.part("transformer").kind
    if kind != "masked":
        raise UserError(
            f"{config.source} was tuned on a masked transformer, but {config.backbone} has a "
            f"{kind} one; give the backbone that it was tuned on"
        )
    width = source.part("transformer").cfg.width
    source.part("tokenizer")
    if part.cfg.width != width:
        raise UserError(
            f"{config.source} makes prompts of width {part.cfg.width}, but the transformer of "
            f"{config.backbone} has {width}; give the backbone that it was tuned on"
        )
    tree = jax.tree.map(np.asarray, part.tree)
    bad = [path for path, x in params.flatten(tree).items() if not np.isfinite(x).all()]
    if bad:
        raise UserError(f"{config.source}: {', '.join(bad)} holds NaN or infinite numbers")
    prompt_file.save(
        path,
        prompt_file.PromptFile(
            cfg=part.cfg,
            tree=tree,
            classes=tuple(str(number) for number in range(part.cfg.classes)),
            instances=(),
            source=source.name,
            fingerprint=source.fingerprint,
            sample=defaults.sampling().to_dict(),
            scores={},
        ),
    )
    print(f"wrote {path}: use --config=configs/sample.py --config.prompt={path}")
