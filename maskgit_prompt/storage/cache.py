"""Files fetched from elsewhere, once: the folder that keeps them and the sha256 they had.

    CACHE/files/ID/NAME           a file; ID is of its address
    CACHE/files/ID/.fetched.json  {NAME: {"address", "bytes", "sha256"}}, written at the first fetch
    CACHE/backbones/NAME/         a backbone that was fetched, or imported from such files

CACHE is $MASKGIT_PROMPT_CACHE, or the system's folder for caches. pooch keeps the folder and checks
what is fetched; the download itself is storage.download. On several hosts each fetches into its own
cache, and where they share one, all but the first wait for its lock.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import sys
from collections.abc import Iterator, Sequence

from maskgit_prompt.errors import UsageError, UserError, unwritable
from maskgit_prompt.progress import bytes_progress
from maskgit_prompt.storage import addresses, lock
from maskgit_prompt.storage.download import NO_WEIGHTS, Resuming
from maskgit_prompt.storage.files import read_json, sha256, write_whole

ENVIRONMENT = "MASKGIT_PROMPT_CACHE"
RECORD = ".fetched.json"


def folder() -> pathlib.Path:
    """The cache, which may not be there yet.

    Raises:
      UsageError: $MASKGIT_PROMPT_CACHE is an address.
    """
    import pooch

    given = os.environ.get(ENVIRONMENT, "").strip()
    if addresses.is_address(given):
        raise UsageError(f"{ENVIRONMENT} = {given!r} is an address, expected a folder")
    return pathlib.Path(given or pooch.os_cache("maskgit_prompt")).expanduser().absolute()


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A file to fetch.

    Attributes:
      address: where it is, as storage.addresses reads it.
      by_hand: what to do without a download, for messages.
      name: in the cache; empty: as in the address.
      home: its folder; None: one of its own, by its address.
      sha256: that it must have; empty: not known, that of the first fetch then.
      refused: kinds of files that it is not.
    """

    address: str
    by_hand: str
    name: str = ""
    home: pathlib.Path | None = None
    sha256: str = ""
    refused: tuple[str, ...] = NO_WEIGHTS

    @property
    def path(self) -> pathlib.Path:
        own = self.home or folder() / "files" / digest(self.address)
        return own / (self.name or addresses.file_name(self.address))


def digest(address: str) -> str:
    """Sixteen hexadecimal digits that stand for an address in the cache."""
    return hashlib.sha256(addresses.url(address).encode()).hexdigest()[:16]


def fetch(wanted: Sequence[Wanted], download: bool, what: str) -> list[pathlib.Path]:
    """The files in the cache, fetched where they are missing, and checked where they are there.

    Args:
      download: whether what is missing may be fetched.
      what: what was asked for, for messages: the key, its value and, if known, the size.

    Raises:
      UsageError: something is missing and may not be fetched. UserError: it cannot be fetched, the
        cache cannot be written, or a file in it has changed.
    """
    with writing(folder()):
        missing = [one for one in wanted if not (one.path.exists() and _recorded(one))]
    if missing and not download:
        listed = ", ".join(addresses.shown(one.address) for one in missing)
        raise UsageError(
            f"{what} is not in the cache {folder()}, and nothing is fetched unless you ask: add "
            f"--config.download=True to fetch {listed}, or {missing[0].by_hand}"
        )
    for one in wanted:
        if one in missing:
            _fetch(one)
        else:
            _check(one, _recorded(one))
    return [one.path for one in wanted]


@contextlib.contextmanager
def alone(path: pathlib.Path, what: str) -> Iterator[None]:
    """Holds the lock file `path` and makes its folder; waits for a process that holds it.

    Raises:
      UserError: the folder cannot be written.
    """
    told = lambda owner: print(f"{owner} is fetching {what}: waiting for it", file=sys.stderr)
    with contextlib.ExitStack() as stack:
        with writing(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(lock.hold(path, told))
        yield


@contextlib.contextmanager
def writing(place: pathlib.Path) -> Iterator[None]:
    """Turns what the file system says of a folder in the cache into a UserError."""
    try:
        yield
    except OSError as error:
        text = unwritable(f"cache folder {place}", error)
        raise UserError(f"{text} with {ENVIRONMENT}=FOLDER") from error


def forget(one: Wanted) -> None:
    """Takes a file out of the cache that turned out to be something else."""
    one.path.unlink(missing_ok=True)
    records = _records(one.path.parent)
    records.pop(one.path.name, None)
    _write(one.path.parent, records)


def _fetch(one: Wanted) -> None:
    import pooch

    path = one.path
    with alone(path.parent / ".lock", addresses.shown(one.address)), writing(path.parent):
        known = one.sha256 or _recorded(one)
        part = path.with_name(f".{path.name}.part")
        _take_over(part)
        pooch.get_logger().setLevel("WARNING")
        files = pooch.create(
            path=path.parent,
            base_url="",
            registry={path.name: known or None},
            urls={path.name: addresses.url(one.address)},
        )
        load = Resuming(one.address, part, one.by_hand, one.refused)
        try:
            files.fetch(path.name, downloader=load)
        except ValueError as error:  # how pooch says that it has another sha256
            load.said.unlink(missing_ok=True)
            raise UserError(_another(one, known)) from error
        entry = {
            "address": addresses.shown(one.address),
            "bytes": path.stat().st_size,
            "sha256": known or _digest(path),
        }
        _write(path.parent, _records(path.parent) | {path.name: entry})
        load.said.unlink(missing_ok=True)


def _take_over(part: pathlib.Path) -> None:
    """Makes the part file of what a process left that was killed while pooch checked its sha256."""
    size = lambda path: path.stat().st_size if path.exists() else 0
    for left in part.parent.glob("tmp*"):
        if size(left) > size(part):
            os.replace(left, part)
        else:
            left.unlink()


def _another(one: Wanted, known: str) -> str:
    why = "as listed" if one.sha256 else f"as at the first fetch ({one.path.parent / RECORD})"
    way = "" if one.sha256 else f"; if the new file is right, delete {one.path.parent}"
    return (
        f"{addresses.shown(one.address)} is another file now, expected sha256 {known[:16]}… {why}: "
        f"nothing was kept{way}"
    )


def _check(one: Wanted, known: str) -> None:
    """Raises UserError for a file in the cache that is not what was fetched."""
    expected = one.sha256 or known
    found = _digest(one.path)
    if found != expected:
        raise UserError(
            f"{one.path} has changed since it was fetched: it has sha256 {found[:16]}…, expected "
            f"{expected[:16]}…; delete it and fetch it again with --config.download=True"
        )


def _digest(path: pathlib.Path) -> str:
    with bytes_progress(path.stat().st_size, "check") as update:
        return sha256(path, update)


# --- Records --------------------------------------------------------------------------------------


def _recorded(one: Wanted) -> str:
    """The sha256 that a file had when it was fetched; empty where it never was."""
    entry = _records(one.path.parent).get(one.path.name)
    return str(entry["sha256"]) if isinstance(entry, dict) and "sha256" in entry else ""


def _records(place: pathlib.Path) -> dict[str, dict]:
    path = place / RECORD
    return read_json(path, "delete it, and the files beside it") if path.exists() else {}


def _write(place: pathlib.Path, records: dict[str, dict]) -> None:
    text = json.dumps(records, indent=1, sort_keys=True) + "\n"
    write_whole(place / RECORD, text.encode(), any_host=True)
