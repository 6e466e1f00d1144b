"""Finds the arrays of a flax msgpack file (flax.serialization.to_bytes) without loading it.

The format: nested msgpack maps, in which an array is an extension of type 1 (a numpy scalar: 3)
that holds (shape, dtype name, bytes) in msgpack again. The msgpack library returns values, not
their places in the file, and so holds each array in memory. Hence a walker of our own.
"""

import math
import os
import struct
from typing import BinaryIO, NamedTuple

import ml_dtypes
import numpy as np

from maskgit_prompt.errors import UserError
from maskgit_prompt.storage import sniff
from maskgit_prompt.storage.sniff import printable
from maskgit_prompt.stored import StoredArray

EXPECTED = "a flax msgpack file"
DTYPES = {
    np.dtype(d).name: np.dtype(d)
    for d in (*np.typecodes["AllInteger"], *"efdFD?", ml_dtypes.bfloat16)
}
NDARRAY, COMPLEX, SCALAR = 1, 2, 3
DEEPEST = 64
LONGEST_TEXT = 2**16

# First byte -> (kind, struct format of the length that follows); for a number (kind, its bytes).
SIZED = {
    0xC4: ("bin", ">B"), 0xC5: ("bin", ">H"), 0xC6: ("bin", ">I"),
    0xC7: ("ext", ">B"), 0xC8: ("ext", ">H"), 0xC9: ("ext", ">I"),
    0xD9: ("str", ">B"), 0xDA: ("str", ">H"), 0xDB: ("str", ">I"),
    0xDC: ("array", ">H"), 0xDD: ("array", ">I"), 0xDE: ("map", ">H"), 0xDF: ("map", ">I"),
}  # fmt: skip
INTEGERS = {
    0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q", 0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
}  # fmt: skip
FLOATS = {0xCA: 4, 0xCB: 8}
NOTHING = (0xC0, 0xC2, 0xC3)  # None, False, True


class _Damaged(Exception):
    """The bytes are not a whole msgpack value."""


class _Value(NamedTuple):
    """The start of a value: a str, bin, ext, array or map of `size`, an int, or "other"."""

    kind: str
    size: int = 0  # for an int, its value
    code: int = 0  # for an ext


def read(path: str | os.PathLike) -> dict[str, StoredArray]:
    """The arrays of the file by name, not yet read.

    Names of nested maps are joined by "/": {"params": {"a": array}} -> {"params/a": array}; items
    of lists are named by their index. Numbers that are not arrays, texts and None are left out.

    Raises:
      UserError: the file is not a flax msgpack file, is damaged, or holds no array, an array in
        chunks (above 1 GiB) or an array of an unsupported dtype.
    """
    with sniff.opened(path, EXPECTED, ("unknown",)) as (file, size, what):
        walker = _Walker(path, file, size)
        try:
            top = walker.value()
            if top.kind != "map":
                raise sniff.unlike(path, what, EXPECTED)
            walker.map(top.size, "", 0)
        except _Damaged as error:
            raise sniff.damaged(path, error, EXPECTED) from error
        if file.tell() != size:
            why = f"it ends at byte {file.tell():,} of {size:,}"
            raise sniff.damaged(path, why, EXPECTED)
    if not walker.found:
        raise UserError(
            f"{path} holds no arrays, only {', '.join(walker.names) or 'an empty map'}; expected "
            f"{EXPECTED} of parameters: choose the checkpoint of the model"
        )
    return walker.found


class _Walker:
    """Walks a file from its position; `found` are the arrays, `names` the first map's keys."""

    def __init__(self, path: str | os.PathLike, file: BinaryIO, size: int):
        self.path, self.file, self.size = path, file, size
        self.found: dict[str, StoredArray] = {}
        self.names: list[str] = []

    def take(self, n: int) -> bytes:
        data = self.file.read(n)
        if len(data) < n:
            raise self.short(n - len(data))
        return data

    def short(self, n: int) -> _Damaged:
        missing = "1 byte is" if n == 1 else f"{n:,} bytes are"
        return _Damaged(f"{missing} missing at the end of {self.size:,}")

    def skip(self, n: int) -> None:
        """Skips n bytes; seek works beyond the end of a file, hence the check."""
        end = self.file.tell() + n
        if end > self.size:
            raise self.short(end - self.size)
        self.file.seek(end)

    def value(self) -> _Value:
        """The start of the next value, without the part that `size` counts."""
        at = self.file.tell()
        [byte] = self.take(1)
        if byte < 0x80 or byte >= 0xE0:
            return _Value("int", byte if byte < 0x80 else byte - 0x100)
        if byte < 0xC0:
            kind, mask = (
                ("map", 15) if byte < 0x90 else ("array", 15) if byte < 0xA0 else ("str", 31)
            )
            return _Value(kind, byte & mask)
        if byte in INTEGERS:
            return _Value("int", self.number(INTEGERS[byte]))
        if byte in SIZED:
            kind, form = SIZED[byte]
            size = self.number(form)
            return _Value(kind, size, self.number(">b") if kind == "ext" else 0)
        if 0xD4 <= byte <= 0xD8:
            return _Value("ext", 1 << (byte - 0xD4), self.number(">b"))
        if byte not in (*FLOATS, *NOTHING):
            raise _Damaged(f"no msgpack value at byte {at:,}")
        self.skip(FLOATS.get(byte, 0))
        return _Value("other")

    def number(self, form: str) -> int:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def text(self) -> str:
        """The next value, a str (in old files bin) or an integer, as text."""
        at, value = self.file.tell(), self.value()
        if value.kind == "int":
            return str(value.size)
        if value.kind not in ("str", "bin") or value.size > LONGEST_TEXT:
            raise _Damaged(f"expected a name at byte {at:,}")
        try:
            return self.take(value.size).decode()
        except UnicodeDecodeError as error:
            raise _Damaged(f"the name at byte {at:,} is not text") from error

    def map(self, n: int, prefix: str, depth: int) -> None:
        for _ in range(n):
            key = self.text()
            if key == "__msgpack_chunked_array__":
                raise UserError(
                    f"{self.path} holds {printable(prefix[:-1])} in chunks, as flax does above "
                    "1 GiB, expected arrays in one piece; split it with flax before, or use the "
                    "PyTorch or safetensors file of these weights"
                )
            if not depth and len(self.names) < 8:
                self.names.append(printable(key, 30))
            self.item(prefix + key, depth)

    def item(self, name: str, depth: int) -> None:
        """Walks past the next value and keeps its arrays under `name`."""
        if depth > DEEPEST:
            raise _Damaged(f"maps nested more than {DEEPEST} deep")
        value = self.value()
        if value.kind == "map":
            self.map(value.size, f"{name}/", depth + 1)
        elif value.kind == "array":
            for i in range(value.size):
                self.item(f"{name}/{i}", depth + 1)
        elif value.kind == "ext" and value.code in (NDARRAY, SCALAR):
            self.array(name, self.file.tell() + value.size)
        elif value.kind == "ext" and value.code != COMPLEX:
            raise _Damaged(f"{name} is of extension type {value.code}, flax writes 1, 2 and 3")
        elif value.kind in ("str", "bin", "ext"):
            self.skip(value.size)

    def array(self, name: str, end: int) -> None:
        """Keeps the array whose (shape, dtype, bytes) start here and reach to byte `end`."""
        if (triple := self.value())[:2] != ("array", 3):
            raise _Damaged(f"{name} is a {triple.kind}, expected (shape, dtype, bytes)")
        dims = self.value()
        if dims.kind != "array" or dims.size > 32:
            raise _Damaged(f"the shape of {name}")
        numbers = [self.value() for _ in range(dims.size)]
        if any(x.kind != "int" or x.size < 0 for x in numbers):
            raise _Damaged(f"the shape of {name}")
        shape = tuple(x.size for x in numbers)
        dtype = self.text()
        if dtype not in DTYPES:
            raise UserError(
                f"{self.path} holds {printable(name)} as {printable(dtype)}, expected floats, "
                "integers or booleans; convert it before you save it"
            )
        raw, start = self.value(), self.file.tell()
        length = math.prod(shape) * DTYPES[dtype].itemsize
        if raw.kind not in ("bin", "str") or raw.size != length or start + raw.size != end:
            raise _Damaged(f"{name} of shape {shape} has {raw.size:,} bytes, expected {length:,}")
        self.skip(raw.size)
        if name in self.found:
            raise _Damaged(f"two arrays called {name}")
        self.found[name] = StoredArray(str(self.path), start, shape, DTYPES[dtype])
