"""Pretrains Taming Transformers at their published size, on ImageNet.

    python -m maskgit_prompt.main --config=configs/pretrain_taming.py:tokenizer \\
        --workdir=runs/taming/1 --config.reconstruction.network=vgg16.pth,vgg.pth
    python -m maskgit_prompt.main --config=configs/pretrain_taming.py:transformer \\
        --workdir=runs/taming/2 --config.backbone=runs/taming/1/backbone

Images come from TFDS (imagenet2012, prepared by hand as TFDS asks), or from where
--config.data.sets says. Trained are the VQGAN f16 of 16,384 codes and the GPT of 1.4 billion
parameters. vgg16.pth and vgg.pth are the files of LPIPS (docs/backbones.md). Sizes,
losses and optimizer are those of CompVis/taming-transformers: a constant learning rate of 4.5e-6
per image of a batch, a patch discriminator from step 250,001 on, its weight adapted. Its
discriminator has batch norms, ours group norms. Steps and batch sizes are ours.

Not run at this size. benchmarks/README.md says which steps were compiled for TPU slices.
"""

from ml_collections import ConfigDict

from maskgit_prompt import config as defaults


def get_config(stage: str = "tokenizer") -> ConfigDict:
    return defaults.taming(stage, "pretrain_taming.py")
