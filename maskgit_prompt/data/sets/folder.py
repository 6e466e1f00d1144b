"""Images from a folder or an archive: PATH/CLASS/*.png|jpg|..., or a flat one as one class."""

import functools
import hashlib
import os
import pathlib
from collections.abc import Sequence

import numpy as np
from absl import logging

from maskgit_prompt.data.images import ImageSet, Reader
from maskgit_prompt.data.pixels import BROKEN, Preprocessing, decode_image, reason
from maskgit_prompt.data.sets.labelling import label
from maskgit_prompt.data.sets.places import open_place
from maskgit_prompt.data.sets.scan import scan
from maskgit_prompt.errors import UserError

_NAMED = 10  # skipped files a warning names


def image_folder(
    path: str | os.PathLike,
    preprocessing: Preprocessing,
    strict: bool = False,
    threads: int | None = None,
    *,
    classes: Sequence[str] = (),
    csv: str = "",
    cache: pathlib.Path | None = None,
) -> ImageSet:
    """Images of a folder, or of a zip or tar archive, that are PATH/CLASS/*.png or flat.

    What is an image file and what an archive: `places`. Which class it has: `labelling`; by
    default the folder's at the top, and a flat folder is one class with its own name.
    Every file is read and decoded once here, by threads and hosts in parallel; those that are no
    whole image are skipped with a warning that names and counts them: `scan`. How pixels are
    made: `pixels.Preprocessing`.

    The fingerprint covers each file's name below PATH and bytes, and the preprocessing's recipe;
    not whether it lies in an archive, nor its class. A file that changes after that is an error
    when it is read.

    Args:
      path: the folder or archive.
      strict: refuse broken images instead of skipping them.
      threads: that read and decode; as many as there are cores when None.
      classes: names of the classes to take, in this order; none: all.
      csv: path of a CSV `file,class`; empty: labels.csv of the folder, if it is there.
      cache: folder where the scan of large folders is kept, so that the next one reads only what
        has changed; None: nothing is kept.

    Raises:
      UsageError: nothing at the path or no archive, no such CSV or class.
      UserError: no images, a class without whole images, images beside class folders, folders
        that are splits, a CSV or classes.txt that does not fit, a folder or archive that cannot
        be read, or (strict) a broken image.
    """
    place = open_place(path)
    labelled = label(place, classes, csv)
    names = labelled.names
    found = scan(place, names, preprocessing, threads or os.cpu_count() or 1, cache)
    if found.broken:
        _refuse_or_warn(place.path, names, found.broken, strict)
    good = np.setdiff1d(np.arange(len(names)), list(found.broken))
    labels = labelled.labels[good]
    for c in np.flatnonzero(np.bincount(labels, minlength=len(labelled.classes)) == 0):
        row = np.flatnonzero(labelled.labels == c)[0]
        raise UserError(
            f"class {labelled.classes[c]!r} has no images left: all its files are broken, the first"
            f" is {names[row]} ({found.broken[row]}); add whole images or remove the class"
        )
    ids = tuple(names[row] for row in good)
    digests = found.digests[good]
    digest = hashlib.sha256(preprocessing.recipe.encode())
    for name, contents in zip(ids, digests, strict=True):
        # A name cannot hold a zero byte and a digest has 32: no two lists run together alike.
        digest.update(b"\0" + os.fsencode(name) + b"\0" + contents.tobytes())

    def fetch(indices: np.ndarray) -> list[tuple[bytes, bytes]]:
        found = []
        for index in indices:
            try:
                data = place.read(ids[index])
            except BROKEN as error:
                raise UserError(
                    f"{place.path}/{ids[index]} changed while in use ({reason(error)}): start the "
                    "run again"
                ) from error
            found.append((data, data))
        return found

    return ImageSet(
        name=place.name,
        classes=labelled.classes,
        labels=labels,
        ids=ids,
        fingerprint=digest.hexdigest(),
        read=Reader(
            fetch,
            functools.partial(decode_image, preprocessing=preprocessing),
            [f"{place.path}/{name}" for name in ids],
            digests,
            preprocessing.size,
            threads,
        ),
        recipe=preprocessing.recipe,
        digests=digests,
    )


def _refuse_or_warn(path: str, names: list[str], broken: dict[int, str], strict: bool) -> None:
    first = [f"{names[row]} ({why})" for row, why in list(broken.items())[:_NAMED]]
    more = f" and {len(broken) - _NAMED} more" if len(broken) > _NAMED else ""
    named = ", ".join(first) + more
    if strict:
        raise UserError(
            f"{len(broken)} of {len(names)} images in {path} cannot be read: {named};"
            " mend or remove them, or leave strict off to skip them"
        )
    logging.warning("skipped %d of %d images in %s: %s", len(broken), len(names), path, named)
