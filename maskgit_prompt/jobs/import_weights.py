"""Other people's checkpoints to a backbone's folder.

1. Read names and shapes of every file, without running what is in it.
2. Check that every name is used and that every parameter is there.
3. Write the folder, one parameter at a time; or, of a prompt checkpoint, prompt.safetensors.

The workdir is the backbone's folder: a part is added to those that it has.
"""

import contextlib
import dataclasses
import math
import os
import pathlib
import re
import signal
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from maskgit_prompt import backbones, params
from maskgit_prompt.backbones import Backbone, Part, stored_fields
from maskgit_prompt.config import defaults
from maskgit_prompt.errors import FORBIDDEN, Stopped, UsageError, UserError
from maskgit_prompt.importers import (
    flax_msgpack,
    maskgit,
    maskgit_torch,
    pytorch,
    taming,
    taming_folder,
)
from maskgit_prompt.importers.rules import Options
from maskgit_prompt.models.masked import MaskedConfig
from maskgit_prompt.progress import bytes_progress
from maskgit_prompt.storage import safetensors_stream, sniff
from maskgit_prompt.tasks.generation.plan import PARTS
from maskgit_prompt.tuning import tuned_prompt
from maskgit_prompt.tuning.tuned_prompt import TunedOn, TunedPrompt


@dataclasses.dataclass(frozen=True)
class Format:
    """How files of a kind are read.

    Attributes:
      read: a file's names and arrays, none of which is read.
      networks: what makes networks of them.
      tokenizer: beginnings of names that only a tokenizer has.
      licence: a note for the folder.
      find: (checkpoint, options) of what was given, where that may be a folder.
    """

    read: Callable[[str], dict[str, Any]]
    networks: Callable[[dict[str, Any], str, Options], dict[str, Part]]
    tokenizer: tuple[str, ...]
    licence: str
    find: Callable[[str, Options], tuple[str, Options]] | None = None


def _torch_file(path: str) -> dict[str, Any]:
    """PyTorch's own format or safetensors, whatever the name says."""
    expected = f"{pytorch.EXPECTED} or {safetensors_stream.EXPECTED}"
    with sniff.opened(path, expected, ("zip", "pickle", "tar", "safetensors")) as (_, _, kind):
        form = safetensors_stream if kind.name == "safetensors" else pytorch
    return form.read(path)


FORMATS = {
    "maskgit": Format(
        flax_msgpack.read,
        maskgit.read,
        ("params/quantizer/", "model_state/params/quantizer/"),
        "google-research/maskgit and google-research/generative_transfer: code Apache-2.0; terms "
        "of the weights: see their pages",
    ),
    "maskgit-torch": Format(
        _torch_file,
        maskgit_torch.read,
        ("quantize.",),
        "bytedance/1d-tokenizer: code Apache-2.0; weights of google-research/maskgit; terms: see "
        "their pages",
    ),
    "taming": Format(
        _torch_file,
        taming.read,
        ("quantize.", "first_stage_model."),
        "CompVis/taming-transformers: code MIT; terms of the weights: see its page",
        taming_folder.find,
    ),
}
DTYPES = ("float32", "float16", "bfloat16")
CLASSES = 1000  # of the published models
PROMPT = "prompt.safetensors"
PUBLISHED = re.compile(r"imagenet(256|512)")  # in the names of published files


def run(config: ConfigDict, path: str) -> None:
    with _one_line():
        _run(config, path)


@contextlib.contextmanager
def _one_line() -> Iterator[None]:
    """Says in one line what the file system refuses, and that a stopped import starts anew.

    Raises:
      UserError: for an OSError. Stopped: SIGTERM came.
    """
    again = "before the import was done; the same command again starts it anew"

    def stop(*_):
        raise Stopped(f"stopped {again}")

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not the main thread (a notebook's worker): nobody sends it a signal
        before = None
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted {again}") from None
    except OSError as error:
        if error.filename is None:
            raise
        way_out = (
            "check the permissions of it and of the folders that it is in"
            if error.errno in FORBIDDEN
            else "give another file or folder"
        )
        raise UserError(f"cannot use {error.filename}: {error.strerror}; {way_out}") from error
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def _run(config: ConfigDict, path: str) -> None:
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
    old = {n for n, (_, origin) in found.items() if _sha256(files, n) == origin["sha256"]}
    for name in sorted(old):
        _check_same(name, found[name][0], there.parts[name], config, folder)
    new = {name: one for name, one in found.items() if name not in old}
    if not new:
        print(f"{folder} holds {', '.join(found)} of these very files already")
        return
    if kept := new.keys() & there.parts.keys():
        raise UsageError(
            f"{folder} has another {', '.join(sorted(kept))} already; use another --workdir, or "
            "delete that one"
        )
    parts = _fit({**there.parts, **{name: part for name, (part, _) in new.items()}}, config)
    origins = {name: origin for name, (_, origin) in new.items()}
    backbone = Backbone(
        config.name or there.name or folder.name,
        parts,
        provenance={"files": {**files, **origins}},
    )
    _check_published(backbone)
    written = backbones.save(backbone, folder, config.store_dtype, before=there)
    _warn_of_words(written)
    for name, part in written.parts.items():
        sizes = {field: x for field, x in stored_fields(part.cfg).items() if x}
        sizes = ", ".join(f"{field} {x}" for field, x in sizes.items() if field != "dtype")
        print(f"{name}: {part.kind}, {params.count(part.tree):,} parameters: {sizes}")
    missing = [name for name in ("tokenizer", "transformer") if name not in parts]
    if missing:
        print(f"no {missing[0]} yet: run again with its file and the same --workdir")
    else:
        print(
            f"wrote {path}, fingerprint {written.fingerprint(PARTS)}: use --config.backbone={path}"
        )


def _read(config: ConfigDict, form: Format, there: Backbone) -> dict[str, tuple[Part, dict]]:
    """part -> (the network, where it comes from), of all files; no weight is read."""
    given = Options(
        image_size=config.image_size,
        codebook=config.codebook,
        heads=config.heads,
        classes=config.classes,
    )
    opened = []
    for file in _files(config.source, form):
        file, options = form.find(file, given) if form.find else (file, given)
        opened.append((file, options, form.read(file)))
    # A tokenizer first: it tells where the codes among a transformer's words end.
    opened.sort(key=lambda one: not any(name.startswith(form.tokenizer) for name in one[2]))
    codes = there.parts["tokenizer"].cfg.codebook if "tokenizer" in there.parts else 0
    found = {}
    for file, options, names in opened:
        inside = form.networks(names, file, dataclasses.replace(options, tokenizer=codes))
        if twice := inside.keys() & found.keys():
            raise UsageError(f"{file} holds a {', '.join(twice)} too; give one file for each part")
        if "tokenizer" in inside:
            codes = inside["tokenizer"].cfg.codebook
        origin = {
            "file": pathlib.Path(file).name,
            "sha256": _digest(file),
            "format": config.format,
            "licence": form.licence,
        }
        found |= {name: (part, origin) for name, part in inside.items()}
    return found


def _sha256(files: Any, name: str) -> str:
    """Of the file that a part of a folder comes from, as its config.json says."""
    return files.get(name, {}).get("sha256", "")


def _check_same(name: str, new: Part, old: Part, config: ConfigDict, folder: pathlib.Path) -> None:
    """Raises UsageError where a part that is there was imported with other options."""
    stored = {leaf.dtype.name for leaf in jax.tree.leaves(old.tree)}
    differ = [] if stored == {config.store_dtype} else [("store_dtype", *stored)]
    for field in dataclasses.fields(new.cfg):
        # The size of a tokenizer's images follows from a transformer's length, if it is not given.
        if field.name == "image_size" and not config.image_size:
            continue
        if (value := getattr(old.cfg, field.name)) != getattr(new.cfg, field.name):
            differ.append((field.name, value))
    if differ:
        raise UsageError(
            f"{folder} holds the {name} of this very file, but with "
            f"{', '.join(f'{key} {value}' for key, value in differ)}; give the options that it was "
            "imported with, or use another --workdir"
        )


def _check_published(backbone: Backbone) -> None:
    """Raises UserError where the names of the files tell two sizes of images, 256 and 512."""
    files = backbone.provenance["files"]
    named = {name: PUBLISHED.search(origin.get("file", "")) for name, origin in files.items()}
    sizes = {name: found[1] for name, found in named.items() if found}
    if len(set(sizes.values())) > 1:
        raise UserError(
            "the names of the files tell a "
            + " and a ".join(f"{name} of {sizes[name]} x {sizes[name]}" for name in sorted(sizes))
            + ": they do not belong together; give both files of one size"
        )


def _warn_of_words(backbone: Backbone) -> None:
    """Says what was concluded where the words are not those of a published masked transformer."""
    cfg = getattr(backbone.parts.get("transformer"), "cfg", None)
    if isinstance(cfg, MaskedConfig) and cfg.classes != CLASSES:
        logging.warning(
            "the transformer's %d words are taken to be %d codes, %d classes and MASK; the "
            "published ones have %d classes: check that the tokenizer is its own%s",
            cfg.vocabulary,
            cfg.codebook,
            cfg.classes,
            CLASSES,
            "" if "tokenizer" in backbone.parts else ", or give --config.codebook",
        )


def _existing(folder: pathlib.Path) -> Backbone:
    """The backbone in a folder, or an empty one where there is none yet.

    Raises:
      UsageError: something else is there.
    """
    if not folder.exists():
        return Backbone("", {})
    if not folder.is_dir():
        raise UsageError(f"workdir {folder} is a file, expected a folder; use another --workdir")
    names = {path.name for path in folder.iterdir()}
    if not names - {backbones.PARTIAL, "lost+found"} - backbones.leftovers(folder):
        return Backbone("", {})
    if PROMPT in names and "config.json" not in names:
        raise UsageError(
            f"workdir {folder} holds a prompt already ({PROMPT}); use another --workdir, or delete "
            "that one"
        )
    if "config.json" not in names:
        raise UsageError(
            f"workdir {folder} holds something else than a backbone "
            f"({min(names)}, …); use another --workdir"
        )
    return backbones.load(str(folder), "--workdir")


def _files(given: str, form: Format) -> list[str]:
    """FILE,FILE as a list; a name that exists as it is may hold commas.

    Raises:
      UsageError: none is given, one is not there, or one is a folder where a file is expected.
    """
    if not given:
        raise UsageError("config.source is empty; give a checkpoint, as --config.source=FILE")
    files = [given] if pathlib.Path(given).exists() else given.split(",")
    for file in files:
        if not file or not pathlib.Path(file).exists():
            raise UsageError(
                f"config.source: no file {file!r}; docs/backbones.md says what to fetch"
            )
        if form.find is None and pathlib.Path(file).is_dir():
            inside = sorted(path.name for path in pathlib.Path(file).iterdir() if path.is_file())
            raise UsageError(
                f"config.source: {file} is a folder, expected a checkpoint file; give one of its "
                f"files ({', '.join(inside[:4]) or 'it has none'}{', …' * (len(inside) > 4)})"
            )
    return files


def _digest(path: str) -> str:
    with bytes_progress(os.path.getsize(path), "hash") as update:
        return backbones.sha256(path, update)


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
            "a prompt needs the backbone that it was tuned on: give --config.backbone=FOLDER"
        )
    path = folder / PROMPT
    if path.exists():
        raise UsageError(f"{path} is there already; use another --workdir, or delete it")
    backbone = backbones.load(config.backbone, "config.backbone")
    kind = backbone.part("transformer").kind
    if kind != "masked":
        raise UserError(
            f"{config.source} was tuned on a masked transformer, but {config.backbone} has a "
            f"{kind} one; give the backbone that it was tuned on"
        )
    backbone.check_promptable()
    width = backbone.part("transformer").cfg.width
    if part.cfg.width != width:
        raise UserError(
            f"{config.source} makes prompts of width {part.cfg.width}, but the transformer of "
            f"{config.backbone} has {width}; give the backbone that it was tuned on"
        )
    tree = jax.tree.map(np.asarray, part.tree)
    prompt = TunedPrompt(
        config=part.cfg,
        tree=tree,
        classes=tuple(str(number) for number in range(part.cfg.classes)),
        backbone=TunedOn.of(backbone, PARTS),
        sample=defaults.sampling().to_dict(),
    )
    there = folder.exists()
    try:
        tuned_prompt.save(path, prompt)
    except UserError:
        if not there and folder.exists():
            folder.rmdir()
        raise
    print(
        f"wrote {path}; the file does not tell which transformer it was tuned on, only its width "
        f"of {width}: that it is {backbone.name!r} is your word"
    )
    print(
        f"use --config=configs/sample.py --config.prompt={path} "
        f"--config.backbone={config.backbone} --workdir={folder / 'images'}"
    )
