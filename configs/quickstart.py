"""Prompt tuning of the embedded model `mini` on handwritten digits it has never seen.

    make quickstart
    python -m maskgit_prompt.main --config=configs/quickstart.py --workdir=runs/quickstart

The images are scikit-learn's: ten classes, ten images of each.
"""

from ml_collections import ConfigDict

from maskgit_prompt import config as defaults


def get_config(arg: str = "") -> ConfigDict:
    config = defaults.transfer()
    if arg:
        raise ValueError(f"configs/quickstart.py:{arg}, expected nothing after the colon")
    return config
