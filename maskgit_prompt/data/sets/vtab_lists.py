"""VTAB-1k as a folder of images and lists, the form in which papers share it.

FOLDER/TASK/train800.txt, val200.txt, train800val200.txt and test.txt hold lines "file class"; files
lie below FOLDER/TASK (ZhangYuanhan-AI/NOAH, dongzelian/SSF, JieShibo/PETL-ViT). TASK is our name or
theirs. Those who share such folders saved JPEG files, which are not the pixels of TFDS; what is
written here is PNG.
"""

import io
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import ImageOps

from maskgit_prompt.counts import counted
from maskgit_prompt.data.formats import open_image
from maskgit_prompt.data.images import ImageSet
from maskgit_prompt.data.names import legible
from maskgit_prompt.data.pixels import Preprocessing
from maskgit_prompt.data.sets import vtab
from maskgit_prompt.data.sets.listed import Listed, Listing
from maskgit_prompt.data.sets.vtab import Task
from maskgit_prompt.errors import UsageError, UserError

SPLITS = ("train800", "val200", "train800val200", "test")
WRITTEN = ("train800", "val200", "test")  # the third list names files of the first two
CLASSES = "classes.txt"
chosen = vtab.chosen
# What papers call a task's folder, where that is not our name.
SHORT = {
    "cifar100": "cifar",
    "clevr_closest_object_distance": "clevr_dist",
    "clevr_count_all": "clevr_count",
    "kitti_closest_vehicle_distance": "kitti",
    "dsprites_x_position": "dsprites_loc",
    "dsprites_orientation": "dsprites_ori",
    "smallnorb_azimuth": "smallnorb_azi",
    "smallnorb_elevation": "smallnorb_ele",
}


def short(task: Task) -> str:
    """What papers call a task's folder."""
    return SHORT.get(task.name, task.name)


def place(task: Task, path: str) -> pathlib.Path | None:
    """The folder of a task below a path, or None where it is not there."""
    found = (pathlib.Path(path, folder) for folder in (short(task), task.name))
    return next((folder for folder in found if folder.is_dir()), None)


def how_to_prepare(task: Task, path: str) -> str:
    """One line: what to put where."""
    where = pathlib.Path(path, short(task))
    return f"put train800.txt, …, test.txt and their images into {where}, or write them from TFDS's"


def load(
    task: Task,
    path: str,
    splits: Sequence[str],
    preprocessing: Preprocessing,
    cache: pathlib.Path | None = None,
) -> Listed:
    """The lists of some of SPLITS, and their images.

    Raises:
      UsageError: another split. UserError: no folder or list, a line that is not "file class", a
        class that the task does not have, and what Listed raises.
    """
    for split in splits:
        if split not in SPLITS:
            raise UsageError(
                f"split {split!r} of a folder of lists, expected {', '.join(SPLITS)}; the others "
                "need what TFDS prepares: leave config.data.path out"
            )
    folder = place(task, path)
    if folder is None:
        raise UserError(f"no folder of {task.name} in {path}: {how_to_prepare(task, path)}")
    lists = {split: _read(folder, split, task) for split in splits}
    return Listed(folder, task.name, lists, _classes(folder, task), preprocessing, cache)


def _read(folder: pathlib.Path, split: str, task: Task) -> Listing:
    path = folder / f"{split}.txt"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        there = ", ".join(sorted(p.name for p in folder.glob("*.txt"))) or "no .txt file"
        raise UserError(
            f"{path.name} cannot be read in {folder}, which has {there}; expected the lists "
            f"{', '.join(f'{name}.txt' for name in SPLITS)}"
        ) from error
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        file, _, label = line.strip().rpartition(" ")
        if not line.strip():
            continue
        if not file or not label.isdecimal():
            raise UserError(
                f"{path}, line {number}: {legible(line)[:80]!r}, expected a file and its class, as "
                "images/0.png 3"
            )
        if int(label) >= task.classes:
            raise UserError(
                f"{path}, line {number}: class {label}, expected 0 to {task.classes - 1}; "
                f"{task.name} has {task.classes} classes: is this another task's list?"
            )
        rows.append((file.strip(), int(label)))
    if not rows:
        raise UserError(f"{path} is empty, expected lines as images/0.png 3; copy it again")
    return Listing(str(path), rows)


def _classes(folder: pathlib.Path, task: Task) -> tuple[str, ...]:
    """Names by CLASSES of the folder, by the task, or numbers."""
    path = folder / CLASSES
    if not path.is_file():
        return task.names or tuple(map(str, range(task.classes)))
    names = tuple(path.read_text(encoding="utf-8").splitlines())
    if len(names) != task.classes:
        raise UserError(
            f"{path} has {counted(len(names), 'line')}, expected a name for each of the "
            f"{task.classes} classes of {task.name}, or no such file"
        )
    return names


# --- Written -------------------------------------------------------------------------------------


def files_of(rows: dict[str, np.ndarray]) -> dict[str, list[str]]:
    """The files of each of WRITTEN: {"val200": [7, 9]} is {"val200": ["images/val200/0000.png",
    "images/val200/0001.png"]}."""
    return {
        split: [
            f"images/{split}/{i:0{max(4, len(str(len(found))))}d}.png" for i in range(len(found))
        ]
        for split, found in rows.items()
    }


def lists_of(
    images: ImageSet, rows: dict[str, np.ndarray], files: dict[str, list[str]]
) -> Iterator[tuple[str, str]]:
    """(name, text) of the four lists and of CLASSES.

    rows: of `images`, by WRITTEN; files: of these, as `files_of` gives them.
    """
    lines = {
        split: [
            f"{file} {images.labels[row]}"
            for file, row in zip(files[split], rows[split], strict=True)
        ]
        for split in WRITTEN
    }
    lines["train800val200"] = lines["train800"] + lines["val200"]
    for split in SPLITS:
        yield f"{split}.txt", "\n".join(lines[split]) + "\n"
    yield CLASSES, "\n".join(images.classes) + "\n"


def as_png(data: bytes, gain: int = 1) -> bytes:
    """An image file of 8 bits as a PNG file of the same pixels: upright, grey or RGB.

    gain: what values are multiplied by, as in Preprocessing. A PNG file that needs no change stays
    as it is.
    """
    with open_image(data) as image:
        if image.format == "PNG" and image.mode in ("L", "RGB") and gain == 1:
            return data
        upright = ImageOps.exif_transpose(image)
        if upright.mode != "L":
            upright = upright.convert("RGB")
        if gain != 1:
            upright = upright.point(lambda value: value * gain)
        buffer = io.BytesIO()
        upright.save(buffer, format="PNG")
        return buffer.getvalue()
