"""The five fine-grained sets of Visual Prompt Tuning, by the splits that its authors share.

FOLDER/SET/{train,val,test}.json map a file to its class; the files lie beside them, or in images/
or Images/ there (KMnP/vpt, data/datasets/json_dataset.py).
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Sequence

from absl import logging

from maskgit_prompt.counts import counted
from maskgit_prompt.data.names import legible
from maskgit_prompt.data.pixels import Preprocessing
from maskgit_prompt.data.sets.listed import Listed, Listing
from maskgit_prompt.errors import UsageError, UserError

GROUP = "fine-grained"
PLACES = ("", "images", "Images")  # where files lie, below the folder of a set


@dataclasses.dataclass(frozen=True)
class Set:
    """One set.

    Attributes:
      folders: its folder is one of these.
      classes: how many the published set has.
    """

    name: str
    folders: tuple[str, ...]
    classes: int


SETS = (
    Set("cub", ("cub", "CUB_200_2011"), 200),
    Set("nabirds", ("nabirds", "NABirds"), 555),
    Set("flowers", ("flowers", "OxfordFlowers"), 102),
    Set("dogs", ("dogs", "StanfordDogs"), 120),
    Set("cars", ("cars", "StanfordCars"), 196),
)
BY_NAME = {one.name: one for one in SETS}


def chosen(names: Sequence[str]) -> list[Set]:
    """Sets by name, in the order of SETS; of no names, all five.

    Raises:
      UsageError: a name that is not one of theirs.
    """
    for name in names:
        if name not in BY_NAME:
            raise UsageError(f"no set {name!r}; expected some of {', '.join(BY_NAME)}")
    return [one for one in SETS if not names or one.name in names]


def place(one: Set, path: str) -> pathlib.Path | None:
    """The folder of a set below a path, or None where it is not there."""
    found = (pathlib.Path(path, folder) for folder in one.folders)
    return next((folder for folder in found if folder.is_dir()), None)


def how_to_prepare(one: Set, path: str) -> str:
    """One line: what to put where."""
    return (
        f"put the images of {one.name} and train.json, val.json, test.json of Visual Prompt Tuning "
        f"into {pathlib.Path(path, one.folders[0])}"
    )


def load(
    one: Set,
    path: str,
    splits: Sequence[str],
    preprocessing: Preprocessing,
    cache: pathlib.Path | None = None,
) -> Listed:
    """The lists of some splits, "train" or several as "train+val", and their images.

    Classes are numbered in the order of their ids. Those of the first split are all that there are.

    Raises:
      UserError: no folder or list, a list that cannot be read or has gaps in its ids, classes that
        the first split does not have, and what Listed raises.
    """
    folder = place(one, path)
    if folder is None:
        raise UserError(f"no folder of {one.name} in {path}: {how_to_prepare(one, path)}")
    lists = {split: _read(folder, split) for split in splits}
    ids = _ids(one, lists[splits[0]])
    number = {name: i for i, name in enumerate(ids)}
    for title, files in lists.values():
        for file, name in files.items():
            if name not in number:
                raise UserError(
                    f"{title} has {legible(file)} of class {name}, and {lists[splits[0]][0]} has "
                    "no image of it; expected images to tune on of every class"
                )
    root = _root(folder, next(iter(lists[splits[0]][1])))
    made = {
        split: Listing(title, [(file, number[name]) for file, name in files.items()])
        for split, (title, files) in lists.items()
    }
    return Listed(root, one.name, made, list(map(str, ids)), preprocessing, cache)


def _read(folder: pathlib.Path, split: str) -> tuple[str, dict[str, int | str]]:
    """(title for messages, file -> class id) of a split, or of several joined by "+"."""
    found: dict[str, int | str] = {}
    for part in split.split("+"):
        path = folder / f"{part}.json"
        try:
            read = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            there = ", ".join(sorted(p.name for p in folder.glob("*.json"))) or "no .json file"
            raise UserError(
                f"no {path.name} in {folder}, which has {there}; expected the splits as "
                "train.json, val.json and test.json"
            ) from error
        except (OSError, ValueError) as error:
            raise UserError(
                f"{path} cannot be read ({type(error).__name__}); expected JSON: copy it again"
            ) from error
        if not isinstance(read, dict) or not read:
            raise UserError(
                f"{path} holds {'nothing' if read == {} else repr(read)[:40]}, expected "
                '{"file": class, …}'
            )
        for file, name in read.items():
            if isinstance(name, str) and name.isdecimal():
                name = int(name)
            if isinstance(name, bool) or not isinstance(name, int | str):
                raise UserError(
                    f"{path}: {legible(file)} has class {name!r}, expected a number or a name"
                )
            if found.setdefault(file, name) != name:
                raise UserError(
                    f"{path}: {legible(file)} has class {name}, and {found[file]} in an earlier "
                    "list; expected one class for every file: correct a list"
                )
    return str(folder / f"{split}.json"), found


def _ids(one: Set, listing: tuple[str, dict]) -> list[int | str]:
    """The ids of a list's classes, in order."""
    title, files = listing
    ids = set(files.values())
    if len({type(x) for x in ids}) > 1:
        raise UserError(f"{title} has classes by number and by name, expected one of the two")
    ids = sorted(ids)
    if len(ids) != one.classes:
        if isinstance(ids[0], int) and (gaps := sorted(set(range(ids[-1])) - {0, *ids})):
            shown = ", ".join(map(str, gaps[:5])) + ", …" * (len(gaps) > 5)
            raise UserError(
                f"{title} has {counted(len(ids), 'class')} up to {ids[-1]}, but no image of "
                f"{shown}; expected every number from 0 or 1 on, or the {one.classes} of {one.name}"
            )
        logging.warning(
            "%s has %s, and %s as published has %d",
            title,
            counted(len(ids), "class"),
            one.name,
            one.classes,
        )
    return ids


def _root(folder: pathlib.Path, file: str) -> pathlib.Path:
    """Where the files of lists lie: the first of PLACES that has this one, else the last there."""
    there = [folder / name for name in PLACES if (folder / name).is_dir()]
    return next((root for root in there if os.path.isfile(root / file)), there[-1])
