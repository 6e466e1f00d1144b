"""Generated images as files: images/GROUP/00000.png of a workdir."""

import concurrent.futures
import os
import pathlib
import re
import shutil
from collections.abc import Sequence

import numpy as np
from PIL import Image

from maskgit_prompt.devices import distributed
from maskgit_prompt.errors import UserError

FOLDER = "images"


def folder_names(names: Sequence[str]) -> list[str]:
    """Names for folders on any system, no two alike there: "a/b", "A?b", "" -> "a_b", "A_b-2", "_".

    The names come out of a file that a stranger may have made: none leads out of the folder.
    """
    found: list[str] = []
    taken: set[str] = set()
    for name in names:
        plain = re.sub(r"[^\w.-]", "_", name)[:80].strip(".") or "_"
        unique, count = plain, 1
        while unique.casefold() in taken:
            count += 1
            unique = f"{plain}-{count}"
        taken.add(unique.casefold())
        found.append(unique)
    return found


def write_images(
    home: pathlib.Path, groups: Sequence[str], group_of: np.ndarray, images: np.ndarray
) -> list[str]:
    """Puts images/GROUP/00000.png in place of an earlier images/, all or none.

    Args:
      groups: their names. group_of: [n], each image's group, increasing.
      images: uint8 [n, S, S, 3].

    Returns:
      the files' names below home.

    Raises:
      UserError: they cannot be written; what was there before is kept.
    """
    folders = folder_names(groups)
    numbers = np.arange(len(images)) - np.searchsorted(group_of, group_of)
    files = [
        f"{folders[group]}/{number:05d}.png"
        for group, number in zip(group_of, numbers, strict=True)
    ]
    if distributed.is_first():
        temporary, final = home / f".{FOLDER}.{os.getpid()}", home / FOLDER
        save = lambda name, image: Image.fromarray(image).save(temporary / name)
        try:
            for group in np.unique(group_of):
                (temporary / folders[group]).mkdir(parents=True)
            # Compression lets go of the interpreter lock.
            with concurrent.futures.ThreadPoolExecutor(os.cpu_count(), "png") as pool:
                list(pool.map(save, files, images))
            shutil.rmtree(final, ignore_errors=True)
            os.replace(temporary, final)
        except OSError as error:
            raise UserError(
                f"cannot write {final}: {error.strerror or error}; free some space there or use "
                "another --workdir"
            ) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return [f"{FOLDER}/{name}" for name in files]
