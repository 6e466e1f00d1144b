"""Prefixes for the frozen encoder-decoder of images and texts `mini-ofa`.

    python -m maskgit_prompt.main --config=configs/multimodal.py --workdir=runs/multimodal
    python -m maskgit_prompt.main --config=configs/multimodal.py:table.csv --workdir=runs/mine \\
        --config.goal=question

Without an argument the images are drawn scenes, and the question is how many things there are,
which `mini-ofa` was never asked. With a table (a CSV or JSON lines beside its images, see
docs/multimodal.md) config.goal says what is asked. --config.backbone takes a published model that
configs/import.py imported.
"""

from ml_collections import ConfigDict

from maskgit_prompt import config as defaults


def get_config(path: str = "") -> ConfigDict:
    config = defaults.ask()
    if path:
        config.data.name, config.data.path = "table", path
        config.data.tune_num = config.data.test_num = 0
    return config
