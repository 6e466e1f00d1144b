"""A folder of images and masks: PATH/images/NAME.jpg and PATH/masks/NAME.png.

A mask has the class of each pixel as its value (one channel, or the index into a palette), 255 for
pixels that do not count; or a colour. PATH/classes.txt names the classes in their order, a line for
each: NAME, or NAME RED GREEN BLUE for masks in colours. Without it the classes are the values from
0 to the largest one.
"""

import collections
import dataclasses
import hashlib
import os
import pathlib
import re

import numpy as np
from PIL import Image

from maskgit_prompt.data import formats
from maskgit_prompt.data.masks import IGNORED, MaskedImages
from maskgit_prompt.data.names import legible
from maskgit_prompt.data.pixels import BROKEN, Preprocessing, examine, reason
from maskgit_prompt.errors import UsageError, UserError

LAYOUT = "expected PATH/images/NAME.jpg and PATH/masks/NAME.png"
TABLE = "classes.txt"
_COLOURED = re.compile(r"(.+?)\s+(\d+)\s+(\d+)\s+(\d+)")
_NAMED = 3  # files that a message names


@dataclasses.dataclass(frozen=True)
class Classes:
    """What values and colours of masks mean; `names` is empty where no file says."""

    names: tuple[str, ...] = ()
    colours: dict[tuple[int, ...], int] = dataclasses.field(default_factory=dict)


def load(path: str | os.PathLike, size: int) -> MaskedImages:
    """Reads every file once, to see that it is whole; images and masks are resized straight.

    size: S.

    Raises:
      UsageError: no such folder. UserError: an image without a mask or the other way round, sides
        that differ, a value or colour that is not of a class, a file that cannot be read.
    """
    folder = pathlib.Path(path)
    images, masks = (_files(folder / kind) for kind in ("images", "masks"))
    _check_pairs(folder, images, masks)
    stated = _classes(folder / TABLE)
    preprocessing = Preprocessing(size, "resize", resample="bilinear")
    names, digests, largest = sorted(images), [], 0
    for name in names:
        seen, mask = _image(images[name], preprocessing), _mask(masks[name], stated)
        if seen.size != mask.shape[::-1]:
            raise UserError(
                f"{legible(str(masks[name]))} has {mask.shape[1]} x {mask.shape[0]} pixels and its "
                f"image {seen.size[0]} x {seen.size[1]}, expected as many; mend one of them"
            )
        counted = mask[mask != IGNORED]
        largest = max(largest, int(counted.max(initial=0)))
        digests.append(hashlib.sha256(seen.pixels.tobytes() + mask.tobytes()).digest())
    classes = stated.names or tuple(str(value) for value in range(largest + 1))
    if len(names) < 2 or len(classes) < 2:
        raise UserError(
            f"{legible(str(folder))} has {len(names)} images with masks of {len(classes)} classes, "
            "expected at least two of both"
        )

    def small(row: int) -> np.ndarray:
        mask = Image.fromarray(_mask(masks[names[row]], stated))
        return np.asarray(mask.resize((size, size), Image.Resampling.NEAREST))

    return MaskedImages(
        folder.name,
        classes,
        tuple(map(legible, names)),
        np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32),
        lambda rows: np.stack([_image(images[names[row]], preprocessing).pixels for row in rows]),
        lambda rows: np.stack([small(row) for row in rows]),
        np.uint8(list(stated.colours)) if len(stated.colours) == len(classes) else None,
    )


def _files(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """Name without its ending -> image file.

    Raises:
      UsageError: no such folder. UserError: two files of one name.
    """
    if not folder.is_dir():
        raise UsageError(f"no folder {legible(str(folder))}: {LAYOUT}")
    found = collections.defaultdict(list)
    for file in sorted(folder.iterdir()):
        if formats.is_image(file.name) and not file.name.startswith("."):
            found[file.stem].append(file)
    for files in found.values():
        if len(files) > 1:
            raise UserError(
                f"{legible(str(files[0]))} and {legible(files[1].name)} have one name; rename or "
                "remove one"
            )
    return {name: file for name, (file,) in found.items()}


def _check_pairs(folder: pathlib.Path, images: dict, masks: dict) -> None:
    where = legible(str(folder))
    for kind, some, other in (("mask", images, masks), ("image", masks, images)):
        if missing := sorted(some.keys() - other.keys()):
            shown = ", ".join(legible(name) for name in missing[:_NAMED])
            more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
            raise UserError(f"{where}: no {kind} for {shown}{more}; {LAYOUT}")
    if not images:
        raise UserError(f"{where}: no images in images/; {LAYOUT}")


def _classes(file: pathlib.Path) -> Classes:
    """Raises UserError for a line that is neither NAME nor NAME RED GREEN BLUE."""
    if not file.is_file():
        return Classes()
    names, colours = [], {}
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except ValueError as error:
        raise UserError(f"{legible(str(file))} is not UTF-8; save it as UTF-8 text") from error
    for number, line in enumerate(lines):
        coloured = _COLOURED.fullmatch(line.strip())
        name = coloured[1] if coloured else line.strip()
        values = tuple(map(int, coloured.groups()[1:])) if coloured else ()
        if not name or max(values, default=0) > 255:
            raise UserError(
                f"{legible(str(file))}, line {number + 1}: {line!r}, expected NAME or NAME RED "
                "GREEN BLUE, each 0 to 255"
            )
        if values in colours:
            raise UserError(
                f"{legible(str(file))}, line {number + 1}: {line!r} has the colour of "
                f"{names[colours[values]]!r}, expected another"
            )
        names.append(name)
        if values:
            colours[values] = number
    if len(set(names)) < len(names) or len(names) > IGNORED:
        raise UserError(f"{legible(str(file))}: expected at most {IGNORED} names, each once")
    return Classes(tuple(names), colours)


def _image(file: pathlib.Path, preprocessing: Preprocessing):
    try:
        return examine(file.read_bytes(), preprocessing)
    except BROKEN as error:
        raise UserError(
            f"{legible(str(file))} cannot be read ({reason(error)}); mend or remove it"
        ) from error


def _mask(file: pathlib.Path, classes: Classes) -> np.ndarray:
    """The class of each pixel, uint8 [H, W]."""
    shown = legible(str(file))
    try:
        with formats.open_image(file.read_bytes()) as image:
            colours = image.mode in ("RGB", "RGBA")
            # The index into a palette is the class, whatever its colour.
            values = np.asarray(image.convert("RGB") if colours else image)
    except BROKEN as error:
        raise UserError(f"{shown} cannot be read ({reason(error)}); mend or remove it") from error
    if colours:
        return _of_colours(shown, values, classes)
    if values.ndim != 2 or not np.issubdtype(values.dtype, np.integer) and values.dtype != bool:
        raise UserError(
            f"{shown} has {values.dtype} {values.shape}, expected one channel of whole "
            "numbers, a palette, or red, green and blue"
        )
    known = len(classes.names) or IGNORED
    if (odd := values[(values != IGNORED) & ((values < 0) | (values >= known))]).size:
        named = f"{TABLE} names {known} classes" if classes.names else "classes end at 254"
        raise UserError(f"{shown} has the value {odd[0]}, but {named}; mend one of them")
    return values.astype(np.uint8)


def _of_colours(shown: str, values: np.ndarray, classes: Classes) -> np.ndarray:
    found = np.full(values.shape[:2], IGNORED, np.uint8)
    present, inverse = np.unique(values.reshape(-1, 3), axis=0, return_inverse=True)
    for i, colour in enumerate(map(tuple, present.tolist())):
        if colour not in classes.colours:
            raise UserError(
                f"{shown} has the colour {colour}, which no class of {TABLE} has; add a line "
                "NAME RED GREEN BLUE"
            )
        found.reshape(-1)[inverse.ravel() == i] = classes.colours[colour]
    return found
