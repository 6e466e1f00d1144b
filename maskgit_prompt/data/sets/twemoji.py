"""Ten classes of Twemoji, up to 40 pictures of 64 x 64 on white each; they ship with the package.

Twemoji, copyright Twitter, Inc and other contributors, CC-BY 4.0: embedded/twemoji.LICENSE.txt.
`python benchmarks/pictures.py quickstart` makes the files again.
"""

import hashlib
import json
import pathlib

import numpy as np
from PIL import Image

from maskgit_prompt.data.formats import open_image
from maskgit_prompt.data.images import ImageSet
from maskgit_prompt.data.pixels import Preprocessing

FILES = pathlib.Path(__file__).parent / "embedded"
SIDE = 64


def twemoji(preprocessing: Preprocessing) -> ImageSet:
    """animals, clocks, faces, flags, fruit, hands, hearts, people, signs and vehicles.

    The pictures are square, so every fit makes the same pixels and has the same fingerprint.
    """
    index = json.loads((FILES / "twemoji.json").read_text())
    stored = (FILES / "twemoji.webp").read_bytes()
    with open_image(stored) as image:  # a row per class, white behind its last picture
        sheet = np.asarray(image.convert("RGB"))  # [C S, n S, 3]
    rows, columns = sheet.shape[0] // SIDE, sheet.shape[1] // SIDE
    pictures = sheet.reshape(rows, SIDE, columns, SIDE, 3).swapaxes(1, 2)
    counts = [len(names) for names in index.values()]
    pictures = np.concatenate([row[:n] for row, n in zip(pictures, counts, strict=True)])
    labels = np.repeat(np.arange(rows, dtype=np.int32), counts)
    size = preprocessing.size

    def read(indices: np.ndarray) -> np.ndarray:
        indices = np.asarray(indices)
        pixels = np.empty([len(indices), size, size, 3], np.uint8)
        for row, position in enumerate(indices):
            pixels[row] = preprocessing.square(Image.fromarray(pictures[position]))
        return pixels

    gain = f"{preprocessing.gain}|" if preprocessing.gain != 1 else ""
    digest = hashlib.sha256(f"twemoji-2: {preprocessing.resample}|{size}|{gain}".encode())
    digest.update(stored)
    digest.update(labels.tobytes())
    return ImageSet(
        name="twemoji",
        classes=tuple(index),
        labels=labels,
        ids=tuple(f"twemoji/{kind}/{name}" for kind, names in index.items() for name in names),
        fingerprint=digest.hexdigest(),
        read=read,
    )
