"""Small packages: the archives of npm, Debian and PyPI."""

import io
import pathlib
import tarfile
import zipfile

from PIL import Image


def png(size: tuple[int, int], *colours: tuple[int, ...]) -> bytes:
    """A PNG file of vertical stripes of these colours, RGBA."""
    image = Image.new("RGBA", size)
    width = size[0] // len(colours)
    for number, colour in enumerate(colours):
        image.paste(colour, (number * width, 0, (number + 1) * width, size[1]))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def tar(files: dict[str, bytes], mode: str = "w:gz", links: dict[str, str] | None = None) -> bytes:
    """A tar archive; links: name -> where it points."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return file.getvalue()


def deb(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    """A Debian package; its first member has an odd size, which ar pads."""
    data = tar({f"./{name}": data for name, data in files.items()}, "w:xz", links)
    parts = (("debian-binary", b"2.0"), ("control.tar.xz", b""), ("data.tar.xz", data))
    packed = b"!<arch>\n"
    for name, content in parts:
        packed += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
        packed += content + b"\n" * (len(content) % 2)
    return packed


def wheel(path: pathlib.Path, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
