"""Other people's checkpoints to a backbone's folder.

1. Find the files: paths, addresses, or a published model's by its short name.
2. Read and check their names and shapes, without running what is in them.
3. Write the folder, one parameter at a time; or, for a prompt checkpoint, prompt.safetensors.

2. and 3. are those of importers/convert.py, which also serves tuning jobs that name a published
model. The workdir is the backbone's folder. A new part is added to those that it has.
"""

import contextlib
import dataclasses
import pathlib
import signal
from collections.abc import Iterator

import jax
import numpy as np
from ml_collections import ConfigDict

from maskgit_prompt import backbones, params
from maskgit_prompt.backbones import Backbone, Part, stored_fields
from maskgit_prompt.config import defaults, rules, uses
from maskgit_prompt.errors import FORBIDDEN, Stopped, UsageError, UserError
from maskgit_prompt.importers import convert, obtain
from maskgit_prompt.importers.format import Format, formats
from maskgit_prompt.importers.published import PUBLISHED
from maskgit_prompt.importers.rules import Options
from maskgit_prompt.tasks.generation.plan import PARTS
from maskgit_prompt.tuning import tuned_prompt
from maskgit_prompt.tuning.tuned_file import TunedOn
from maskgit_prompt.tuning.tuned_prompt import TunedPrompt

PROMPT = "prompt.safetensors"


def run(config: ConfigDict, path: str) -> None:
    with _one_line():
        model = PUBLISHED.get(config.source)
        config.format = config.format or (model.format if model else "")
        rules.check(config)
        if not config.format or (model and config.format != model.format):
            expected = model.format if model else ", ".join(formats())
            raise UsageError(f"config.format = {config.format!r}, expected {expected}")
        form = formats()[config.format]
        folder = pathlib.Path(path).absolute()
        # 1. and 2. Files, names and shapes.
        there = _existing(folder)
        given = _options(config, model.options if model else Options())
        found = convert.read(_files(config, form), form, given, there)
        uses.check(config, {"found": "a prompt" if "prompt" in found else "a backbone"})
        # 3. The folder.
        if "prompt" not in found:
            _write_backbone(found, there, config, folder, path)
        elif len(found) > 1:
            raise UsageError(f"{config.source} holds a prompt and other parts; give a prompt alone")
        else:
            _write_prompt(found["prompt"][0], form, config, folder)


# --- 1. The files --------------------------------------------------------------------------------


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


def _options(config: ConfigDict, known: Options) -> Options:
    """What files do not tell: as the user says, or else as it is `known` of a published model."""
    names = ("image_size", "codebook", "heads", "classes", "normalization", "weights")
    return dataclasses.replace(known, **{name: config[name] for name in names if config[name]})


def _files(config: ConfigDict, form: Format) -> list[str]:
    """The files of config.source, fetched where they are elsewhere.

    Raises:
      UsageError: no file is given, one does not exist, or one is a folder. UserError: it cannot be
        fetched.
    """
    if not config.source:
        raise UsageError("config.source is empty; give a checkpoint, as --config.source=FILE")
    files = obtain.files(config.source, config.download)
    for file in files:
        if not file or not pathlib.Path(file).exists():
            raise UsageError(
                f"config.source: no file {file!r}; docs/backbones.md says what to fetch, and "
                f"{', '.join(PUBLISHED)} are fetched by these names"
            )
        if form.find is None and pathlib.Path(file).is_dir():
            inside = sorted(path.name for path in pathlib.Path(file).iterdir() if path.is_file())
            raise UsageError(
                f"config.source: {file} is a folder, expected a checkpoint file; give one of its "
                f"files ({', '.join(inside[:4]) or 'it has none'}{', …' * (len(inside) > 4)})"
            )
    return files


# --- 3. The folder -------------------------------------------------------------------------------


def _write_backbone(
    found: convert.Found, there: Backbone, config: ConfigDict, folder: pathlib.Path, path: str
) -> None:
    """Adds the new parts to those in the folder, and prints what is there now."""
    written = convert.write(
        found,
        there,
        folder,
        name=config.name,
        store_dtype=config.store_dtype,
        image_size=config.image_size,
    )
    if written is None:
        print(f"{folder} holds {', '.join(found)} of these very files already")
        return
    for name, part in written.parts.items():
        sizes = {field: x for field, x in stored_fields(part.cfg).items() if x}
        sizes = ", ".join(f"{field} {x}" for field, x in sizes.items() if field != "dtype")
        print(f"{name}: {part.kind}, {params.count(part.tree):,} parameters: {sizes}")
    if "encoder" in written.parts:
        print(
            f"wrote {path}, fingerprint {written.fingerprint(('encoder',))}: use "
            f"--config=configs/classify.py:PHOTOS --config.backbone={path}"
        )
        return
    if "multimodal" in written.parts:
        print(f"wrote {path}, fingerprint {written.fingerprint(('multimodal',))}")
        return
    if set(written.parts) == {"features"}:
        print(f"wrote {path}: use --config=configs/evaluate.py --config.inception={path}")
        return
    missing = [name for name in ("tokenizer", "transformer") if name not in written.parts]
    if missing:
        print(f"no {missing[0]} yet: run again with its file and the same --workdir")
    else:
        print(
            f"wrote {path}, fingerprint {written.fingerprint(PARTS)}: use --config.backbone={path}"
        )


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
    backbone = backbones.load(obtain.backbone(config.backbone, config.download))
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
