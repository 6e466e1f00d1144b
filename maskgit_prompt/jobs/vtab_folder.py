"""VTAB-1k as a folder: images as PNG files, and the lists by which papers share it.

1. See which tasks' data is prepared, and say how to get the others. Download if asked to.
2. For every task write the images, then the lists; classes.txt comes last, and a task that has it
   is done.
"""

import concurrent.futures
import pathlib

import numpy as np
from ml_collections import ConfigDict

from maskgit_prompt.config import rules
from maskgit_prompt.counts import counted
from maskgit_prompt.data.pixels import Preprocessing
from maskgit_prompt.data.sets import prepared, vtab, vtab_lists
from maskgit_prompt.devices import distributed
from maskgit_prompt.errors import UserError
from maskgit_prompt.progress import progress
from maskgit_prompt.storage import workdir
from maskgit_prompt.storage.files import write_whole
from maskgit_prompt.tasks.many import find_data

_CHUNK = 64  # images that a thread reads at a time


def run(config: ConfigDict, path: str) -> None:
    # 1. Data.
    rules.check(config)
    chosen = vtab.chosen(config.tasks)
    home = workdir.check(path, config)
    left = [task for task in chosen if not (folder_of(home, task) / vtab_lists.CLASSES).exists()]
    missing = find_data(left, config.data) if left else {}
    if missing and len(missing) == len(chosen):
        raise UserError(f"no data: none of {len(chosen)} tasks is prepared; see the list above")

    # 2. Folders.
    with workdir.prepare(path, config):
        for task in left:
            if task.name not in missing and distributed.is_first():
                number = write(task, config.data.data_dir, folder_of(home, task))
                print(f"{task.name}: {counted(number, 'image')} in {folder_of(home, task)}")
        distributed.barrier("vtab_folder")
    if missing:
        raise UserError(
            f"{len(missing)} of {len(chosen)} tasks are not written: {', '.join(missing)}; see the "
            "list above, and the same command again writes only these"
        )


def folder_of(home: pathlib.Path, task: vtab.Task) -> pathlib.Path:
    return home / vtab_lists.short(task)


def write(task: vtab.Task, data_dir: str, folder: pathlib.Path) -> int:
    """Writes one task, and returns how many images.

    Raises:
      UserError: splits with too few images, damaged records, a file that cannot be written.
    """
    builder = vtab.open_task(task, data_dir)
    counts = {name: split.num_examples for name, split in builder.info.splits.items()}
    slices = {split: task.slices(split, counts) for split in vtab_lists.WRITTEN}
    labels, beside = vtab.labels(task, builder), vtab.beside(task, builder)
    data = prepared.Prepared(builder, tuple(slices.values()), labels, Preprocessing(8), beside)
    rows = {split: data.rows(text) for split, text in slices.items()}
    files = vtab_lists.files_of(rows)
    where = [
        (row, file) for split in rows for row, file in zip(rows[split], files[split], strict=True)
    ]

    def some(start: int) -> int:
        chunk = where[start : start + _CHUNK]
        encoded = data.encoded(np.array([row for row, _ in chunk]))
        for (_, file), image in zip(chunk, encoded, strict=True):
            write_whole(folder / file, vtab_lists.as_png(image, task.gain))
        return len(chunk)

    with (
        progress(len(where), f"write {task.name}", "image", delay=5.0) as bar,
        concurrent.futures.ThreadPoolExecutor() as pool,
    ):
        for done in pool.map(some, range(0, len(where), _CHUNK)):
            bar.update(done)
    for name, text in vtab_lists.lists_of(data.images, rows, files):
        write_whole(folder / name, text.encode())
    return len(where)
