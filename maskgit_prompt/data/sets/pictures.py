"""Pictures without classes: a folder with folders in it, an archive, a file, or a list of files."""

import concurrent.futures
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from absl import logging

from maskgit_prompt.counts import counted
from maskgit_prompt.data.formats import is_image
from maskgit_prompt.data.pixels import BROKEN, Examined, Preprocessing, examine, reason
from maskgit_prompt.data.sets.places import existing, open_place
from maskgit_prompt.errors import UsageError, UserError

LIST = ".txt"
NAMED = 10  # broken pictures that a message names
Read = Callable[[str], bytes]


def find(path: str | os.PathLike) -> tuple[list[str], Read]:
    """(names, what reads one of them). Names of a list are its lines, relative to its folder.

    Raises:
      UsageError: nothing at the path, no picture. UserError: as `open_place`; an unreadable list.
    """
    path = pathlib.Path(path)
    file = existing(path)
    if file == path and path.is_file() and path.suffix.lower() == LIST:
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path} is not a list of files in UTF-8 ({reason(error)})") from error
        names = [line.strip() for line in lines if line.strip()]
        if not names:
            raise UsageError(f"{path} is empty: expected a path of a picture in each line")
        return names, lambda name: (path.parent / name).read_bytes()
    if file == path and path.is_file() and is_image(path.name):
        return [path.name], lambda name: path.read_bytes()
    place = open_place(path)
    files, folders = place.top()
    names = [name for name in files if is_image(name)]
    for folder in folders:
        names += place.below(folder)
    if not names:
        raise UsageError(f"no pictures in {path}: expected files such as .png, .jpg or .webp")
    return sorted(names), place.read


def decoded(
    names: list[str], read: Read, preprocessing: Preprocessing, size: int
) -> Iterator[tuple[list[str], np.ndarray, dict[str, str]]]:
    """Batches of at most `size` names: (names, uint8 [k, S, S, 3], why others cannot be read)."""
    for whole, broken in examined(names, read, preprocessing, size):
        pixels = np.zeros((0, 1, 1, 3), np.uint8)
        if whole:
            pixels = np.stack([seen.pixels for seen in whole.values()])
        yield list(whole), pixels, broken


def check_broken(broken: Mapping[str, str], number: int) -> None:
    """Warns of pictures that cannot be read; broken: name -> why, of `number` pictures in all.

    Raises:
      UserError: none can be read.
    """
    shown = [f"{name} ({why})" for name, why in list(broken.items())[:NAMED]]
    text = ", ".join(shown) + (", …" if len(broken) > NAMED else "")
    if len(broken) == number:
        raise UserError(f"none of {counted(number, 'picture')} can be read: {text}")
    if broken:
        logging.warning("left out %s: %s", counted(len(broken), "picture"), text)


def examined(
    names: list[str], read: Read, preprocessing: Preprocessing, size: int
) -> Iterator[tuple[dict[str, Examined], dict[str, str]]]:
    """Batches of at most `size` names: (name -> picture, why others cannot be read)."""

    def one(name: str) -> Examined | str:
        try:
            return examine(read(name), preprocessing)
        except BROKEN as error:
            return reason(error)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1, "pictures") as pool:
        for first in range(0, len(names), size):
            some = names[first : first + size]
            found = dict(zip(some, pool.map(one, some), strict=True))
            whole = {name: x for name, x in found.items() if not isinstance(x, str)}
            broken = {name: x for name, x in found.items() if isinstance(x, str)}
            yield whole, broken
