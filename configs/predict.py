"""Classes of pictures, from classifier files; of a folder, an archive, a picture or a list.

    python -m maskgit_prompt.main --config=configs/predict.py:photos/new --workdir=runs/predicted \\
        --config.classifiers=runs/photos/classifier.safetensors

predictions.csv and predictions.json hold the five likeliest classes of each picture. Classifiers on
one backbone can be given together, by repeating the flag: each answers for itself, or with
--config.ensemble=True their probabilities are averaged.
"""

from ml_collections import ConfigDict

from maskgit_prompt import config as defaults


def get_config(path: str = "") -> ConfigDict:
    config = defaults.predict()
    config.data.path = path
    return config
