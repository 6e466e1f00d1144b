"""Small .safetensors files that carry the checksum of all they hold."""

import hashlib
import json
import os
import pathlib
from collections.abc import Mapping

import numpy as np
import safetensors
import safetensors.numpy

from maskgit_prompt.errors import UserError
from maskgit_prompt.storage.files import write_whole

SEAL = "sha256"


def save(path: pathlib.Path, tensors: Mapping[str, np.ndarray], header: Mapping[str, str]) -> None:
    """Writes arrays and text by name, whole or not at all."""
    tensors = {name: np.ascontiguousarray(x) for name, x in tensors.items()}
    sealed = {**header, SEAL: _digest(tensors, header)}
    write_whole(path, _in_order(safetensors.numpy.save(tensors, sealed)))


def _in_order(data: bytes) -> bytes:
    """The file with its text sorted by name: the library's order differs from run to run."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # arrays begin at multiples of eight bytes
    return len(text).to_bytes(8, "little") + text + data[end:]


def load(
    path: str | os.PathLike, names: set[str], way_out: str
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """(arrays, text) by name, checked; a file that an earlier version wrote has no checksum.

    Args:
      names: what text the file may have; other text is a sign of damage.
      way_out: the end of the message.

    Raises:
      UserError: the file is cut short or damaged.
    """
    try:
        with safetensors.safe_open(path, "numpy") as file:
            header = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, safetensors.SafetensorError, TypeError, ValueError) as error:
        why = " ".join(str(error).split())
        raise UserError(f"{path} is damaged or cut short ({why}); {way_out}") from error
    seal = header.pop(SEAL, None)
    # A checksum whose own name is damaged would be no checksum.
    strange = header.keys() & names and header.keys() - names
    if strange or (seal is not None and seal != _digest(tensors, header)):
        raise UserError(f"{path} is damaged (its checksum does not hold); {way_out}")
    return tensors, header


def _digest(tensors: Mapping[str, np.ndarray], header: Mapping[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(sorted(header.items())).encode())
    for name in sorted(tensors):
        x = tensors[name]
        # As JSON, which tells where one ends: no two files run together alike.
        digest.update(json.dumps([name, str(x.dtype), x.shape]).encode())
        digest.update(x.tobytes())
    return digest.hexdigest()
