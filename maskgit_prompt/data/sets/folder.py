"""Images from a folder or an archive: PATH/CLASS/*.png|jpg|..., or a flat one as one class."""

import collections
import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from absl import logging

from maskgit_prompt.counts import counted, share
from maskgit_prompt.data import depth, found
from maskgit_prompt.data.images import ImageSet
from maskgit_prompt.data.names import legible
from maskgit_prompt.data.pixels import Preprocessing
from maskgit_prompt.data.sets import exposure
from maskgit_prompt.data.sets.labelling import Labelled, label
from maskgit_prompt.data.sets.places import Place, open_place
from maskgit_prompt.data.sets.scan import Scan, reader, scan
from maskgit_prompt.errors import UserError

_NAMED = 10  # files a warning names
_PICTURES = 3  # pictures of several classes, and their files, that a note names


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
    Every file is read and decoded once here, by threads and hosts in parallel: `scan`. Files that
    are not whole images are skipped with a warning that names and counts them. Images of
    one class with the same pixels are taken once. How pixels are made: `pixels.Preprocessing`.

    The fingerprint covers each file's name below PATH and bytes, and the preprocessing's recipe;
    not whether it lies in an archive, nor its class. A file that changes after that is an error
    when it is read.

    Args:
      path: the folder or archive.
      strict: refuse broken images instead of skipping them.
      threads: that read and decode; as many as there are cores when None.
      classes: names of the classes to take, in this order; none: all.
      csv: path of a table of files and classes; empty: labels.csv of the folder, if it is there.
      cache: folder where the scan of large folders is kept, so that the next one reads only what
        has changed; None: nothing is kept.

    Raises:
      UsageError: nothing at the path or no archive, no such CSV or class.
      UserError: no images, a class without whole images, images beside class folders, folders
        that are parts of a data set, a CSV or classes.txt that does not fit, a folder or archive
        that cannot be read, or (strict) a broken image.
    """
    place = open_place(path)
    labelled = label(place, classes, csv)
    names = labelled.names
    seen = scan(place, names, preprocessing, threads or os.cpu_count() or 1, cache)
    _refuse_or_warn(place.path, names, seen, strict)
    good = np.setdiff1d(np.arange(len(names)), list(seen.broken))
    _refuse_empty(labelled, good, seen.broken)
    exposure.warn_unused(place.path, seen.rows[good], preprocessing.full_scale)
    preprocessing = _with_depths(preprocessing, seen.rows[good])
    exposure.warn(place.path, [names[row] for row in good], seen.rows[good], preprocessing)
    looks, shown = _looks(seen.rows[good], preprocessing), [names[row] for row in good]
    first, copies = _first_of_copies(labelled.labels[good], looks, shown)
    several = _in_several_classes(labelled.labels[good], looks, shown)
    good, copies, looks = good[first], good[copies], looks[first]
    files = tuple(names[row] for row in good)
    digests = seen.rows["digest"][good]
    digest = hashlib.sha256(preprocessing.recipe.encode())
    for name, contents in zip(files, digests, strict=True):
        # A name cannot hold a zero byte and a digest has 32: no two lists run together alike.
        digest.update(b"\0" + os.fsencode(name) + b"\0" + contents.tobytes())

    read = reader(place, files, digests, preprocessing, threads)
    return ImageSet(
        name=place.name,
        classes=labelled.classes,
        labels=labelled.labels[good],
        ids=tuple(map(legible, files)),
        fingerprint=digest.hexdigest(),
        read=read,
        read_windows=read,
        recipe=preprocessing.recipe,
        digests=digests,
        looks=looks,
        found=_found(place, labelled, seen, copies, several, preprocessing),
    )


def _looks(rows: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """uint8 [n, 32]: digests that are equal where the pixels are, at the folder's scale.

    The scan took each image at the scale that fits it alone. Where the folder has another one,
    images of equal looks are as different as their own scales.
    """
    looks = rows["look"].copy()
    if not (common := preprocessing.unstated_scale):
        return looks
    for row in np.flatnonzero(~np.isnan(rows["range"][:, 0])):
        own = depth.found_scale(rows["range"][[row]])
        if own != common:
            told = looks[row].tobytes() + repr(own).encode()
            looks[row] = memoryview(hashlib.sha256(told).digest())
    return looks


def _first_of_copies(
    labels: np.ndarray, looks: np.ndarray, names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """(rows to keep, rows of the same label and pixels as one of these), increasing.

    Of copies the one with the shortest name is kept: "0.png", not "0 copy.png".
    """
    keys = np.concatenate([looks, labels.astype("<i4")[:, None].view(np.uint8)], axis=1)
    keys, rows = keys.view("S36").ravel(), np.arange(len(labels))
    if len(np.unique(keys)) == len(rows):  # names are not looked at
        return rows, rows[:0]
    order = np.array(sorted(rows, key=lambda row: (len(names[row]), names[row])))
    kept = np.sort(order[np.unique(keys[order], return_index=True)[1]])
    return kept, np.setdiff1d(rows, kept)


def _in_several_classes(
    labels: np.ndarray, looks: np.ndarray, names: Sequence[str]
) -> list[list[str]]:
    """Names of images with the same pixels under several labels, a list for each such picture."""
    rows: dict[bytes, list[int]] = collections.defaultdict(list)
    for row, look in enumerate(looks):
        rows[look.tobytes()].append(row)
    return [
        [names[row] for row in same]
        for same in rows.values()
        if len(set(labels[same].tolist())) > 1
    ]


def _with_depths(preprocessing: Preprocessing, rows: np.ndarray) -> Preprocessing:
    """One full scale for all images whose formats do not state theirs; what recipes must say."""
    deep, ranges = rows[rows["deep"]], rows["range"]
    unstated = ranges[~np.isnan(ranges[:, 0])]
    if preprocessing.full_scale:
        # Folders without deep images have the pixels and the fingerprint that they always had.
        return preprocessing if len(deep) else dataclasses.replace(preprocessing, full_scale=0.0)
    return dataclasses.replace(
        preprocessing,
        unstated_scale=depth.found_scale(unstated) if len(unstated) else 0.0,
        stated_depths=bool(deep["odd_depth"].any()),
    )


# --- What is told --------------------------------------------------------------------------------


def _refuse_or_warn(path: str, names: list[str], seen: Scan, strict: bool) -> None:
    path = legible(path)
    skipped = _listed(names, seen.broken)
    if seen.broken and strict:
        raise UserError(
            f"{share(len(seen.broken), len(names), 'image')} in {path} cannot be read: {skipped};"
            " mend or remove them, or leave strict off to skip them"
        )
    told = []
    if seen.broken:
        told.append(f"skipped {share(len(seen.broken), len(names), 'image')} in {path}: {skipped}")
    if seen.notes:
        read = f"read {share(len(seen.notes), len(names), 'image')} in {path} with warnings"
        told.append(f"{read}: {_listed(names, seen.notes)}")
    if told:
        logging.warning("%s", "; ".join(told))


def _listed(names: list[str], why: Mapping[int, str]) -> str:
    first = [f"{legible(names[row])} ({text})" for row, text in list(why.items())[:_NAMED]]
    more = f" and {len(why) - _NAMED} more" if len(why) > _NAMED else ""
    return ", ".join(first) + more


def _refuse_empty(labelled: Labelled, good: np.ndarray, broken: Mapping[int, str]) -> None:
    counts = np.bincount(labelled.labels[good], minlength=len(labelled.classes))
    for c in np.flatnonzero(counts == 0):
        row = np.flatnonzero(labelled.labels == c)[0]
        raise UserError(
            f"class {labelled.classes[c]!r} has no images left: all its files are broken, the first"
            f" is {legible(labelled.names[row])} ({broken[row]}); add whole images or remove the "
            "class"
        )


def _found(
    place: Place,
    labelled: Labelled,
    seen: Scan,
    copies: np.ndarray,
    several: Sequence[Sequence[str]],
    preprocessing: Preprocessing,
) -> found.Found:
    names = labelled.names
    left_out = found.by_ending(place.left_out)
    if seen.broken:
        left_out.append(found.kind("cannot be read", [names[row] for row in seen.broken]))
    if len(copies):
        left_out.append(found.kind("copies of others of the class", [names[r] for r in copies]))
    rows = np.delete(seen.rows, list(seen.broken))
    notes = list(labelled.notes)
    if several:
        shown = "; ".join(
            " and ".join(map(legible, same[:_PICTURES])) for same in several[:_PICTURES]
        )
        more = ", ..." * (len(several) > _PICTURES)
        notes.append(f"pictures that stand in several classes: {len(several):,} ({shown}{more})")
    deep = rows[rows["deep"]]
    unstated = int((~np.isnan(deep["range"][:, 0])).sum())
    scalable = int(deep["scalable"].sum())
    if preprocessing.full_scale and scalable:
        scale = preprocessing.full_scale
        notes.append(f"{scale:g} is white in images of more than 8 bits: {scalable:,}")
    elif unstated:
        scale = preprocessing.unstated_scale
        over = int((deep["range"][:, 1] > scale).sum())
        notes.append(
            "32-bit and float images do not say which value is white: "
            f"{scale:g} is taken for all {unstated:,}; brighter pixels in "
            f"{counted(over, 'image')}; --config.data.full_scale takes another"
        )
    return found.Found(
        where=legible(place.path),
        left_out=tuple(left_out),
        sizes=found.of_sizes(rows["size"]),
        enlarged=int((rows["size"].min(axis=1) < preprocessing.size).sum()),
        side=preprocessing.size,
        notes=tuple(notes),
    )
