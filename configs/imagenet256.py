"""The main job with MaskGIT's published models of 256 x 256, on a folder of images.

The first time, on images in PATH/CLASS/*.png|jpg|webp:

    python -m maskgit_prompt.main --config=configs/imagenet256.py:PATH --workdir=runs/my \\
        --config.download=True

fetches MaskGIT's two files, some 0.9 GB, and imports them into the cache (docs/backbones.md).
From then on, and for every other folder of images:

    python -m maskgit_prompt.main --config=configs/imagenet256.py:PATH --workdir=runs/my

Files that you have go through the import job, and its folder is --config.backbone:

    python -m maskgit_prompt.main --config=configs/import.py --config.format=maskgit \\
        --config.source=tokenizer_imagenet256_checkpoint,maskgit_imagenet256_checkpoint \\
        --workdir=models/imagenet256

The settings are those of google-research/generative_transfer: 32 prompt tokens of the additive
kind, Adam at 1e-3 with half a cosine, batches of 32, label smoothing 0.1, cosine masking, 12
decoding steps at temperature 4.5. The reference trains 100 epochs and this config 3,000 steps, the
same for some 1,000 images (`steps=` after the path sets another number). Each image also has
a prompt of its own for the marquee header; --config.prompt.instances=False leaves these out. An
image has 256 codes. On an accelerator --config.dtype=bfloat16 saves half of the time and memory.

Not run at full size with the published weights: nothing can be fetched where this was written. With
random weights of this size, encoding, a step of tuning and decoding were run on a CPU.
"""

from ml_collections import ConfigDict

from maskgit_prompt import config as defaults


def get_config(arg: str = "") -> ConfigDict:
    config = defaults.published(defaults.transfer(), "maskgit-imagenet256")
    return defaults.folder(config, arg, "imagenet256.py")
