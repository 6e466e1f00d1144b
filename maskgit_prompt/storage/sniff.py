"""The kind of a file by its first bytes, for errors that say what was given instead."""

import codecs
import contextlib
import dataclasses
import os
import re
from collections.abc import Iterator
from typing import BinaryIO

from maskgit_prompt.errors import UserError

HEAD = 512  # a tar archive names itself at byte 257


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of file: its name, what a message says of one, and the way out."""

    name: str
    found: str
    way_out: str


def printable(text: object, limit: int = 80) -> str:
    """Text of a foreign file for a message of one line: 'a\\nb' -> 'a\\\\nb'."""
    text = str(text)
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    # Lone surrogates cannot be printed, nor should terminal codes be.
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)


def kind(head: bytes, size: int) -> Kind:
    """The kind of a file of `size` bytes that starts with `head` (HEAD bytes are enough).

    Names: empty, lfs, html, zip, gzip, tar, hdf5, pickle, safetensors, text, unknown.
    """
    other = "choose a file of that kind"
    if not head:
        return Kind("empty", "is empty", "fetch it again")
    if head.startswith(b"version https://git-lfs"):
        found = f"is a git-LFS pointer of {size} bytes, not the file itself"
        return Kind("lfs", found, "fetch the file with git lfs pull")
    start = head.lstrip()[:15]
    if re.match(rb"<(!doctype|!--|html|head|body|\?xml)", start.lower()):
        found = f"starts with '{printable(start.split(b'>')[0].decode('latin1'))}': a web page"
        return Kind("html", found, "download the file itself, not the page about it")
    for magic, name, found in (
        (b"PK\x03\x04", "zip", "is a zip archive"),
        (b"\x1f\x8b", "gzip", "is compressed with gzip"),
        (b"\x89HDF", "hdf5", "is an HDF5 file"),
    ):
        if head.startswith(magic):
            return Kind(name, found, "unpack it first" if name == "gzip" else other)
    if head[257:262] == b"ustar":
        return Kind("tar", "is a tar archive", "unpack it first")
    if head[0] == 0x80 and len(head) > 1 and 2 <= head[1] <= 5:
        return Kind("pickle", "is a pickle, as PyTorch and numpy write", other)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= 10**8:
        return Kind("safetensors", "is a safetensors file", other)
    if text := _text(head):
        return Kind("text", f"is a text file that starts with '{printable(text, 20)}'", other)
    found = f"starts with the bytes {head[:4].hex(' ')}"
    return Kind("unknown", found, f"{other}, or fetch it again")


def _text(head: bytes) -> str:
    """The text that a file starts with; "" if it is none."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # the end may be cut
    except UnicodeDecodeError:
        return ""
    return text if all(c.isprintable() or c.isspace() for c in text) else ""


def unlike(path: str | os.PathLike, what: Kind, expected: str) -> UserError:
    """The error of a file that is `what`, not `expected`."""
    return UserError(f"{path} {what.found}, expected {expected}; {what.way_out}")


def damaged(path: str | os.PathLike, why: object, expected: str) -> UserError:
    """The error of a file of the right kind that cannot be read as such."""
    return UserError(
        f"{path} is damaged or cut short ({printable(why, 200)}), expected {expected}; "
        "fetch it again"
    )


@contextlib.contextmanager
def opened(
    path: str | os.PathLike, expected: str, accepted: tuple[str, ...]
) -> Iterator[tuple[BinaryIO, int, Kind]]:
    """The open file, its size in bytes and its kind.

    Raises:
      UserError: the file cannot be read or is of no `accepted` kind (names of `kind`).
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            what = kind(file.read(HEAD), size)
            if what.name not in accepted:
                raise unlike(path, what, expected)
            file.seek(0)
            yield file, size, what
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {error.strerror or error}; expected {expected}"
        ) from error
