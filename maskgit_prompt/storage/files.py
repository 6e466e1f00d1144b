"""Files written whole or not at all, JSON that is read back, digests."""

import hashlib
import json
import os
import pathlib
import tempfile
from collections.abc import Callable
from typing import Any

from maskgit_prompt.devices import distributed
from maskgit_prompt.errors import FULL, UsageError, UserError

CHUNK = 2**24  # bytes read at once


def write_whole(path: str | os.PathLike, data: bytes, *, any_host: bool = False) -> None:
    """Writes data to path under a temporary name, then renames; makes missing folders.

    Of several hosts only the first writes, or with any_host the one that calls.

    Raises:
      UserError: the file cannot be written; what stood at path is untouched.
    """
    if not (any_host or distributed.is_first()):
        return
    path = pathlib.Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())  # else a crash after the rename could leave it empty
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror or error}; "
            + ("an earlier file is kept; " if path.exists() else "")
            + ("free some space there or choose" if error.errno in FULL else "choose")
            + " another folder"
        ) from error


def check_folder(path: str | os.PathLike, key: str) -> None:
    """Raises UsageError for a folder that cannot be written or made; leaves nothing behind.

    key: where the user gave it, for messages.
    """
    there = pathlib.Path(path).absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise UsageError(f"{key} = {os.fspath(path)!r}: {there} is a file, expected a folder")
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".maskgit_prompt.", dir=there))
    except OSError as error:
        raise UsageError(
            f"{key} = {os.fspath(path)!r} cannot be written: {error.strerror or error} in {there}; "
            "choose a folder that you may write to"
        ) from error


def read_json(path: str | os.PathLike, way_out: str) -> dict[str, Any]:
    """The JSON object in a file; way_out: the end of the message.

    Raises:
      UserError: the file cannot be read, is cut short or damaged.
    """
    try:
        found = json.loads(pathlib.Path(path).read_bytes())
        if not isinstance(found, dict):
            raise ValueError(f"a {type(found).__name__} in place of names and values")
        return found
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}; {way_out}") from error
    except (RecursionError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}); {way_out}") from error


def sha256(path: str | os.PathLike, update: Callable[[int], None] | None = None) -> str:
    """A file's digest in hex; calls update with the number of bytes read."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(CHUNK):
                digest.update(block)
                if update is not None:
                    update(len(block))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; fetch it again") from error
    return digest.hexdigest()


def read_lines(path: str | os.PathLike, key: str) -> tuple[str, ...]:
    """The lines of a text file that are not empty, without spaces around them.

    key: where the user gave the path, for messages.

    Raises:
      UsageError: no such file. UserError: not text in UTF-8, or no lines.
    """
    try:
        found = pathlib.Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 (byte {error.start:,}): save it as UTF-8") from error
    except OSError as error:
        raise UsageError(
            f"{key} = {os.fspath(path)!r} cannot be read ({error.strerror}): expected a text file"
        ) from error
    lines = tuple(line.strip() for line in found.splitlines() if line.strip())
    if not lines:
        raise UserError(f"{path} is empty: expected one entry in each line")
    return lines
