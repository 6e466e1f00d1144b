"""Writes files as torch.save does, without PyTorch."""

import io
import pathlib
import pickle
import zipfile
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from maskgit_prompt.importers import pytorch

DATA = pathlib.Path(__file__).parent / "data"  # files that PyTorch itself wrote

KINDS = {
    np.dtype(np.float32): "Float",
    np.dtype(np.float64): "Double",
    np.dtype(np.float16): "Half",
    np.dtype(ml_dtypes.bfloat16): "BFloat16",
    np.dtype(np.int64): "Long",
    np.dtype(np.int16): "Short",
    np.dtype(np.uint8): "Byte",
    np.dtype(np.bool_): "Bool",
}


class Name:
    """The class or function MODULE.NAME, pickled as its name without being imported."""

    def __init__(self, name: str):
        self.module, _, self.name = name.rpartition(".")

    def __call__(self):
        raise AssertionError("only pickled")


class Call:
    """Pickled as a call of `name`, then BUILD with `state` if there is one."""

    def __init__(self, name: str, *args: Any, state: Any = None):
        self.name, self.args, self.state = name, args, state


class Storage:
    """Numbers that tensors share; claims `size` elements and to be of class torch.`kind`Storage."""

    def __init__(self, data: np.ndarray, kind: str | None = None, size: int | None = None):
        self.data, self.kind = data, kind or KINDS[data.dtype]
        self.size = data.size if size is None else size


def tensor(x: Any, offset: int = 0, shape=None, strides=None) -> Call:
    """An array, or a view of a Storage, as PyTorch pickles it; offset and strides in elements."""
    if not isinstance(x, Storage):
        x = np.asarray(x)
        shape, strides = x.shape, tuple(n // x.itemsize for n in x.strides)
        x = Storage(x.ravel())
    hooks = Call("collections.OrderedDict")
    return Call("torch._utils._rebuild_tensor_v2", x, offset, shape, strides, False, hooks)


class _Pickler(pickle._Pickler):  # the one of C cannot write names that are not imported
    dispatch = dict(pickle._Pickler.dispatch)

    def __init__(self, file: io.BytesIO, protocol: int, tail: tuple = ()):
        super().__init__(file, protocol)
        self.tail, self.storages, self.keys = tail, {}, {}

    def persistent_id(self, x: Any):
        if not isinstance(x, Storage):
            return None
        key = self.keys.setdefault(id(x), str(len(self.keys)))
        self.storages[key] = x
        return ("storage", Name(f"torch.{x.kind}Storage"), key, "cpu", x.size, *self.tail)

    def reducer_override(self, x: Any):
        if isinstance(x, Call):
            return (Name(x.name), x.args) if x.state is None else (Name(x.name), x.args, x.state)
        return NotImplemented

    def save_name(self, x: Name):
        self.write(f"c{x.module}\n{x.name}\n".encode())
        self.memoize(x)

    dispatch[Name] = save_name


def pickled(x: Any, protocol: int = 2, tail: tuple = ()) -> tuple[bytes, dict[str, Storage]]:
    """The pickle of x, and its storages by key."""
    file = io.BytesIO()
    pickler = _Pickler(file, protocol, tail)
    pickler.dump(x)
    return file.getvalue(), pickler.storages


def write_zip(
    path: pathlib.Path,
    x: Any,
    *,
    data: bytes | None = None,
    byteorder: bytes | None = b"little",
    compression: int = zipfile.ZIP_STORED,
    protocol: int = 2,
    leave_out: str = "",
) -> None:
    """The format since PyTorch 1.6; `data` in place of the pickle, `leave_out` a storage's key."""
    written, storages = pickled(x, protocol)
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", written if data is None else data)
        if byteorder is not None:
            archive.writestr("archive/byteorder", byteorder)
        for key, storage in storages.items():
            if key != leave_out:
                archive.writestr(f"archive/data/{key}", storage.data.tobytes())


def write_old(path: pathlib.Path, x: Any, *, little: bool = True, tail: tuple = (None,)) -> None:
    """The format before PyTorch 1.6."""
    written, storages = pickled(x, tail=tail)
    header = (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": little})
    with open(path, "wb") as file:
        for item in header:
            file.write(pickle.dumps(item, 2))
        file.write(written + pickle.dumps(sorted(storages), 2))
        for _, storage in sorted(storages.items()):
            file.write(storage.data.size.to_bytes(8, "little") + storage.data.tobytes())


WRITERS = (write_zip, write_old)
both = pytest.mark.parametrize("write", WRITERS)


def values(path) -> dict:
    """{name: the numbers} of a file, read."""
    return {name: x.read().tolist() for name, x in pytorch.read(path).items()}


# What training leaves beside the weights.
FOREIGN = {
    "callbacks": {Name("pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint"): {"n": 1}},
    "only named": Name("os.system"),
    "namespace": Call("argparse.Namespace", state={"lr": 0.1}),
    "hyper_parameters": Call("pytorch_lightning.utilities.parsing.AttributeDict", {"a": 1}),
    "config": Call("omegaconf.dictconfig.DictConfig", state={"_content": {}}),
    "reconstructed": Call("copyreg._reconstructor", Name("argparse.Namespace"), None, None),
    "counts": Call("collections.Counter", {1: 2}),
    "default": Call("collections.defaultdict", Name("builtins.list")),
    "device": Call("torch.device", "cuda", 0),
    "size": Call("torch.Size", (2, 3)),
    "dtype": Name("torch.float32"),
    "number": Call("numpy.core.multiarray.scalar", Call("numpy.dtype", "f8"), b"12345678"),
    "set": {1, 2},
    "frozen": frozenset({1}),
    "big": 2**100,
    "pairs": {(1, (2, 3)): 4},
    "bytes": bytearray(b"abc"),
}
