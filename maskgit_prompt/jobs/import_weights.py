"""Other people's checkpoints to a backbone's folder.

1. Read names and shapes of every file, without running what is in it.
2. Check that every name is used and that every parameter is there.
3. Write the folder, one parameter at a time; or, for a prompt checkpoint, prompt.safetensors.

The workdir is the backbone's folder. A new part is added to those that it has.
"""

import contextlib
import dataclasses
import os
import pathlib
import signal
from collections.abc import Iterator

import jax
import numpy as np
from ml_collections import ConfigDict

from maskgit_prompt import backbones, params
from maskgit_prompt.backbones import Backbone, Part, stored_fields
from maskgit_prompt.config import defaults
from maskgit_prompt.errors import FORBIDDEN, Stopped, UsageError, UserError
from maskgit_prompt.importers import fit
from maskgit_prompt.importers.format import Format, formats
from maskgit_prompt.importers.rules import Options
from maskgit_prompt.progress import bytes_progress
from maskgit_prompt.tasks.generation.plan import PARTS
from maskgit_prompt.tuning import tuned_prompt
from maskgit_prompt.tuning.tuned_prompt import TunedOn, TunedPrompt

DTYPES = ("float32", "float16", "bfloat16")
PROMPT = "prompt.safetensors"


def run(config: ConfigDict, path: str) -> None:
    with _one_line():
        form = _format(config)
        folder = pathlib.Path(path).absolute()
        # 1. and 2. Names and shapes.
        there = _existing(folder)
        found = _read(config, form, there)
        # 3. The files.
        if "prompt" not in found:
            _write_backbone(found, there, config, folder, path)
        elif len(found) > 1:
            raise UsageError(f"{config.source} holds a prompt and other parts; give a prompt alone")
        else:
            _write_prompt(found["prompt"][0], form, config, folder)


# --- 1. and 2. Names and shapes ------------------------------------------------------------------


def _format(config: ConfigDict) -> Format:
    """The format named by the config.

    Raises:
      UsageError: no format has this name, or another setting is wrong.
    """
    if config.format not in formats():
        raise UsageError(f"config.format = {config.format!r}, expected {', '.join(formats())}")
    if config.store_dtype not in DTYPES:
        raise UsageError(
            f"config.store_dtype = {config.store_dtype!r}, expected {', '.join(DTYPES)}"
        )
    for name in ("image_size", "codebook", "heads", "classes"):
        if config[name] < 0:
            raise UsageError(f"config.{name} = {config[name]}, expected 0 (to find it) or more")
    return formats()[config.format]


def _existing(folder: pathlib.Path) -> Backbone:
    """The backbone in a folder, or an empty one if there is none yet.

    Raises:
      UsageError: the folder holds something else.
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
            "the prompt"
        )
    if "config.json" not in names:
        raise UsageError(
            f"workdir {folder} holds something other than a backbone "
            f"({min(names)}, …); use another --workdir"
        )
    return backbones.load(str(folder), "--workdir")


def _read(config: ConfigDict, form: Format, there: Backbone) -> dict[str, tuple[Part, dict]]:
    """part -> (the network, where it comes from), for all files; reads no weights."""
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
    # A tokenizer first: it tells where the codes end among a transformer's words.
    opened.sort(key=lambda one: not any(name.startswith(form.tokenizer) for name in one[2]))
    codes = there.parts["tokenizer"].cfg.codebook if "tokenizer" in there.parts else 0
    found = {}
    for file, options, names in opened:
        inside = form.networks(names, file, dataclasses.replace(options, tokenizer=codes))
        if twice := inside.keys() & found.keys():
            raise UsageError(f"{file} holds a {', '.join(twice)}, too; give one file per part")
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


def _files(given: str, form: Format) -> list[str]:
    """FILE,FILE as a list; the name of an existing file may hold commas.

    Raises:
      UsageError: no file is given, one does not exist, or one is a folder.
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


# --- 3. The files --------------------------------------------------------------------------------


def _write_backbone(
    found: dict[str, tuple[Part, dict]],
    there: Backbone,
    config: ConfigDict,
    folder: pathlib.Path,
    path: str,
) -> None:
    """Adds the new parts to those in the folder, and prints what is there now.

    Raises:
      UsageError: the folder has another such part. UserError: parts do not belong together.
    """
    files = there.provenance.get("files", {})
    old = {n for n, (_, origin) in found.items() if _sha256(files, n) == origin["sha256"]}
    for name in sorted(old):
        fit.check_same(
            name, found[name][0], there.parts[name], config.store_dtype, config.image_size, folder
        )
    new = {name: one for name, one in found.items() if name not in old}
    if not new:
        print(f"{folder} holds {', '.join(found)} of these very files already")
        return
    if kept := new.keys() & there.parts.keys():
        raise UsageError(
            f"{folder} has another {', '.join(sorted(kept))} already; use another --workdir, or "
            "delete that one"
        )
    parts = {**there.parts, **{name: part for name, (part, _) in new.items()}}
    parts = fit.fit(parts, config.image_size)
    origins = {name: origin for name, (_, origin) in new.items()}
    backbone = Backbone(
        config.name or there.name or folder.name,
        parts,
        provenance={"files": {**files, **origins}},
    )
    fit.check_published(backbone)
    written = backbones.save(backbone, folder, config.store_dtype, before=there)
    fit.warn_of_words(written)
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


def _sha256(files: dict, name: str) -> str:
    """The digest of the file that a folder's part comes from, from its config.json."""
    return files.get(name, {}).get("sha256", "")


def _write_prompt(part: Part, form: Format, config: ConfigDict, folder: pathlib.Path) -> None:
    """Writes prompt.safetensors from a prompt that others tuned.

    Raises:
      UserError: it does not fit the backbone.
    """
    if not config.backbone:
        raise UsageError(
            "a prompt needs the backbone it was tuned on: give --config.backbone=FOLDER"
        )
    path = folder / PROMPT
    if path.exists():
        raise UsageError(f"{path} is there already; use another --workdir, or delete it")
    backbone = backbones.load(config.backbone, "config.backbone")
    kind = backbone.part("transformer").kind
    if kind != form.tuned_on:
        raise UserError(
            f"{config.source} was tuned on a {form.tuned_on} transformer, but {config.backbone} "
            f"has a {kind} one; give the backbone it was tuned on"
        )
    backbone.check_promptable()
    width = backbone.part("transformer").cfg.width
    if part.cfg.width != width:
        raise UserError(
            f"{config.source} makes prompts of width {part.cfg.width}, but the transformer of "
            f"{config.backbone} has {width}; give the backbone it was tuned on"
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
        f"wrote {path}; the checkpoint tells only the width of its transformer, {width}: make sure "
        f"that it was tuned on {backbone.name!r}"
    )
    print(
        f"use --config=configs/sample.py --config.prompt={path} "
        f"--config.backbone={config.backbone} --workdir={folder / 'images'}"
    )


# --- Errors --------------------------------------------------------------------------------------


@contextlib.contextmanager
def _one_line() -> Iterator[None]:
    """Turns errors of the file system and a stop into one-line errors.

    Raises:
      UserError: for an OSError. Stopped: after SIGTERM.
    """
    again = "before the import was done; run the same command to start it again"

    def stop(*_):
        raise Stopped(f"stopped {again}")

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not the main thread (a notebook's worker): it gets no signals
        before = None
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted {again}") from None
    except OSError as error:
        if error.filename is None:
            raise
        way_out = (
            "check its permissions and those of the folders above it"
            if error.errno in FORBIDDEN
            else "give another file or folder"
        )
        raise UserError(f"cannot use {error.filename}: {error.strerror}; {way_out}") from error
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
