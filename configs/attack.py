"""Answers about adversarial images (FGSM), over the size of the change.

    python -m maskgit_prompt.main --config=configs/attack.py --workdir=runs/attacked \\
        --config.tuned=runs/prefix/prefix.safetensors --config.tuned=runs/full/tuned.safetensors

config.data names the examples that the files were tuned on; those held out are attacked.
"""

from ml_collections import ConfigDict

from maskgit_prompt import config as defaults


def get_config() -> ConfigDict:
    return defaults.attack()
