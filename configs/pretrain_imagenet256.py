"""Pretrains MaskGIT at its published size, on ImageNet at 256 x 256.

    python -m maskgit_prompt.main --config=configs/pretrain_imagenet256.py:tokenizer \\
        --workdir=runs/imagenet256/1
    python -m maskgit_prompt.main --config=configs/pretrain_imagenet256.py:transformer \\
        --workdir=runs/imagenet256/2 --config.backbone=runs/imagenet256/1/backbone

Images come from TFDS (imagenet2012, prepared by hand as TFDS asks), or from where
--config.data.sets says. The sizes, and the transformer's 300 epochs in batches of 256, its dropout,
label smoothing and Adam's rates, are the paper's (arXiv 2202.04200). No training code was released,
so the tokenizer's losses and all learning rates are ours: maskgit_prompt/config/imagenet.py says
which. --config.data.heldout=0 learns from all images.

Not run at this size. benchmarks/README.md says which steps were compiled for TPU slices.
"""

from ml_collections import ConfigDict

from maskgit_prompt import config as defaults


def get_config(stage: str = "tokenizer") -> ConfigDict:
    return defaults.maskgit(stage, 256, "pretrain_imagenet256.py")
