"""Which class each image file belongs to: by folders, by classes.txt, by a table of files."""

import codecs
import dataclasses
import difflib
import os
import pathlib
import re
from collections.abc import Sequence

import numpy as np
from absl import logging

from maskgit_prompt.counts import counted, share
from maskgit_prompt.data.formats import ENDINGS, is_image
from maskgit_prompt.data.found import by_ending
from maskgit_prompt.data.names import composed, legible
from maskgit_prompt.data.pixels import BROKEN, reason
from maskgit_prompt.data.sets import table
from maskgit_prompt.data.sets.leftovers import WORKDIR, is_fold, is_part
from maskgit_prompt.data.sets.places import Place
from maskgit_prompt.errors import UsageError, UserError

ORDER_FILE = "classes.txt"
_NAMED = 10  # classes or folders that a note names


@dataclasses.dataclass(frozen=True)
class Labelled:
    """Images of a place and their classes.

    Attributes:
      classes: class names, legible; label c is called classes[c].
      names: of n images, sorted: their order does not depend on how they are labelled.
      labels: [n] int32.
      notes: what a user should know of how they were labelled.
    """

    classes: tuple[str, ...]
    names: list[str]
    labels: np.ndarray
    notes: tuple[str, ...] = ()


def label(place: Place, classes: Sequence[str] = (), csv: str = "") -> Labelled:
    """Finds the images of a place and their classes.

    1. A folder that is all there is, and holds folders, is gone into: the place is then that one.
    2. Groups of images: by the table of files where there is one, else by folder, else all.
    3. ORDER_FILE, where there is one, says which groups are classes, in which order, and how
       they are called; else every group is one, in the order of their names.
    4. `classes` takes some of these, in its own order. Other folders are not looked into.

    Folders "a" and "b" of one image each give labels 0, 1; with `classes` ("b", "a") 1, 0. Names
    are compared composed, see data/names.py.

    Args:
      place: where the images lie.
      classes: names of the classes to take; none: all.
      csv: path of a table of files and classes; empty: one of table.NAMES at the top of the place,
        if it is there.

    Raises:
      UsageError: no such table, or `classes` that are not there.
      UserError: no images, a class without images, images beside class folders, folders that are
        parts of a data set, a table or an ORDER_FILE that does not fit the place.
    """
    notes: list[str] = []
    if not csv and _descend(place, classes):
        notes.append(f"read from {legible(place.path)}, the only folder there")
    files, folders = place.top()
    images = [name for name in files if is_image(name)]
    place.left_out |= {name: "" for name in files if not is_image(name)}
    by_class = _table(place, files, folders, csv)
    by_folder = by_class is None and not images
    if by_class is not None:
        groups = by_class
    elif images:
        groups = _flat(place, images, folders)
    else:
        groups = _by_folder(folders, notes)  # of folders, not yet looked into
    keys = sorted(groups)
    if ORDER_FILE in files:
        names = _ordered(place, keys)
        place.left_out.pop(ORDER_FILE)
    else:
        if by_folder and not set(map(legible, classes)) & set(keys):
            notes += _refuse_parts(place, folders)
        names = dict(zip(keys, keys, strict=True))
    if classes:
        names = _chosen(place, names, classes)
    members = {key: groups[key] for key in names}
    if by_folder:
        members = {key: [x for f in members[key] for x in place.below(f)] for key in names}
        notes += _merged(place, members)
    members = _filled(place, names, groups, members)
    notes += _alike([names[key] for key in members])
    pairs = sorted((name, c) for c, found in enumerate(members.values()) for name in found)
    labels = np.fromiter((c for _, c in pairs), np.int32, len(pairs))
    return Labelled(
        tuple(names[key] for key in members),
        [name for name, _ in pairs],
        labels,
        (*place.notes, *notes),
    )


def _filled(
    place: Place,
    names: dict[str, str],
    groups: dict[str, list[str]],
    members: dict[str, list[str]],
) -> dict[str, list[str]]:
    """The members of each class, without folders that hold nothing but workdirs.

    groups: {class: its folders} where classes are folders.

    Raises:
      UserError: no images at all, or a class without any.
    """
    if not any(members.values()):
        raise UserError(
            f"no images in {legible(place.path)}: expected them in PATH/CLASS or side by side "
            f"in PATH, ending in {ENDINGS}{_instead(place)}"
        )
    runs = [name for name, why in place.left_out.items() if why == WORKDIR]
    filled = {}
    for key, found in members.items():
        if found:
            filled[key] = found
            continue
        folders = tuple(f"{folder}/" for folder in groups[key])
        if not any(run.startswith(folders) for run in runs):
            raise UserError(
                f"class {names[key]!r} has no images ({legible(place.path)}/{key}): add some or "
                f"remove the folder{_instead(place, folders)}"
            )
    return filled


def _merged(place: Place, members: dict[str, list[str]]) -> list[str]:
    """A note where a class is made of several folders in its own one."""
    told = {}
    for key, names in members.items():
        inner = sorted({name.split("/")[1] for name in names if name.count("/") > 1})
        if len(inner) > 1:
            more = ", ..." * (len(inner) > _NAMED)
            told[key] = f"{key} of {', '.join(map(legible, inner[:_NAMED]))}{more}"
    if not told:
        return []
    shown = "; ".join(list(told.values())[:_NAMED]) + "; ..." * (len(told) > _NAMED)
    return [
        f"classes made of several folders: {shown}; to take such folders as classes, name the "
        f"folder that holds them, as {legible(place.path)}/{next(iter(told))}"
    ]


def _alike(classes: list[str]) -> list[str]:
    """A note of classes whose names differ in upper and lower case only."""
    same: dict[str, list[str]] = {}
    for name in classes:
        same.setdefault(name.casefold(), []).append(name)
    told = [", ".join(names) for names in same.values() if len(names) > 1]
    if not told:
        return []
    shown = "; ".join(told[:_NAMED]) + "; ..." * (len(told) > _NAMED)
    return [f"classes whose names differ in upper and lower case only: {shown}"]


def _instead(place: Place, folders: tuple[str, ...] = ("",)) -> str:
    """What lies in these folders and is not an image, for a message."""
    here = {name: why for name, why in place.left_out.items() if name.startswith(folders)}
    kinds = [kind.line() for kind in by_ending(here)]
    return f"; left out: {'; '.join(kinds)}" if kinds else ""


# --- Groups of images ----------------------------------------------------------------------------


def _descend(place: Place, classes: Sequence[str]) -> bool:
    """Goes into folders that are all there is, down to one with a choice of folders.

    A folder with images of its own is a class, unless a table or ORDER_FILE lies beside them or its
    name is that of a part of a data set.
    """
    entered = False
    while True:
        files, folders = place.top()
        beside = [f for f in files if is_image(f) or f == ORDER_FILE or f.lower() in table.NAMES]
        if beside or len(folders) != 1 or legible(folders[0]) in map(legible, classes):
            return entered
        [folder] = folders
        inner_files, inner_folders = place.inside(folder)
        images = any(map(is_image, inner_files))
        told = any(f == ORDER_FILE or f.lower() in table.NAMES for f in inner_files)
        a_class = images and (inner_folders or not is_part(folder))
        if (a_class and not told) or not (images or inner_folders):
            return entered
        for name in filter(table.is_table, files):
            place.left_out[name] = ""
            place.notes.append(
                f"{legible(name)} lies beside the only folder and is not used; "
                f"{_to_use(place, name)}"
            )
        place.enter(folder)
        entered = True


def _to_use(place: Place, name: str) -> str:
    """How a table at the top of the place is made to give classes, for a message."""
    path = os.path.join(place.path, name)
    if not os.path.isfile(path):  # in an archive
        return "to take classes from it, unpack it and name it as --config.data.csv"
    return f"--config.data.csv={legible(path)} takes classes from it"


def _flat(place: Place, images: list[str], folders: list[str]) -> dict[str, list[str]]:
    filled = next((folder for folder in folders if place.below(folder)), None)
    if filled is not None:
        raise UserError(
            f"{legible(place.path)} holds {counted(len(images), 'image')} "
            f"({legible(images[0])}{', ...' * (len(images) > 1)}) beside class folders "
            f"({legible(filled)}, ...): move all images into a class folder, or the "
            "folders away"
        )
    return {place.name: images}


def _by_folder(folders: list[str], notes: list[str]) -> dict[str, list[str]]:
    """{class: folders of that name}."""
    groups: dict[str, list[str]] = {}
    for folder in folders:
        groups.setdefault(legible(folder), []).append(folder)
    for name, same in groups.items():
        if len(same) > 1:
            notes.append(f"{len(same)} folders are called {name} and make one class")
    escaped = [name for name, same in groups.items() if name != composed(same[0])]
    if escaped:
        notes.append(
            "names of folders have characters that cannot be written: the classes are called "
            f"{', '.join(escaped[:_NAMED])}{', ...' * (len(escaped) > _NAMED)}; rename the "
            f"folders, or give the classes names in {ORDER_FILE}"
        )
    return groups


def _table(
    place: Place, files: list[str], folders: list[str], path: str
) -> dict[str, list[str]] | None:
    """{class: images} by the table of files, or None where there is none."""
    beside = next((name for name in files if name.lower() in table.NAMES), None)
    if path:
        title = path
        try:
            data = pathlib.Path(path).read_bytes()
        except OSError as error:
            raise UsageError(
                f"config.data.csv = {path} cannot be read ({reason(error)}; working folder "
                f"{pathlib.Path.cwd()}): check the path"
            ) from error
    elif beside is not None:
        data, title = _read(place, beside)
    else:
        return None
    text = _text(data, title)
    images = [name for name in files if is_image(name)]
    known = table.Files([*images, *(name for folder in folders for name in place.below(folder))])
    found = table.parse(text, title, known)
    if found is None:
        if not text.strip():
            raise UserError(f"{title} is empty: add lines FILE,CLASS, or take it away")
        begins = (
            f"{title} begins with {table.first_line(text)!r}, expected {table.EXPECTED!r} or other "
            "headings for a column of files and one of classes"
        )
        if path:
            raise UserError(f"{begins} as the first line")
        if images:  # nothing else could tell their classes
            raise UserError(
                f"{begins} as the first line: mend it, or give the file another name to take all "
                "images as one class"
            )
        logging.warning("%s: the file is not used", begins)
        return None
    if not found.rows:
        raise UserError(f"{title} names no files: add lines FILE,CLASS")
    if not path:
        place.left_out.pop(beside)
        place.notes.append(f"classes are those of {title}{found.heading}")
    place.notes += found.notes
    return _by_table(place, known, found)


def _by_table(place: Place, known: table.Files, found: table.Table) -> dict[str, list[str]]:
    where = legible(place.path)
    classes, unknown = table.assign(found, known, where)
    if unknown:
        raise UserError(
            f"{found.title} names files that are not images in {where}: "
            f"{share(len(unknown), len(found.rows), 'file')}, the first is {legible(unknown[0])}; "
            f"expected paths below it that end in {ENDINGS}: mend or remove these lines"
        )
    unlisted = [name for name in known.images if name not in classes]
    place.left_out |= dict.fromkeys(unlisted, f"not in {found.title}")
    if unlisted:
        logging.warning(
            "left out %s in %s that %s does not name, the first is %s",
            share(len(unlisted), len(known.images), "image"),
            where,
            found.title,
            legible(min(unlisted)),
        )
    groups: dict[str, list[str]] = {}
    for name, group in classes.items():
        groups.setdefault(group, []).append(name)
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
        key, _, name = (legible(part.strip()) for part in line.partition("\t"))
        name = name or key
        where = f"{title}, line {number}"
        if key not in known:
            raise UserError(
                f"{where}: {legible(place.path)} has no class {key!r}{_meant(key, keys)}; expected "
                "a folder's name, or a folder's name, a tab and the class's name: mend or remove it"
            )
        if key in names or name in taken:
            raise UserError(
                f"{where}: {key if key in names else name!r} for the second time, expected every "
                "class once: remove the line or choose another name"
            )
        names[key] = name
        taken.add(name)
    if not names:
        raise UserError(f"{title} is empty: add a line for each class, or take it away")
    others = [key for key in keys if key not in names]
    place.left_out |= dict.fromkeys(others, f"not in {ORDER_FILE}")
    if others:
        logging.warning(
            "left out %s in %s that %s does not name: %s%s",
            share(len(others), len(keys), "class"),
            legible(place.path),
            ORDER_FILE,
            ", ".join(others[:10]),
            ", ..." * (len(others) > 10),
        )
    return names


def _refuse_parts(place: Place, folders: list[str]) -> list[str]:
    """Raises UserError where all folders with images are parts of a data set; else gives a note
    where some of them are called like one."""
    parts = [folder for folder in folders if is_part(folder)]
    others = [folder for folder in folders if not is_part(folder)]
    names = ", ".join(map(legible, parts))
    if len(parts) > 1 and not any(place.below(folder) for folder in others):
        path = legible(place.path)
        for_training = (part for part in parts if re.search(r"(?<![a-z])tr", part.lower()))
        one = next(for_training, parts[0])
        beside = next(filter(table.is_table, place.top()[0]), None)
        or_table = f"; or use {legible(beside)}: {_to_use(place, beside)}" if beside else ""
        raise UserError(
            f"{path} has the folders {names}: parts of a data set, expected classes; name one of "
            f"them, as {path}/{legible(one)}{or_table}"
        )
    called = [legible(folder) for folder in folders if is_part(folder) or is_fold(folder)]
    if not called:
        return []
    return [f"taken as classes, though called like parts of a data set: {', '.join(called)}"]


def _chosen(place: Place, names: dict[str, str], classes: Sequence[str]) -> dict[str, str]:
    """Some of {group: class name}, in the order of `classes`."""
    keys = {name: key for key, name in names.items()}
    chosen: dict[str, str] = {}
    for name in map(legible, classes):
        if name not in keys:
            raise UsageError(
                f"config.data.classes has {name!r}, expected classes of {legible(place.path)}"
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
    title = f"{legible(place.path)}/{name}"
    try:
        return place.read(name), title
    except BROKEN as error:
        raise UserError(
            f"{title} cannot be read ({reason(error)}): mend it or take it away"
        ) from error


_UNDEFINED = {0x81, 0x8D, 0x8F, 0x90, 0x9D}  # in Windows' code page 1252


def _text(data: bytes, title: str) -> str:
    """UTF-8, with or without a byte order mark, or UTF-16 with one; else Windows' code page 1252,
    with a warning. Excel writes all of these."""
    try:
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return data.decode("utf-16")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if b"\0" not in data and not set(data) & _UNDEFINED:
            logging.warning("%s is not UTF-8: it is read as Windows code page 1252", title)
            return data.decode("cp1252")
        raise UserError(
            f"{title} is not UTF-8 at byte {error.start:,}: save it as UTF-8, or take it away"
        ) from error
