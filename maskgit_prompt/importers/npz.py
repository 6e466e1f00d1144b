"""Arrays of an .npz file, read when needed, without running anything in it."""

import os
import struct
import zipfile
import zlib
from typing import Any

import numpy as np

from maskgit_prompt.errors import UserError
from maskgit_prompt.storage import sniff
from maskgit_prompt.stored import StoredArray

EXPECTED = "an .npz file of arrays"
_DAMAGED = (zipfile.BadZipFile, EOFError, ValueError, zlib.error, struct.error, NotImplementedError)


def read(path: str | os.PathLike) -> dict[str, Any]:
    """name -> array; those that the archive holds uncompressed stay in the file until asked for.

    Raises:
      UserError: not such a file, a damaged one, or one with Python objects in it.
    """
    with sniff.opened(path, EXPECTED, ("zip",)) as (file, _, _):
        try:
            archive = zipfile.ZipFile(file)
            names = [info for info in archive.infolist() if info.filename.endswith(".npy")]
            found = {info.filename[:-4]: _member(path, archive, info) for info in names}
        except _DAMAGED as error:
            raise sniff.damaged(path, error, EXPECTED) from error
    if not found:
        inside = ", ".join(archive.namelist()[:4]) or "nothing"
        raise UserError(f"{path} is a zip archive of {inside}, expected {EXPECTED}")
    return found


def _member(path: str | os.PathLike, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Any:
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        header = {(1, 0): np.lib.format.read_array_header_1_0}
        header[2, 0] = np.lib.format.read_array_header_2_0
        if version not in header:
            raise ValueError(f"{info.filename} has format {version}")
        shape, fortran, dtype = header[version](member)
        if dtype.hasobject:
            raise UserError(
                f"{path}: {info.filename} holds Python objects, which are never read; expected "
                "numbers: save the parameters alone"
            )
        if info.compress_type != zipfile.ZIP_STORED:
            member.seek(0)
            return np.lib.format.read_array(member, allow_pickle=False)
        begin = member.tell()
    with open(path, "rb") as file:
        file.seek(info.header_offset)
        name, extra = struct.unpack("<26x2H", file.read(30))
    strides = None
    if fortran:
        strides = tuple(int(s) for s in dtype.itemsize * np.cumprod([1, *shape[:-1]]))
    offset = info.header_offset + 30 + name + extra + begin
    return StoredArray(str(path), offset, tuple(shape), dtype, strides)
