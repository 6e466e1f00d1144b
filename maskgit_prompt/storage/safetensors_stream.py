""".safetensors files read lazily and written one array at a time.

The format: the length of a JSON header in 8 bytes (little-endian), the header, which says of each
array its dtype, shape and place, and the arrays (https://github.com/huggingface/safetensors). The
library's own writer wants all arrays in memory at once.
"""

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping

import ml_dtypes
import numpy as np

from maskgit_prompt.errors import UserError, unwritable
from maskgit_prompt.storage import sniff
from maskgit_prompt.storage.sniff import printable
from maskgit_prompt.stored import StoredArray

EXPECTED = "a safetensors file"
LONGEST_HEADER = 10**8  # as in the library
ALIGNMENT = 64  # bytes, of the first array
BLOCK = 2**24  # bytes that are written at a time
# The library reads and names these; float8 kinds are left out.
DTYPES = {
    "F64": np.dtype("f8"), "F32": np.dtype("f4"), "F16": np.dtype("f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16), "I64": np.dtype("i8"), "I32": np.dtype("i4"),
    "I16": np.dtype("i2"), "I8": np.dtype("i1"), "U64": np.dtype("u8"), "U32": np.dtype("u4"),
    "U16": np.dtype("u2"), "U8": np.dtype("u1"), "BOOL": np.dtype("?"), "C64": np.dtype("c8"),
}  # fmt: skip
CODES = {dtype: code for code, dtype in DTYPES.items()}


# ---- reading


def read(path: str | os.PathLike) -> dict[str, StoredArray]:
    """The arrays of the file by name; none is read.

    Raises:
      UserError: the file is not a safetensors file, is damaged or cut short, or holds an array of a
        dtype that is not read here.
    """
    with sniff.opened(path, EXPECTED, ("safetensors", "unknown")) as (file, size, what):
        length = int.from_bytes(file.read(8), "little")
        if what.name == "unknown" or not 2 <= length <= LONGEST_HEADER:
            raise sniff.unlike(path, what, EXPECTED)
        if 8 + length > size:
            why = f"its header of {length:,} bytes is longer than the file of {size:,}"
            raise sniff.damaged(path, why, EXPECTED)
        text = file.read(length)
    try:
        header = json.loads(text, object_pairs_hook=_no_doubles)
    except (ValueError, RecursionError) as error:
        raise sniff.damaged(path, f"its header: {error}", EXPECTED) from error
    header.pop("__metadata__", None)
    return {name: _stored(path, name, x, 8 + length, size) for name, x in header.items()}


def _no_doubles(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands there twice")
    return found


def _stored(path, name: str, entry: object, start: int, size: int) -> StoredArray:
    """Where an array lies, by {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}."""
    match entry:
        case {"dtype": str(code), "shape": list(shape), "data_offsets": [first, last]}:
            pass
        case _:
            raise sniff.damaged(path, f"the entry of {name} in its header", EXPECTED)
    if not all(type(n) is int and 0 <= n < 2**63 for n in (*shape, first, last)):
        raise sniff.damaged(path, f"the shape or place of {name}", EXPECTED)
    if code not in DTYPES:
        raise UserError(
            f"{path} holds {printable(name)} as {printable(code)}, expected one of "
            f"{', '.join(DTYPES)}; convert it before it is saved"
        )
    length = math.prod(shape) * DTYPES[code].itemsize
    if last - first != length:
        why = f"{name} of shape {shape} has {last - first:,} bytes, not {length:,}"
        raise sniff.damaged(path, why, EXPECTED)
    if start + last > size:
        why = f"{name} ends at byte {start + last:,} of {size:,}"
        raise sniff.damaged(path, why, EXPECTED)
    return StoredArray(str(path), start + first, tuple(shape), DTYPES[code])


# ---- writing


def write(
    path: str | os.PathLike,
    specs: Mapping[str, tuple[tuple[int, ...], np.dtype]],
    arrays: Callable[[str], np.ndarray],
) -> str:
    """Writes the file straight to `path` and returns the sha256 of its bytes in hex.

    Arrays are asked for and written one after the other, those of wider numbers first, so that
    each starts at a multiple of its item size, and the first at a multiple of 64 bytes; among
    equals by name, so that equal arrays make equal files whatever order they come in.

    Args:
      path: the file; the caller gives a temporary name and renames it.
      specs: name -> (shape, dtype).
      arrays: name -> the array; called once a name, with no earlier array kept.

    Raises:
      ValueError: a dtype that the format does not have, or an array that is not as in specs.
      UserError: the file cannot be written (any OSError, also of `arrays`).
    """
    specs = {name: (tuple(shape), np.dtype(dtype)) for name, (shape, dtype) in specs.items()}
    for name, (_, dtype) in specs.items():
        if dtype not in CODES:
            raise ValueError(f"{name} is {dtype}, expected one of {', '.join(map(str, CODES))}")
    names = sorted(specs, key=lambda name: (-specs[name][1].itemsize, name))
    digest = hashlib.sha256()
    try:
        # Unbuffered: else closing after a failure would write, and fail, again.
        with open(path, "wb", buffering=0) as file:
            _put(file, digest, _header(names, specs))
            for name in names:
                _put_array(file, digest, name, specs[name], arrays)
            os.fsync(file.fileno())
    except OSError as error:
        raise unwritable(path, error) from error
    return digest.hexdigest()


def _header(names: list[str], specs: Mapping[str, tuple[tuple[int, ...], np.dtype]]) -> bytes:
    header, place = {}, 0
    for name in names:
        shape, dtype = specs[name]
        end = place + math.prod(shape) * dtype.itemsize
        header[name] = {"dtype": CODES[dtype], "shape": shape, "data_offsets": (place, end)}
        place = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def _put_array(file, digest, name: str, spec: tuple, arrays: Callable[[str], np.ndarray]) -> None:
    """Writes the array in C order; of a transposed one only some rows are copied at a time."""
    array = np.asarray(arrays(name))
    if (array.shape, array.dtype) != spec:
        raise ValueError(
            f"{name} is {array.dtype} of shape {array.shape}, expected {spec[1]} of {spec[0]}"
        )
    rows = np.atleast_1d(array)
    step = max(1, BLOCK * len(rows) // max(1, rows.nbytes))
    for i in range(0, len(rows), step):
        block = np.ascontiguousarray(rows[i : i + step])
        _put(file, digest, block.reshape(-1).view(np.uint8))


def _put(file, digest, data: bytes | np.ndarray) -> None:
    digest.update(data)
    left = memoryview(data)
    while left:  # a call may write a part only
        left = left[file.write(left) :]
