"""A classifier of few images: a prompt and a head on the frozen encoder `mini-vit`.

    python -m maskgit_prompt.main --config=configs/classify.py --workdir=runs/classify
    python -m maskgit_prompt.main --config=configs/classify.py:photos --workdir=runs/photos
    python -m maskgit_prompt.main --config=configs/classify.py:photos,shots=5,method=linear \\
        --workdir=runs/linear

Without an argument the images are ten classes of Twemoji, a style of emoji that `mini-vit` has
never seen, ten of each to tune on; --config.data.name=digits: scikit-learn's digits. With a
folder (PATH/CLASS/*.png, a zip or tar archive, a table: see docs/own_images.md) 60 % of each class
are tuned on, 20 % decide between settings, and 20 % are held out.
"""

from ml_collections import ConfigDict

from maskgit_prompt import config as defaults


def get_config(arg: str = "") -> ConfigDict:
    return defaults.classify_folder(defaults.classify(), arg, "classify.py")
