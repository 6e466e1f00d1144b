"""Images that lists name: for each split the files and their classes, and the files beside them."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from maskgit_prompt.counts import counted
from maskgit_prompt.data.images import ImageSet, fingerprint
from maskgit_prompt.data.names import legible
from maskgit_prompt.data.pixels import Preprocessing
from maskgit_prompt.data.sets.places import Folder
from maskgit_prompt.data.sets.scan import reader, scan
from maskgit_prompt.errors import UserError


@dataclasses.dataclass(frozen=True)
class Listing:
    """One list.

    Attributes:
      title: the list's file, for messages.
      rows: (file, below the folder and with "/"; class number), in the list's order.
    """

    title: str
    rows: Sequence[tuple[str, int]]


class Listed:
    """Lists of files in a folder as rows of one ImageSet.

    Every file is read and decoded once here, as in `folder.image_folder`. Nothing is skipped: a
    list says what must be there.

    Args:
      root: the folder.
      name: of the set, for reports.
      lists: split -> its list.
      classes: names of the class numbers.
      cache: a folder where the scan is kept; None: nowhere.

    Attributes:
      images: the files of all lists, each once.

    Raises:
      UserError: a file that is not there or cannot be read, or one of two classes.
    """

    def __init__(
        self,
        root: pathlib.Path,
        name: str,
        lists: Mapping[str, Listing],
        classes: Sequence[str],
        preprocessing: Preprocessing,
        cache: pathlib.Path | None = None,
    ):
        labels = _labels(lists)
        files = list(labels)
        for listing in lists.values():
            _check_there(root, listing)
        place = Folder(root)
        seen = scan(place, files, preprocessing, os.cpu_count() or 1, cache)
        for row, why in seen.broken.items():
            raise UserError(
                f"{root}/{legible(files[row])} cannot be read ({why}), and a list names it; copy "
                "it again"
            )
        number = {file: row for row, file in enumerate(files)}
        self._rows = {
            split: np.array([number[file] for file, _ in listing.rows], np.int64)
            for split, listing in lists.items()
        }
        digests = seen.rows["digest"]

        read = reader(place, files, digests, preprocessing)
        self.images = ImageSet(
            name=name,
            classes=tuple(classes),
            labels=np.array(list(labels.values()), np.int32),
            ids=tuple(map(legible, files)),
            fingerprint=fingerprint(preprocessing.recipe, digests),
            read=read,
            recipe=preprocessing.recipe,
            digests=digests,
            looks=seen.rows["look"],
            read_windows=read,
        )

    def rows(self, split: str) -> np.ndarray:
        """Rows of `images` that a split's list names, in its order; int64."""
        return self._rows[split]


def _labels(lists: Mapping[str, Listing]) -> dict[str, int]:
    """file -> its class, in the order of the lists."""
    found: dict[str, tuple[int, str]] = {}
    for listing in lists.values():
        for file, label in listing.rows:
            before, title = found.setdefault(file, (label, listing.title))
            if before != label:
                raise UserError(
                    f"{legible(file)} has class {before} in {title} and class {label} in "
                    f"{listing.title}; expected one class for every file: correct a list"
                )
    return {file: label for file, (label, _) in found.items()}


def _check_there(root: pathlib.Path, listing: Listing) -> None:
    missing = [file for file, _ in listing.rows if not os.path.isfile(root / file)]
    if missing:
        raise UserError(
            f"{listing.title} names {counted(len(missing), 'image')} that {root} does not have, "
            f"the first is {legible(missing[0])}; expected all of {len(listing.rows):,}: copy what "
            "is missing"
        )
