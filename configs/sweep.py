"""A classifier of a folder whose settings are chosen by trying: PATH[,epochs=20][,method=…].

    python -m maskgit_prompt.main --config=configs/sweep.py:photos --workdir=runs/sweep
    python -m maskgit_prompt.main --config=configs/sweep.py --workdir=runs/sweep

Without a path the images are ten classes of Twemoji. See configs/classify.py for folders, and
docs/configuration.md for config.sweep.
"""

from ml_collections import ConfigDict

from maskgit_prompt import config as defaults


def get_config(arg: str = "") -> ConfigDict:
    return defaults.classify_folder(defaults.sweep(), arg, "sweep.py")
