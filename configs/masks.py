"""The class of each pixel of pictures, from a segmenter's file.

    python -m maskgit_prompt.main --config=configs/masks.py:photos/new --workdir=runs/masks \\
        --config.segmenter=runs/streets/segmenter.safetensors

masks/NAME.png is as large as the picture; a pixel's class is its index into the palette, and
classes.txt has the names.
"""

from ml_collections import ConfigDict

from maskgit_prompt import config as defaults


def get_config(path: str = "") -> ConfigDict:
    config = defaults.masks()
    config.data.path = path
    return config
