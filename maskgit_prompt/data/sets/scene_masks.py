"""Drawn scenes with masks: whether each pixel shows the ground, or a thing of which colour."""

import hashlib

import numpy as np

from maskgit_prompt.data.masks import MaskedImages
from maskgit_prompt.data.sets.scenes import COLOURS, draw, draw_mask, make_scene

CLASSES = ("ground", *COLOURS)
GREY = (112, 112, 112)


def load(number: int, size: int, seed: int) -> MaskedImages:
    """Scenes 0 to number - 1 of a seed, size x size pixels."""
    scenes = [make_scene(seed, i, size) for i in range(number)]
    pictures = np.stack([draw(scene) for scene in scenes])
    masks = np.stack([draw_mask(scene) for scene in scenes])
    digests = [
        hashlib.sha256(picture.tobytes() + mask.tobytes()).digest()
        for picture, mask in zip(pictures, masks, strict=True)
    ]
    return MaskedImages(
        "drawn scenes",
        CLASSES,
        tuple(f"scene {i}" for i in range(number)),
        np.frombuffer(b"".join(digests), np.uint8).reshape(number, 32),
        lambda rows: pictures[rows],
        lambda rows: masks[rows],
        np.uint8([GREY, *COLOURS.values()]),
    )
