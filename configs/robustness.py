"""Accuracy of classifiers on adversarial images (FGSM, PGD), over the size of the change.

    python -m maskgit_prompt.main --config=configs/robustness.py:photos --workdir=runs/attacked \\
        --config.classifiers=runs/prompt/classifier.safetensors \\
        --config.classifiers=runs/full/classifier.safetensors

The images are the held-out ones of configs/classify.py with the same argument.
"""

from ml_collections import ConfigDict

from maskgit_prompt import config as defaults


def get_config(path: str = "") -> ConfigDict:
    return defaults.classify_folder(defaults.robustness(), path, "robustness.py")
