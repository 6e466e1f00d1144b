"""Writes backbones, whole or not at all, with one process at a time.

A new folder is first written under another name. In an existing folder, new files are written to
`.partial` and moved out of it at the end: config.json last, so that new parts count from then on.
"""

import json
import math
import os
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np

from maskgit_prompt import params
from maskgit_prompt.backbones.backbone import Backbone, checksum, fingerprint_of, identity
from maskgit_prompt.backbones.load import FORMAT, load
from maskgit_prompt.backbones.registry import stored_fields
from maskgit_prompt.devices import distributed
from maskgit_prompt.errors import UserError, unwritable
from maskgit_prompt.progress import bytes_progress
from maskgit_prompt.storage import safetensors_stream
from maskgit_prompt.storage.lock import Held, hold

SHARD = 2**30  # bytes per file, if a part needs more than one
PARTIAL = ".partial"  # the subfolder being written, in an existing folder


def save(
    backbone: Backbone,
    folder: str | pathlib.Path,
    dtype: str = "float32",
    before: Backbone | None = None,
    any_host: bool = False,
) -> Backbone:
    """Writes a backbone, whole or not at all, and returns it as `load` will.

    Leaves of the parts' trees may be any arrays, or objects with a shape that numpy can turn into
    arrays; one at a time is in memory. Parts that are already in the folder's files stay there, and
    so do files that do not belong to the model.

    Args:
      dtype: of the stored weights; "float16" halves the files.
      before: what was found in the folder, to which `backbone` adds parts; None: anything.
      any_host: the host that calls writes, for itself; else the first writes for all.

    Raises:
      UserError: the folder cannot be written (a full disk), another process is writing it or has
        added to `before`, or a weight is not finite.
    """
    folder = pathlib.Path(folder).absolute()
    if any_host or distributed.is_first():
        _save(backbone, folder, dtype, before)
    if not any_host:
        distributed.barrier("backbone")
    return load(str(folder))


def _save(backbone: Backbone, folder: pathlib.Path, dtype: str, before: Backbone | None) -> None:
    # A fixed name, so that the next attempt removes what a killed one left. Inside an existing
    # folder, since that may be a mount point or a link.
    there = folder.exists()
    temporary = folder / PARTIAL if there else folder.with_name(f".{folder.name}{PARTIAL}")
    lock = temporary / "lock"
    try:
        temporary.mkdir(parents=True, exist_ok=True)
        with hold(lock):
            if folder.exists() != there or (before and _recorded(folder) != _files(before)):
                shutil.rmtree(temporary, ignore_errors=True)
                raise _busy(folder)
            for file in leftovers(folder):
                (folder / file).unlink(missing_ok=True)
            try:
                for file in temporary.iterdir():
                    if file != lock:
                        file.unlink()
                _fill(temporary, backbone, folder, dtype)
            except BaseException:
                shutil.rmtree(temporary, ignore_errors=True)
                raise
            lock.unlink()
            if not there:
                os.replace(temporary, folder)
                return
            # The config goes last: new parts count from then on. If this stops in between, the
            # temporary folder stays, and its config tells which files are left over.
            for file in sorted(temporary.iterdir(), key=lambda file: file.name == "config.json"):
                os.replace(file, folder / file.name)
            temporary.rmdir()
    except (Held, FileNotFoundError) as error:
        # The folder is gone: another process has just finished with it.
        raise _busy(folder) from error
    except OSError as error:
        raise unwritable(f"backbone {folder}", error) from error


def _busy(folder: pathlib.Path) -> UserError:
    return UserError(
        f"another process is writing backbone {folder}, or has just done so; wait until it is "
        "done and run the same command again"
    )


def leftovers(folder: pathlib.Path) -> set[str]:
    """Names of the files of an unfinished model, in a folder without config.json."""
    if (folder / "config.json").exists():
        return set()
    try:
        parts = json.loads((folder / PARTIAL / "config.json").read_text())["parts"].values()
        return {file for part in parts for file in part["files"] if (folder / file).is_file()}
    except (AttributeError, FileNotFoundError, KeyError, TypeError, ValueError):
        return set()


def _recorded(folder: pathlib.Path) -> dict[str, dict[str, str]]:
    """part -> {file: sha256} from the folder's config.json; empty if there is none."""
    try:
        parts = json.loads((folder / "config.json").read_text())["parts"]
    except FileNotFoundError:
        return {}
    return {name: entry["files"] for name, entry in parts.items()}


def _files(backbone: Backbone) -> dict[str, dict[str, str]]:
    """part -> {file: sha256} for parts in a folder."""
    return {
        name: {pathlib.Path(file).name: digest for file, digest in part.files.items()}
        for name, part in backbone.parts.items()
    }


def _fill(temporary: pathlib.Path, backbone: Backbone, folder: pathlib.Path, dtype: str) -> None:
    """Writes config.json and the files of parts that are not yet in `folder`."""
    entries, count = {}, params.count({name: part.tree for name, part in backbone.parts.items()})
    with bytes_progress(count * np.dtype(dtype).itemsize, "write") as update:
        for name, part in backbone.parts.items():
            own = {pathlib.Path(file): digest for file, digest in part.files.items()}
            if own and all(file.parent.absolute() == folder for file in own):
                files = {file.name: digest for file, digest in own.items()}
            else:
                files = _write_part(temporary, name, params.flatten(part.tree), dtype, update)
            entries[name] = {"kind": part.kind, "config": _to_json(part.cfg), "files": files}
    config = {
        "format": FORMAT,
        "name": backbone.name,
        "classes": list(backbone.classes),
        "provenance": backbone.provenance,
        # For readers of the folder: covers what a prompt depends on, whichever part came first.
        "fingerprint": fingerprint_of(
            [identity(entries[name]) for name in sorted(entries) if name != "features"]
        ),
        "parts": entries,
    }
    if backbone.vocabulary is not None:
        config["vocabulary"] = backbone.vocabulary
    config["sha256"] = checksum(config)
    (temporary / "config.json").write_text(json.dumps(config, indent=1) + "\n")


def _write_part(
    folder: pathlib.Path, name: str, flat: dict[str, Any], dtype: str, update: Callable[[int], None]
) -> dict:
    """Writes a part's parameters into files of about SHARD bytes; {file: sha256}."""
    size = np.dtype(dtype).itemsize
    shards, room = [[]], SHARD
    for path, x in sorted(flat.items()):  # equal weights make equal files, whatever their order
        needed = math.prod(x.shape) * size
        if shards[-1] and needed > room:
            shards.append([])
            room = SHARD
        shards[-1].append(path)
        room -= needed

    def array(path: str) -> np.ndarray:
        x = np.asarray(flat[path])
        if not np.isfinite(x).all():
            raise UserError(
                f"{name}/{path} holds NaN or infinite numbers, or larger ones than float32 has; "
                "nothing was written"
            )
        with np.errstate(over="ignore"):
            small = x.astype(dtype, copy=False)
        if not np.isfinite(small).all():
            raise UserError(
                f"{name}/{path} holds {np.abs(x).max():.3g}, more than {dtype} can; store it as "
                "bfloat16 or float32"
            )
        update(small.nbytes)
        return small

    files = {}
    for number, paths in enumerate(shards, start=1):
        part = f"-{number:05}-of-{len(shards):05}" if len(shards) > 1 else ""
        file = f"{name}{part}.safetensors"
        specs = {path: (tuple(flat[path].shape), np.dtype(dtype)) for path in paths}
        files[file] = safetensors_stream.write(folder / file, specs, array)
    return files


def _to_json(cfg: Any) -> dict:
    return json.loads(json.dumps(stored_fields(cfg)))
