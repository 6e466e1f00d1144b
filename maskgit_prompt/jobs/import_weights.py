"""Other people's checkpoints to a source model's folder.

1. Read names and shapes of every file, without running what is in it.
2. Check that every name is used and that every parameter is there.
3. Write the folder, one parameter at a time; or, of a prompt checkpoint, prompt.safetensors.

The workdir is the source model's folder: a part is added to those that it has.
"""

import dataclasses
import hashlib
import math
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from maskgit_prompt import config as defaults
from maskgit_prompt import params, prompt_file, safetensors_stream
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
from maskgit_prompt.source import Part, Source


@dataclasses.dataclass(frozen=True)
class Format:
    """What reads a file's names, what makes networks of them, and a note for the folder."""

    read: Callable[[str], dict[str, Any]]
    networks: Callable[[dict[str, Any], str, Options], dict[str, Part]]
    licence: str


def _torch_file(path: str) -> dict[str, Any]:
    return (safetensors_stream if path.endswith(".safetensors") else pytorch).read(path)


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
    folder, form = pathlib.Path(path), FORMATS[config.format]
    there = _existing(folder)

    # 1. and 2. Names and shapes.
    options = Options(config.image_size, config.codebook, config.heads, config.classes)
    if "tokenizer" in there.parts and not options.codebook:
        options = dataclasses.replace(options, codebook=there.parts["tokenizer"].cfg.codebook)
    found, origin = {}, {}
    for given in _files(config.source):
        file, known = given, options
        if config.format == "taming":
            file, known = taming_folder.find(given, options)
        parts = form.networks(form.read(file), file, known)
        if "tokenizer" in parts and not options.codebook:  # what the next file's words begin with
            options = dataclasses.replace(options, codebook=parts["tokenizer"].cfg.codebook)
        if twice := parts.keys() & found.keys():
            raise UsageError(f"{file} holds a {', '.join(twice)} too; give one file for each part")
        found |= parts
        origin |= dict.fromkeys(parts, {"file": pathlib.Path(file).name, "sha256": _digest(file)})

    # 3. Files.
    prompt = found.pop("prompt", None)
    if prompt is not None:
        if found:
            raise UsageError(f"{config.source} holds a prompt beside {', '.join(found)}")
        _write_prompt(prompt, config, folder)
        return
    kept = {name: there.parts[name] for name in found if name in there.parts}
    if kept:
        if all(there.provenance.get("files", {}).get(name) == origin[name] for name in found):
            print(f"{folder} holds {', '.join(found)} of these very files already")
            return
        raise UsageError(
            f"{folder} has a {', '.join(kept)} already; use another --workdir, or delete that one"
        )
    parts = _fit({**there.parts, **found}, options)
    source = Source(
        config.name or there.name or folder.name,
        parts,
        provenance={
            "format": config.format,
            "files": {**there.provenance.get("files", {}), **origin},
            "licence": form.licence,
        },
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
        print(f"wrote {folder}, fingerprint {written.fingerprint}: use --config.source={folder}")


def _existing(folder: pathlib.Path) -> Source:
    """The source model in a folder, or an empty one where there is none yet.

    Raises:
      UsageError: something else is there.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return Source("", {})
    if not (folder / "config.json").is_file():
        raise UsageError(
            f"workdir {folder} holds something else than a source model; use another --workdir"
        )
    return sources.load(str(folder))


def _files(given: str) -> list[str]:
    """FILE,FILE as a list; a name that exists as it is may hold commas.

    Raises:
      UsageError: none is given, or one is not there.
    """
    if not given:
        raise UsageError("config.source is empty; give a checkpoint, as --config.source=FILE")
    files = [given] if pathlib.Path(given).exists() else given.split(",")
    for file in files:
        if not pathlib.Path(file).exists():
            raise UsageError(
                f"config.source: no file {file}; docs/source_models.md says what to fetch"
            )
    return files


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fit(parts: dict[str, Part], options: Options) -> dict[str, Part]:
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
    if transformer.cfg.codebook < tokenizer.cfg.codebook:
        raise UserError(
            f"the tokenizer has {tokenizer.cfg.codebook} codes, the transformer only "
            f"{transformer.cfg.codebook}: they do not belong together"
        )
    size = side * tokenizer.cfg.factor
    if options.image_size not in (0, size):
        raise UsageError(
            f"config.image_size = {options.image_size}, but the transformer's "
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
    source = sources.load(config.backbone)
    source.check_masked()
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
    path = folder / "prompt.safetensors"
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
