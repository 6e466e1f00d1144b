"""The class of each pixel: a prompt and an upsampling head on the frozen encoder `mini-vit`.

    python -m maskgit_prompt.main --config=configs/segment.py --workdir=runs/segment
    python -m maskgit_prompt.main --config=configs/segment.py:streets --workdir=runs/streets \\
        --config.backbone=models/vit_b16_21k
    python -m maskgit_prompt.main --config=configs/segment.py:streets,epochs=50,method=linear \\
        --workdir=runs/linear

Without an argument the images are 240 drawn scenes, 60 of them held out, and the classes the ground
and things of eight colours. A folder has streets/images/NAME.jpg, streets/masks/NAME.png with the
class of each pixel as its value or colour, and classes.txt with their names
(docs/classification.md).
"""

from ml_collections import ConfigDict

from maskgit_prompt import config as defaults


def get_config(arg: str = "") -> ConfigDict:
    config = defaults.segment()
    return defaults.segment_folder(config, arg, "segment.py") if arg else config
