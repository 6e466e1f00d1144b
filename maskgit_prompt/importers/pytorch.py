"""State dicts of PyTorch files, without PyTorch and without running anything in them.

torch.save has two formats. Since PyTorch 1.6 it writes a zip archive of NAME/data.pkl and one
uncompressed member NAME/data/KEY per storage. The old format is a row of pickles followed by the
storages, each an 8-byte count of elements and its bytes. Tested with files written by PyTorch 2.13.
"""

import dataclasses
import io
import math
import os
import re
import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from maskgit_prompt.errors import UserError
from maskgit_prompt.importers import pickles
from maskgit_prompt.importers.pickles import Global, Inert
from maskgit_prompt.storage import safetensors_stream, sniff
from maskgit_prompt.storage.sniff import printable
from maskgit_prompt.stored import StoredArray

EXPECTED = "a PyTorch checkpoint"
WRAPPERS = ("state_dict", "model", "params")
# Top entries of training scripts that hold tensors but no weights.
NO_WEIGHTS = re.compile(r"opt(im\w*)?|lr_\w+|scheduler\w*|callbacks|loops")
DEEPEST, MOST = 32, 10**6  # nesting and number of entries of a state dict

# What the first two pickles of an old file hold.
OLD_MAGIC, OLD_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001

# torch.NAMEStorage and torch.name -> dtype
STORAGES = {
    f"{name}Storage": np.dtype(dtype)
    for name, dtype in {
        "Double": "f8", "Float": "f4", "Half": "f2", "BFloat16": ml_dtypes.bfloat16,
        "Long": "i8", "Int": "i4", "Short": "i2", "Char": "i1", "Byte": "u1", "Bool": "?",
        "ComplexFloat": "c8", "ComplexDouble": "c16", "Untyped": "u1",
    }.items()
}  # fmt: skip
DTYPES = {f"torch.{d.name}": d for d in (*STORAGES.values(), *map(np.dtype, ("u2", "u4", "u8")))}
STORAGE_CLASS = re.compile(r"torch\.(cuda\.|storage\.)?(\w+Storage)")

# Classes of training scripts that occur in checkpoints; no object of them is made.
INERT = re.compile(
    r"argparse\.Namespace"
    # Only classes (capitals): through a module's path a pickle could reach any function.
    r"|(omegaconf|pytorch_lightning|lightning|lightning_fabric|torch\.optim)(\.[a-z_]\w*)*\.[A-Z]\w*"
    r"|numpy\.(dtype|ndarray|_?core\.(multiarray\.(scalar|_reconstruct)|numeric\._frombuffer))|_codecs\.encode"
    r"|collections\.(Counter|deque)|(pathlib|datetime|decimal|fractions)\.\w+"
    r"|builtins\.(set|frozenset|complex|bytearray|range|slice|object)"
    r"|torch\.(device|serialization\._get_layout|_utils\._rebuild_\w+)"
)


@dataclasses.dataclass(frozen=True)
class _Storage:
    key: str
    dtype: np.dtype | None  # None: a dtype that numpy does not have
    size: int  # elements


@dataclasses.dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int  # elements
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # elements
    dtype: np.dtype | None


# key of a storage -> first byte in the file, length in bytes
Places = Mapping[str, tuple[int, int]]


def read_or_safetensors(path: str | os.PathLike) -> dict[str, StoredArray]:
    """As `read`, for PyTorch's own format or safetensors, whatever the file is called."""
    expected = f"{EXPECTED} or {safetensors_stream.EXPECTED}"
    with sniff.opened(path, expected, ("zip", "pickle", "tar", "safetensors")) as (_, _, what):
        kind = what.name
    return safetensors_stream.read(path) if kind == "safetensors" else read(path)


def read(path: str | os.PathLike, inside: Sequence[str] = ()) -> dict[str, StoredArray]:
    """The tensors of a file's state dict by name, not yet read.

    The state dict is the object itself or stands under "state_dict", "model" or "params"; names of
    nested dicts are joined by ".": {"state_dict": {"a": {"b": tensor}}} -> {"a.b": array}. Entries
    that are not tensors are left out.

    Args:
      inside: keys that lead to another state dict, as "extra_state", "ema" to averaged weights; the
        result is empty if there is none.

    Raises:
      UserError: the file is not one of PyTorch, is damaged, wants to run code, holds no state dict,
        or holds a tensor that is not stored as plain numbers.
    """
    with sniff.opened(path, EXPECTED, ("zip", "pickle", "tar")) as (file, size, what):
        if what.name == "tar":
            raise UserError(
                f"{path} is a tar archive, as PyTorch wrote before 0.1.10, expected a zip archive "
                "or a pickle; save it again with a later PyTorch"
            )
        try:
            top, places = (_zip if what.name == "zip" else _old)(path, file, size)
        except pickles.Refused as error:
            raise UserError(
                f"{path} wants to run {printable(error)}: refused, nothing was run; expected a "
                "state dict alone: if you trust the file, save that from PyTorch with "
                "torch.save(model.state_dict(), FILE)"
            ) from error
        except pickles.Damaged as error:
            raise sniff.damaged(path, error, EXPECTED) from error
    if inside:
        for key in inside:
            top = top.get(key) if isinstance(top, dict) else None
        if not isinstance(top, dict):
            return {}
    return {name: _stored(path, name, x, places) for name, x in _state_dict(path, top).items()}


# ---- the two formats


def _zip(path, file: BinaryIO, size: int) -> tuple[Any, Places]:
    """The object in data.pkl, and the places of the storages."""
    try:
        archive = zipfile.ZipFile(file)
        members = {info.filename: info for info in archive.infolist()}
        roots = [name.removesuffix("data.pkl") for name in members if _is_pickle(name)]
        if len(roots) != 1:
            raise UserError(
                f"{path} is a zip archive of {printable(', '.join(list(members)[:4]) or 'nothing')}"
                f", expected {EXPECTED} with one data.pkl; choose the checkpoint itself"
            )
        [root] = roots
        read_here = (root + "data.pkl", root + "byteorder", root + "data/")
        wanted = [i for i in members.values() if i.filename.startswith(read_here)]
        for info in wanted:
            if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
                raise UserError(
                    f"{path} holds {printable(info.filename)} compressed, expected it as PyTorch "
                    "stores it; unpack the archive and zip it again with zip -0"
                )
        order = root + "byteorder"
        if order in members and archive.read(order) != b"little":
            raise _big_endian(path)
        if members[root + "data.pkl"].file_size > pickles.LONGEST:
            raise pickles.Damaged(f"a data.pkl of {members[root + 'data.pkl'].file_size:,} bytes")
        data = archive.read(root + "data.pkl")
        places = {}
        for info in wanted:
            if info.filename.startswith(root + "data/"):
                # Name and extra field are repeated before the data, with other lengths.
                file.seek(info.header_offset)
                magic, *lengths = struct.unpack("<4s22xHH", file.read(30))
                start = info.header_offset + 30 + sum(lengths)
                if magic != b"PK\x03\x04" or start + info.file_size > size:
                    raise pickles.Damaged(f"member {info.filename}")
                places[info.filename.removeprefix(root + "data/")] = start, info.file_size
    # zipfile raises these on damaged archives; RuntimeError if one claims to be encrypted.
    except (
        zipfile.BadZipFile, struct.error, EOFError, ValueError, OverflowError, RuntimeError
    ) as error:  # fmt: skip
        raise pickles.Damaged(error) from error
    top = pickles.load(io.BytesIO(data), CALLS, INERT, _persistent)
    return top, places


def _is_pickle(name: str) -> bool:
    return name.count("/") == 1 and name.endswith("/data.pkl")


def _old(path, file: BinaryIO, size: int) -> tuple[Any, Places]:
    """The object pickled fourth in the file, and the places of the storages."""
    found: dict[str, _Storage] = {}

    def persistent(pid):
        result = _persistent(pid)
        if isinstance(result, _Storage) and found.setdefault(result.key, result) != result:
            raise pickles.Damaged(f"two storages called {result.key}")
        return result

    load = lambda: pickles.load(file, CALLS, INERT, persistent)
    if load() != OLD_MAGIC:
        raise UserError(
            f"{path} is a pickle, but torch.save did not write it, expected {EXPECTED}; save the "
            "state dict with torch.save(model.state_dict(), FILE)"
        )
    if load() != OLD_PROTOCOL:
        raise pickles.Damaged(f"a protocol other than {OLD_PROTOCOL}")
    info = load()
    if not isinstance(info, dict) or "little_endian" not in info:
        raise pickles.Damaged("no description of the machine that wrote it")
    if info["little_endian"] is not True:
        raise _big_endian(path)
    top, keys = load(), load()
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise pickles.Damaged("no list of storages")
    places = {}
    for key in keys:
        if key not in found:
            raise pickles.Damaged(f"storage {key} belongs to no tensor")
        storage, start = found[key], file.tell() + 8
        if storage.dtype is None:
            raise UserError(
                f"{path} holds quantized numbers, expected floats, integers or booleans; "
                "save the state dict of the model before it was quantized"
            )
        count = int.from_bytes(file.read(8), "little")
        length = count * storage.dtype.itemsize
        if count != storage.size or start + length > size:
            raise pickles.Damaged(
                f"storage {key} of {storage.size:,} elements has {count:,} at byte {start:,} "
                f"of {size:,}"
            )
        places[key] = start, length
        file.seek(start + length)
    return top, places


def _big_endian(path) -> UserError:
    return UserError(
        f"{path} was written on a big-endian machine, expected little-endian numbers; load it with "
        "PyTorch and save it again on this machine"
    )


# ---- what the pickles may call


def _persistent(pid: Any) -> Any:
    """('storage', class, key, device, elements[, view]) -> _Storage; a module -> its class."""
    match pid:
        case ("storage", Global(name), str(key), _, int(size), *view) if size >= 0:
            if any(v is not None for v in view):
                raise pickles.Damaged("a storage that is part of another, as before PyTorch 0.4")
            kind = STORAGE_CLASS.fullmatch(name)
            if kind is None:
                raise pickles.Refused(name)
            return _Storage(key, STORAGES.get(kind[2].removeprefix("_")), size)
        case ("module", Global() as cls, *_):
            return cls
    raise pickles.Damaged("an unknown persistent id")


def _rebuild(args: tuple) -> Any:
    """(storage, offset, shape, strides[, requires_grad, hooks[, bits]]) -> _Tensor."""
    storage, offset, shape, strides, *rest = args
    return _tensor(storage, offset, shape, strides, storage.dtype, rest[2:])


def _rebuild_v3(args: tuple) -> Any:
    """(storage, offset, shape, strides, requires_grad, hooks, dtype[, bits]) -> _Tensor."""
    storage, offset, shape, strides, _, _, dtype, *bits = args
    return _tensor(storage, offset, shape, strides, DTYPES.get(dtype.name), bits)


def _tensor(storage, offset, shape, strides, dtype, bits) -> Any:
    """A _Tensor; an Inert if `bits` says that the numbers stand for conjugates or negatives."""
    if not isinstance(storage, _Storage):
        raise pickles.Damaged("a tensor without a storage")
    if any(bits):
        return Inert("torch._utils._rebuild_conjugated_or_negated")
    numbers = (offset, *shape, *strides)
    if len(shape) != len(strides) or not all(type(n) is int and n >= 0 for n in numbers):
        raise pickles.Damaged(f"a tensor of shape {shape}, strides {strides}, offset {offset}")
    return _Tensor(storage, offset, tuple(shape), tuple(strides), dtype)


def _ordered_dict(args: tuple) -> dict:
    return (
        pickles.as_dict(args[0].items() if isinstance(args[0], dict) else args[0]) if args else {}
    )


CALLS: pickles.Calls = {
    "collections.OrderedDict": _ordered_dict,
    "builtins.dict": _ordered_dict,
    "collections.defaultdict": lambda args: {},
    "builtins.list": lambda args: [],
    "torch.Size": lambda args: tuple(args[0]),
    "torch._utils._rebuild_tensor": _rebuild,
    "torch._utils._rebuild_tensor_v2": _rebuild,
    "torch._utils._rebuild_tensor_v3": _rebuild_v3,
    "torch._utils._rebuild_parameter": lambda args: args[0],
    "torch._utils._rebuild_parameter_with_state": lambda args: args[0],
}


# ---- from the object to arrays


def _state_dict(path, top: Any) -> dict[str, _Tensor]:
    if not isinstance(top, dict):
        kind = "tensor" if isinstance(top, _Tensor) else type(top).__name__
        raise UserError(
            f"{path} holds a {kind}, expected a state dict; save one with "
            "torch.save(model.state_dict(), FILE)"
        )
    inner = [top[name] for name in WRAPPERS if isinstance(top.get(name), dict)]
    plain = {
        k: v for k, v in top.items() if not (isinstance(v, dict) and NO_WEIGHTS.fullmatch(str(k)))
    }
    for candidate in (*inner, plain):
        found: dict[str, _Tensor] = {}
        for count, (name, value) in enumerate(_leaves(path, candidate, "", 0)):
            if name in found or count == MOST:
                raise UserError(
                    f"{path} has two tensors called {printable(name)} or more than {MOST:,} "
                    "entries, expected a state dict; save model.state_dict() again"
                )
            if isinstance(value, Inert) and value.name.startswith("torch._utils._rebuild_"):
                raise UserError(
                    f"{path} holds {printable(name)} as {value.name.rpartition('_rebuild_')[2]}, "
                    "expected a dense tensor of plain numbers; save it again after "
                    "tensor.to_dense(), .dequantize() or .resolve_conj()"
                )
            if isinstance(value, _Tensor):
                found[name] = value
        if found:
            return found
    names = [printable(k.name if isinstance(k, Global) else k, 30) for k in list(top)[:8]]
    more = ", …" if len(top) > 8 else ""
    raise UserError(
        f"{path} holds no state dict, only {', '.join(names) or 'an empty dict'}{more}; expected "
        f"tensors at the top or under {', '.join(WRAPPERS)}: choose the checkpoint of the model"
    )


def _leaves(path, tree: dict, prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
    """("a.b", value) for all values of nested dicts, without those that have no name."""
    if depth > DEEPEST:
        raise sniff.damaged(path, f"dicts nested more than {DEEPEST} deep", EXPECTED)
    for key, value in tree.items():
        if not isinstance(key, str | int):
            continue
        yield f"{prefix}{key}", value
        if isinstance(value, dict):
            yield from _leaves(path, value, f"{prefix}{key}.", depth + 1)


def _stored(path, name: str, tensor: _Tensor, places: Places) -> StoredArray:
    """Where the tensor lies in the file, checked against its storage."""
    if tensor.dtype is None:
        raise UserError(
            f"{path} holds {printable(name)} in an unsupported type of number, expected "
            "floats, integers or booleans; convert it with tensor.float() and save it again"
        )
    if tensor.storage.key not in places:
        raise sniff.damaged(path, f"the numbers of {name} are missing", EXPECTED)
    start, length = places[tensor.storage.key]
    size = tensor.dtype.itemsize
    strides = tuple(n * size for n in tensor.strides)
    array = StoredArray(
        str(path),
        start + tensor.offset * size,
        tensor.shape,
        tensor.dtype,
        None if _is_c_order(tensor.shape, tensor.strides) else strides,
    )
    claimed = tensor.storage.size * (tensor.storage.dtype or tensor.dtype).itemsize
    if claimed > length or (math.prod(tensor.shape) and array.end > start + claimed):
        why = f"{name} ends at byte {array.end:,}, its storage of {claimed:,} at {start + length:,}"
        raise sniff.damaged(path, why, EXPECTED)
    return array


def _is_c_order(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """(2, 3) with strides (3, 1) -> True; the stride of a single element does not matter."""
    step = 1
    for n, stride in zip(reversed(shape), reversed(strides), strict=True):
        if n > 1 and stride != step:
            return False
        step *= n
    return True
