"""Images from a prompt file.

    python -m maskgit_prompt.main --config=configs/sample.py --workdir=samples \\
        --config.prompt=runs/quickstart/prompt.safetensors

A workdir holds the images of one configuration: the same command again makes the same images, and a
changed one needs another --workdir. All settings are in docs/configuration.md. Some of them:

    --config.classes=3 --config.classes=8 --config.num=40     forty threes and forty eights
    --config.header=instance-class --config.sample.cutoff=0.5  each image begins as a training image
    --config.header=instance:digits/0017 --config.header=class:3 --config.header=class:8
                                                               any number of prompts, in this order
    --config.sample.steps=24 --config.sample.guidance=2        instead of the prompt file's values
    --config.image=photo.png --config.keep=left                the left half stays, the rest is new
    --config.image=photo.png "--config.keep=outside 2:6,2:6"   inpainting of a box of codes
"""

from ml_collections import ConfigDict

from maskgit_prompt import config as defaults


def get_config() -> ConfigDict:
    return defaults.sample()
