"""Answers about pictures, from prefix files; of a folder, an archive, a picture or a list.

    python -m maskgit_prompt.main --config=configs/answer.py:photos --workdir=runs/answers \\
        --config.prefixes=runs/german/prefix.safetensors \\
        --config.prefixes=runs/terse/prefix.safetensors

Every picture is answered with every prefix, all in one batch. --config.texts="is it red?" gives the
text that instructions take.
"""

from ml_collections import ConfigDict

from maskgit_prompt import config as defaults


def get_config(path: str = "") -> ConfigDict:
    config = defaults.answer()
    config.data.path = path
    return config
