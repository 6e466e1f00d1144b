"""Names of files in zip archives, which write them in several ways."""

import struct
import zipfile
import zlib
from collections.abc import Sequence

_UTF8_FLAG, _UNICODE_PATH = 0x800, 0x7075


def member_names(infos: Sequence[zipfile.ZipInfo]) -> list[tuple[str, bool]]:
    r"""Each member's name with "/", and whether that is how it is written.

    Some Windows programs write backslashes, against the format's rules. They separate folders in
    what a Windows program says to have written, and where no name has "/": of "a\0.png" and
    "b\1.png" written by whatever system the first is "a/0.png"; beside "c/2.png" it is "a\0.png".
    A name of a code page that is not known keeps them beside "/": in Japanese ones the byte of a
    backslash is the second half of many characters.
    """
    names = [_written(info) for info in infos]
    everywhere = not any("/" in name for name, _ in names)
    return [
        (name.replace("\\", "/") if everywhere or (sure and not info.create_system) else name, sure)
        for info, (name, sure) in zip(infos, names, strict=True)
    ]


def _written(info: zipfile.ZipInfo) -> tuple[str, bool]:
    """A member's name as it stands there, and whether that is sure.

    In UTF-8 by its flag; by Info-ZIP's extra field, whose checksum must be that of the other name;
    in UTF-8 without a flag, as macOS writes; else in code page 437, the format's own.
    """
    name, sure = info.orig_filename, True
    if not info.flag_bits & _UTF8_FLAG:
        raw = name.encode("cp437")
        try:
            name = _unicode_path(info.extra, raw) or raw.decode("utf-8")
        except UnicodeDecodeError:
            sure = False
    return name, sure


def _unicode_path(extra: bytes, raw: bytes) -> str | None:
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind != _UNICODE_PATH or len(field) < 5:
            continue
        version, checksum = struct.unpack_from("<BI", field)
        if version == 1 and checksum == zlib.crc32(raw):
            return field[5:].decode("utf-8")
    return None
