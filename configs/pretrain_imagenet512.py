"""Pretrains MaskGIT at its published size, on ImageNet at 512 x 512.

    --config=configs/pretrain_imagenet512.py:tokenizer and :transformer

are used like configs/pretrain_imagenet256.py, which says what the values are and where they come
from. An image has 1,024 codes. Not run at this size, either.
"""

from ml_collections import ConfigDict

from maskgit_prompt import config as defaults


def get_config(stage: str = "tokenizer") -> ConfigDict:
    return defaults.maskgit(stage, 512, "pretrain_imagenet512.py")
