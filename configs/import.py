"""Turns another project's published weights into a backbone for --config.backbone.

    python -m maskgit_prompt.main --config=configs/import.py --config.format=maskgit \\
        --config.source=tokenizer_imagenet256_checkpoint,maskgit_imagenet256_checkpoint \\
        --workdir=models/imagenet256

Give one file, or several separated by commas; or run one command per file with the same workdir, to
which the second adds its part. With --config.download=True a source may be an address or the short
name of a published model, as --config.source=maskgit-imagenet256. Encoders for configs/classify.py
have the formats vit-npz (Google's), vit-torch (timm, MAE, MoCo v3), swin, resnet and convnext. All
formats, names and licences: docs/backbones.md.
"""

from ml_collections import ConfigDict

from maskgit_prompt import config as defaults


def get_config() -> ConfigDict:
    return defaults.import_weights()
