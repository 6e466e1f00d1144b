"""Prompt tuning of the embedded model `mini` on handwritten digits it has never seen.

    make quickstart
    python -m maskgit_prompt.main --config=configs/quickstart.py --workdir=runs/quickstart
    python -m maskgit_prompt.main --config=configs/quickstart.py:full --workdir=runs/full
    python -m maskgit_prompt.main --config=configs/quickstart.py:mini-causal --workdir=runs/next
    python -m maskgit_prompt.main --config=configs/quickstart.py:causal --workdir=runs/causal
    python -m maskgit_prompt.main --config=configs/quickstart.py:compare --workdir=runs/compare

The images are scikit-learn's: ten classes, ten images of each; with ":full" all of the tuning part;
with ":mini-causal" on the causal transformer `mini-causal`; with ":causal" on it and `mini` side by
side, with ten and with five images of each class; with ":compare" prompt tuning beside training
from scratch, full fine-tuning and no tuning.
"""

from ml_collections import ConfigDict

from maskgit_prompt import config as defaults


def get_config(variant: str = "") -> ConfigDict:
    config = defaults.transfer()
    if variant == "full":
        config.data.shots = 0
    elif variant == "compare":
        defaults.compare(config)
    elif variant == "mini-causal":
        defaults.causal(config)
    elif variant == "causal":
        defaults.side_by_side(config)
    elif variant:
        raise ValueError(
            f"configs/quickstart.py:{variant}, expected :full, :mini-causal, :causal or :compare"
        )
    return config
