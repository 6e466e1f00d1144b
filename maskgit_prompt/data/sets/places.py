"""Where image files lie: a folder, a zip archive, a tar archive; nothing is unpacked."""

import abc
import bz2
import gzip
import lzma
import os
import pathlib
import posixpath
import struct
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterable
from typing import Any, BinaryIO, Protocol

from maskgit_prompt.counts import counted
from maskgit_prompt.data.formats import is_image
from maskgit_prompt.data.names import legible
from maskgit_prompt.data.pixels import BROKEN, reason
from maskgit_prompt.data.sets.leftovers import CONFIG, OF_RUNS, WORKDIR, is_workdir, why_left_out
from maskgit_prompt.data.sets.zip_names import member_names
from maskgit_prompt.errors import UsageError, UserError, unwritable
from maskgit_prompt.progress import bytes_progress

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")

REPLACED = "replaced by later files of the same name in the archive"
DEVICES = "not files: pipes, sockets, devices"
UNSURE = bytes(32)  # the stamp that is never equal to another

# A file that changed less than this ago may change again without another time of change: clocks
# of file systems tick in up to two seconds.
_SETTLED_NS = 2 * 10**9

_OPENERS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
# What a damaged archive raises, besides.
_DAMAGED = (*BROKEN, tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError)
_PIECE = 2**20  # bytes decompressed at a time


class Place(Protocol):
    """Files by name, relative to the place and with "/".

    Attributes:
      path: for messages: FOLDER, or ARCHIVE, or ARCHIVE/FOLDER.
      name: for reports, and of the class where all images lie side by side.
      left_out: files and folders that were seen and are not images -> why; those that are left out
        for their ending have "".
      notes: what a user should know of the place.
    """

    path: str
    name: str
    left_out: dict[str, str]
    notes: list[str]

    def top(self) -> tuple[list[str], list[str]]:
        """Names of all files and of the folders that lie in no folder, sorted."""

    def inside(self, folder: str) -> tuple[list[str], list[str]]:
        """The same of a folder at the top, without its name."""

    def below(self, folder: str) -> list[str]:
        """Names of the images in a folder at the top and in folders of it."""

    def enter(self, folder: str) -> None:
        """Goes on with what lies in a folder. The place keeps its name."""

    def read(self, name: str) -> bytes:
        """A file's contents; any number of threads may call it. Raises any of pixels.BROKEN."""

    def stamp(self, name: str) -> bytes:
        """32 bytes that are others whenever the contents may have changed, or UNSURE."""


def open_place(path: str | os.PathLike) -> Place:
    """The folder or archive at a path; archives are known by their contents.

    Of an archive with a single folder and nothing beside it, the place is that folder. A path that
    goes on after an archive names a folder in this place: photos.zip/train.

    Raises:
      UsageError: nothing at that path, or a file that is not an archive.
      UserError: an archive that is damaged, encrypted or cannot be read; no room to decompress it.
    """
    path, file = pathlib.Path(path), existing(path)
    if os.path.isdir(file):
        return Folder(path)
    try:
        archive = _open_archive(file)
    except _DAMAGED as error:
        if isinstance(error, OSError) and error.errno:
            found = f"cannot be read ({reason(error)}): check its permissions and its disk"
        else:
            found = f"is damaged or cut short ({reason(error)}): fetch or make it again"
        raise UserError(f"archive {file} {found}") from error
    inner = path.relative_to(file).as_posix()
    if inner != ".":
        archive._go_into(inner)
    return archive


def existing(path: str | os.PathLike) -> pathlib.Path:
    """The folder at a path, or the file that the path names or goes into.

    Raises:
      UsageError: nothing at that path.
    """
    path = pathlib.Path(path)
    file = next((parent for parent in (path, *path.parents) if os.path.exists(parent)), path)
    if not os.path.isdir(path) and not os.path.isfile(file):
        raise UsageError(f"no folder {path} (working folder {pathlib.Path.cwd()}): check the path")
    return file


def _open_archive(file: pathlib.Path) -> "_Archive":
    # A tar archive that ends with a zip archive has what makes zipfile call it one: tar goes first.
    if tarfile.is_tarfile(file):
        return Tar(file)
    if zipfile.is_zipfile(file):
        return Zip(file)
    if file.name.lower().endswith(ENDINGS):
        raise EOFError("it has neither a zip's nor a tar's contents")
    raise UsageError(
        f"{file} is a file: expected a folder of images, PATH/CLASS/*.png or PATH/*.png, or a zip "
        "or tar archive of one"
    )


def stamp(found: os.stat_result) -> bytes:
    """A file's stamp, see Place.stamp."""
    # The time of change, too: the time of modification can be set back, as unpackers do.
    if time.time_ns() - found.st_ctime_ns < _SETTLED_NS:
        return UNSURE
    values = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
    return struct.pack("<4Q", *(value % 2**64 for value in values))


# --- A folder ------------------------------------------------------------------------------------


class Folder:
    """A folder on disk. Links to files are followed, links to folders at the top only."""

    def __init__(self, path: pathlib.Path):
        self.path, self.name = str(path), legible(path.resolve().name)
        self.left_out: dict[str, str] = {}
        self.notes: list[str] = []

    def top(self) -> tuple[list[str], list[str]]:
        """See Place. Raises UserError where the folder cannot be read."""
        return self.inside("")

    def inside(self, folder: str) -> tuple[list[str], list[str]]:
        files, folders = self._entries(folder)
        return [entry.name for entry in files], [entry.name for entry in folders]

    def below(self, folder: str) -> list[str]:
        """See Place. Raises UserError where a folder cannot be read."""
        names, waiting = [], [folder]
        while waiting:
            here = waiting.pop()
            files, folders = self._entries(here)
            for entry in files:
                name = f"{here}/{entry.name}"
                if is_image(entry.name):
                    names.append(name)
                else:
                    self.left_out[name] = ""
            # A link may lead back up: only folders at the top may be links.
            waiting += [f"{here}/{entry.name}" for entry in folders if not entry.is_symlink()]
        return names

    def enter(self, folder: str) -> None:
        self.path = os.path.join(self.path, folder)
        self.left_out = {f"../{name}": why for name, why in self.left_out.items()}

    def read(self, name: str) -> bytes:
        with open(f"{self.path}/{name}", "rb", buffering=0) as file:
            return file.read()

    def stamp(self, name: str) -> bytes:
        try:
            return stamp(os.stat(f"{self.path}/{name}"))
        except OSError:
            return UNSURE

    def _entries(self, folder: str) -> tuple[list[os.DirEntry], list[os.DirEntry]]:
        """(files, folders) by name. A link to nothing is a file, so that it is named as broken."""
        path = os.path.join(self.path, folder) if folder else self.path
        files, folders = [], []
        try:
            with os.scandir(path) as found:
                for entry in sorted(found, key=lambda entry: entry.name):
                    why = why_left_out(entry.name)
                    if why is None and entry.is_dir() and _holds_a_run(entry.path):
                        why = WORKDIR
                    if why is not None:
                        self.left_out[os.path.join(folder, entry.name)] = why
                    elif entry.is_dir():
                        folders.append(entry)
                    elif entry.is_file() or entry.is_symlink():
                        files.append(entry)
                    else:
                        self.left_out[os.path.join(folder, entry.name)] = DEVICES
        except OSError as error:
            raise UserError(
                f"folder {path} cannot be read ({reason(error)}): check its permissions"
            ) from error
        return files, folders


def _holds_a_run(folder: str) -> bool:
    exists = lambda name: os.path.exists(os.path.join(folder, name))
    return exists(CONFIG) and is_workdir({CONFIG, *filter(exists, OF_RUNS)})


# --- Archives ------------------------------------------------------------------------------------


class _Archive(abc.ABC):
    """What archives have in common; `_open` and `read` are their own."""

    def __init__(self, file: pathlib.Path):
        # Before the archive is opened: what is found in a later one must not have its stamp.
        self._stamp = stamp(os.stat(file))
        self.path = str(file)
        ending = max((e for e in ENDINGS if file.name.lower().endswith(e)), key=len, default="")
        self.name = legible(file.name[: len(file.name) - len(ending)])
        self.left_out: dict[str, str] = {}
        self.notes: list[str] = []
        members: dict[str, Any] = {}
        for name, member in self._open(file):
            name = posixpath.normpath(name).lstrip("/")
            if name in members:
                self.left_out[name] = REPLACED
            members[name] = member
        self._hold(self._sifted(members))
        self._lone = ""  # the only folder of the archive, in which the place is
        files, folders = self.top()
        if not files and len(folders) == 1 and not all(self.inside(folders[0])):
            self._go_into(folders[0])
            self._lone = folders[0]

    def _sifted(self, members: dict[str, Any]) -> dict[str, Any]:
        """The members without leftovers, which are noted."""
        inside: dict[str, set[str]] = {}  # folder -> names of what lies in it
        for name in members:
            while name:
                name, _, last = name.rpartition("/")
                if last in inside.setdefault(name, set()):
                    break
                inside[name].add(last)
        runs = {folder for folder, names in inside.items() if folder and is_workdir(names)}
        kept = {}
        for name, member in members.items():
            parts = name.split("/")
            for depth, part in enumerate(parts, 1):
                path = "/".join(parts[:depth])
                why = WORKDIR if path in runs else why_left_out(part)
                if why is not None:
                    self.left_out[path] = why
                    break
            else:
                kept[name] = member
        return kept

    @abc.abstractmethod
    def _open(self, file: pathlib.Path) -> Iterable[tuple[str, Any]]:
        """Names of regular files and how each is found again, in the archive's order."""

    @abc.abstractmethod
    def read(self, name: str) -> bytes:
        """See Place."""

    def _hold(self, members: dict[str, Any]) -> None:
        self._members = members
        self._files: list[str] = []
        self._images: dict[str, list[str]] = {}  # by folder at the top
        self._others: dict[str, list[str]] = {}
        for name in members:
            folder, inside, _ = name.partition("/")
            if not inside:
                self._files.append(name)
                continue
            images = self._images.setdefault(folder, [])
            (images if is_image(name) else self._others.setdefault(folder, [])).append(name)

    def _go_into(self, folder: str) -> None:
        """`enter`, and takes its name. Raises UsageError where there is none.

        The path may begin with the archive's only folder, in which the place is already.
        """
        lone, inside, below = folder.partition("/")
        if lone == self._lone and not any(name.startswith(f"{folder}/") for name in self._members):
            if not inside:
                return
            folder = below
        prefix = f"{folder}/"
        if not any(name.startswith(prefix) for name in self._members):
            _, folders = self.top()
            raise UsageError(
                f"no folder {folder} in {self.path}, which has {', '.join(folders[:10]) or 'none'}"
                f"{', ...' * (len(folders) > 10)}: check the path"
            )
        self.enter(folder)
        self.name = legible(posixpath.basename(folder))

    def enter(self, folder: str) -> None:
        prefix = f"{folder}/"
        inside = {n[len(prefix) :]: m for n, m in self._members.items() if n.startswith(prefix)}
        self._hold(inside)
        self.left_out = {
            name[len(prefix) :] if name.startswith(prefix) else f"../{name}": why
            for name, why in self.left_out.items()
        }
        self.path = f"{self.path}/{folder}"

    def top(self) -> tuple[list[str], list[str]]:
        return sorted(self._files), sorted(self._images)

    def inside(self, folder: str) -> tuple[list[str], list[str]]:
        prefix = f"{folder}/"
        below = [name[len(prefix) :] for name in self._members if name.startswith(prefix)]
        files = {name for name in below if "/" not in name}
        return sorted(files), sorted({name.partition("/")[0] for name in below} - files)

    def below(self, folder: str) -> list[str]:
        self.left_out |= dict.fromkeys(self._others.get(folder, ()), "")
        return self._images[folder]

    def stamp(self, name: str) -> bytes:
        return self._stamp


class Zip(_Archive):
    """A zip archive. zipfile reads members for any number of threads from one handle."""

    def _open(self, file: pathlib.Path) -> list[tuple[str, zipfile.ZipInfo]]:
        self._zip = zipfile.ZipFile(file)
        infos = self._zip.infolist()
        members, guessed = [], []
        for info, (name, sure) in zip(infos, member_names(infos), strict=True):
            if not sure:
                guessed.append(name)
            kind = info.external_attr >> 28  # of the file, where a Unix system wrote the archive
            if not name.endswith("/") and kind in (0, 8):
                members.append((name, info))
        if guessed:
            self.notes.append(
                f"{file} does not say how names are written ({len(guessed)}, read as code page "
                f"437, the first as {legible(guessed[0])}): if that is wrong, make the archive "
                "again with names in UTF-8"
            )
        locked = [n for n, info in members if info.flag_bits & 1 and is_image(n)]
        if locked:
            raise UserError(
                f"archive {file} is encrypted, {counted(len(locked), 'image')} "
                f"({locked[0]}{', ...' * (len(locked) > 1)}): make it again without a password"
            )
        return members

    def read(self, name: str) -> bytes:
        try:
            return self._zip.read(self._members[name])
        except (zipfile.BadZipFile, lzma.LZMAError) as error:
            raise ValueError(str(error)) from error


class Tar(_Archive):
    """A tar archive. Members are read from where they lie; a compressed archive is decompressed
    into a temporary file first, since nothing in it can be found without all that is before."""

    def _open(self, file: pathlib.Path) -> list[tuple[str, tuple[int, int] | None]]:
        self._file = _decompressed(file)
        members = []
        with tarfile.open(fileobj=self._file, mode="r:") as tar:
            while info := tar.next():
                if info.isreg():
                    where = None if info.issparse() else (info.offset_data, info.size)
                    members.append((info.name, where))
                tar.members.clear()  # a kilobyte each
            # To tarfile an archive ends before a header that is missing or wrong.
            if os.pread(self._file.fileno(), 512, tar.offset) != bytes(512):
                raise tarfile.ReadError(f"neither a file nor the end at byte {tar.offset:,}")
        return members

    def read(self, name: str) -> bytes:
        if self._members[name] is None:
            raise ValueError("stored as a sparse file, make the archive without --sparse")
        offset, size = self._members[name]
        return os.pread(self._file.fileno(), size, offset)


def _decompressed(file: pathlib.Path) -> BinaryIO:
    """The archive itself, or a temporary file, without a name, of what it holds."""
    # Both stay open as long as the place is in use.
    raw = open(file, "rb")  # noqa: SIM115
    start = raw.read(6)
    raw.seek(0)
    opener = next((o for magic, o in _OPENERS.items() if start.startswith(magic)), None)
    if opener is None:
        return raw
    whole = tempfile.TemporaryFile()  # noqa: SIM115
    with raw, opener(raw) as packed, bytes_progress(file.stat().st_size, "decompress") as update:
        done = 0
        while piece := packed.read(_PIECE):
            try:
                whole.write(piece)
                whole.flush()
            except OSError as error:
                what = f"decompressed {file} to {tempfile.gettempdir()} (TMPDIR names it)"
                raise unwritable(what, error) from error
            update(raw.tell() - done)
            done = raw.tell()
    whole.seek(0)
    return whole
