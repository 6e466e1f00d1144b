"""Prefixes for a frozen encoder-decoder of images and texts.

    python -m maskgit_prompt.main --config=configs/multimodal.py --workdir=runs/multimodal \\
        --config.backbone=runs/mini-ofa/backbone
    python -m maskgit_prompt.main --config=configs/multimodal.py:table.csv --workdir=runs/mine \\
        --config.goal=question --config.backbone=runs/mini-ofa/backbone

No encoder-decoder ships with the package yet: configs/mini_ofa.py trains one, configs/import.py
imports published ones. Without an argument the images are drawn scenes, and the question is how
many things there are, which `mini-ofa` was never asked. With a table (a CSV or JSON lines beside
its images, see docs/multimodal.md) config.goal says what is asked.
"""

from ml_collections import ConfigDict

from maskgit_prompt import config as defaults


def get_config(path: str = "") -> ConfigDict:
    config = defaults.ask()
    if path:
        config.data.name, config.data.path = "table", path
        config.data.tune_num = config.data.test_num = 0
    return config
