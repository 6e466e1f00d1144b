"""Which class each image file belongs to: by folders, by classes.txt, by a table of files."""

import csv
import dataclasses
import difflib
import io
import pathlib
from collections.abc import Sequence

import numpy as np
from absl import logging

from maskgit_prompt.data.pixels import BROKEN, reason
from maskgit_prompt.data.sets.places import SUFFIXES, Place, is_image
from maskgit_prompt.errors import UsageError, UserError

ORDER_FILE = "classes.txt"
TABLE_FILE = "labels.csv"
HEADER = ["file", "class"]

_SPLITS = {"train", "val", "valid", "validation", "test"}
_ENDINGS = ", ".join(suffix[1:] for suffix in SUFFIXES)


@dataclasses.dataclass(frozen=True)
class Labelled:
    """Images of a place and their classes.

    Attributes:
      classes: class names; label c is called classes[c].
      names: of n images, sorted: their order does not depend on how they are labelled.
      labels: [n] int32.
    """

    classes: tuple[str, ...]
    names: list[str]
    labels: np.ndarray


def label(place: Place, classes: Sequence[str] = (), table: str = "") -> Labelled:
    """Finds the images of a place and their classes.

    1. Groups of images: by the table of files where there is one, else by folder, else all.
    2. ORDER_FILE, where there is one, says which groups are classes, in which order, and how
       they are called; else every group is one, in the order of their names.
    3. `classes` takes some of these, in its own order. Other folders are not looked into.

    Folders "a" and "b" of one image each give labels 0, 1; with `classes` ("b", "a") 1, 0.

    Args:
      place: where the images lie.
      classes: names of the classes to take; none: all.
      table: path of a CSV with HEADER; empty: TABLE_FILE at the top of the place, if it is there.

    Raises:
      UsageError: no such table, or `classes` that are not there.
      UserError: no images, a class without images, images beside class folders, folders that are
        splits, a table or an ORDER_FILE that does not fit the place.
    """
    files, folders = place.top()
    rows = _rows(place, files, table)
    images = [name for name in files if is_image(name)]
    groups = None  # by folder
    if rows is not None:
        groups = _by_table(place, images, folders, rows)
    elif images:
        groups = _flat(place, images, folders)
    keys = folders if groups is None else sorted(groups)
    if ORDER_FILE in files:
        names = _ordered(place, keys)
    elif groups is None and not classes:
        names = _unless_splits(place, keys)
    else:
        names = dict(zip(keys, keys, strict=True))
    if classes:
        names = _chosen(place, names, classes)
    members = [place.below(key) if groups is None else groups[key] for key in names]
    if not any(members):
        raise UserError(
            f"no images in {place.path}: expected PATH/CLASS/*.png or PATH/*.png (or {_ENDINGS})"
        )
    for (key, name), found in zip(names.items(), members, strict=True):
        if not found:
            raise UserError(
                f"class {name!r} has no images ({place.path}/{key}): add some or remove the folder"
            )
    pairs = sorted((name, c) for c, found in enumerate(members) for name in found)
    labels = np.fromiter((c for _, c in pairs), np.int32, len(pairs))
    return Labelled(tuple(names.values()), [name for name, _ in pairs], labels)


# --- Groups of images ----------------------------------------------------------------------------


def _flat(place: Place, images: list[str], folders: list[str]) -> dict[str, list[str]]:
    filled = next((folder for folder in folders if place.below(folder)), None)
    if filled is not None:
        raise UserError(
            f"{place.path} holds {len(images)} images ({images[0]}, ...) beside class folders"
            f" ({filled}, ...): move them into a class folder, or the folders away"
        )
    return {place.name: images}


def _rows(place: Place, files: list[str], path: str) -> tuple[str, dict[str, str]] | None:
    """(what the table is called, {file: class}), or None where there is no table."""
    if path:
        try:
            data = pathlib.Path(path).expanduser().read_bytes()
        except OSError as error:
            raise UsageError(
                f"config.data.csv = {path} cannot be read ({reason(error)}; working folder "
                f"{pathlib.Path.cwd()}): check the path"
            ) from error
        title = path
    elif TABLE_FILE in files:
        data, title = _read(place, TABLE_FILE)
    else:
        return None
    table = csv.reader(io.StringIO(_text(data, title), newline=""), strict=True)
    classes: dict[str, str] = {}
    try:
        header = next(table, [])
        if header != HEADER:
            found = f"{title} begins with {','.join(header)[:80]!r}, expected {','.join(HEADER)!r}"
            if path:
                raise UserError(f"{found} as the first line")
            logging.warning("%s: the file is not used", found)
            return None
        for row in table:
            if not row:
                continue
            if len(row) != 2 or not all(row):
                raise UserError(
                    f"{title}, line {table.line_num}: {','.join(row)[:80]!r}, expected a file and "
                    "its class"
                )
            if row[0] in classes:
                raise UserError(
                    f"{title}, line {table.line_num}: {row[0]} for the second time, expected every "
                    "file once: remove a line"
                )
            classes[row[0]] = row[1]
    except csv.Error as error:
        raise UserError(
            f"{title}, line {table.line_num}: {error}; expected a CSV with quotes closed"
        ) from error
    if not classes:
        raise UserError(f"{title} names no files: add lines FILE,CLASS")
    return title, classes


def _by_table(
    place: Place, images: list[str], folders: list[str], rows: tuple[str, dict[str, str]]
) -> dict[str, list[str]]:
    title, classes = rows
    unlisted = set(images).union(*(place.below(folder) for folder in folders))
    total = len(unlisted)
    groups: dict[str, list[str]] = {}
    unknown = []
    for name, group in classes.items():
        if name in unlisted:
            unlisted.remove(name)
            groups.setdefault(group, []).append(name)
        else:
            unknown.append(name)
    if unknown:
        raise UserError(
            f"{title} names {len(unknown)} of {len(classes)} files that are not images in "
            f"{place.path}, the first is {unknown[0]}; expected paths below it that end in "
            f"{_ENDINGS}: mend or remove these lines"
        )
    if unlisted:
        logging.warning(
            "left out %d of %d images in %s that %s does not name, the first is %s",
            len(unlisted),
            total,
            place.path,
            title,
            min(unlisted),
        )
    return groups


# --- Names and order of classes ------------------------------------------------------------------


def _ordered(place: Place, keys: list[str]) -> dict[str, str]:
    """{group: class name} as ORDER_FILE has them: lines GROUP or GROUP<TAB>NAME."""
    data, title = _read(place, ORDER_FILE)
    known, taken = set(keys), set()
    names: dict[str, str] = {}
    for number, line in enumerate(_text(data, title).split("\n"), 1):
        if not line.strip():
            continue
        key, _, name = (part.strip() for part in line.partition("\t"))
        name = name or key
        where = f"{title}, line {number}"
        if key not in known:
            raise UserError(
                f"{where}: {place.path} has no class {key!r}{_meant(key, keys)}; expected a "
                "folder's name, or a folder's name, a tab and the class's name: mend or remove it"
            )
        if key in names or name in taken:
            raise UserError(
                f"{where}: {key if key in names else name!r} for the second time, expected every "
                "class once: remove the line or choose another name"
            )
        names[key] = name
        taken.add(name)
    others = [key for key in keys if key not in names]
    if others:
        logging.warning(
            "left out %d of %d classes in %s that %s does not name: %s%s",
            len(others),
            len(keys),
            place.path,
            ORDER_FILE,
            ", ".join(others[:10]),
            ", ..." * (len(others) > 10),
        )
    return names


def _unless_splits(place: Place, folders: list[str]) -> dict[str, str]:
    """Every folder as a class."""
    if len(folders) > 1 and _SPLITS.issuperset(folder.lower() for folder in folders):
        raise UserError(
            f"{place.path} has the folders {', '.join(folders)}: parts of a data set, expected "
            f"classes; name one of them, as {place.path}/{folders[0]}"
        )
    return dict(zip(folders, folders, strict=True))


def _chosen(place: Place, names: dict[str, str], classes: Sequence[str]) -> dict[str, str]:
    """Some of {group: class name}, in the order of `classes`."""
    keys = {name: key for key, name in names.items()}
    chosen: dict[str, str] = {}
    for name in classes:
        if name not in keys:
            raise UsageError(
                f"config.data.classes has {name!r}, expected classes of {place.path}"
                f"{_meant(name, list(keys)) or ': ' + ', '.join(list(keys)[:10])}"
                f"{', ...' * (len(keys) > 10)}"
            )
        if keys[name] in chosen:
            raise UsageError(
                f"config.data.classes has {name!r} twice, expected every class once: remove one"
            )
        chosen[keys[name]] = name
    return chosen


def _meant(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name, names)
    return f" (did you mean {' or '.join(map(repr, close))}?)" if close else ""


# --- Files beside the images ---------------------------------------------------------------------


def _read(place: Place, name: str) -> tuple[bytes, str]:
    """(contents, path for messages) of a file at the top."""
    title = f"{place.path}/{name}"
    try:
        return place.read(name), title
    except BROKEN as error:
        raise UserError(
            f"{title} cannot be read ({reason(error)}): mend it or take it away"
        ) from error


def _text(data: bytes, title: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{title} is not UTF-8 at byte {error.start:,}: save it as UTF-8, or take it away"
        ) from error
