"""Fine-grained classes as Visual Prompt Tuning has them: settings chosen, then five seeds.

    python -m maskgit_prompt.main --config=configs/vpt_fgvc.py:data/fgvc --workdir=runs/fgvc \\
        --config.backbone=models/vit_b16_21k
    python -m maskgit_prompt.main --config=configs/vpt_fgvc.py:data/fgvc,cub,dogs,method=linear \\
        --workdir=runs/linear

The sets are cub, nabirds, flowers, dogs and cars: in data/fgvc/cub the images and the lists
train.json, val.json and test.json that the authors share. Learning rate x weight decay x prompt
length are tried on train and judged on val. The best are trained again on both, with five seeds,
and judged on test. Learning rates are those of a batch of 256 (optimizer.scaled).

Not run: no machine of ours has the images or ViT-B/16's weights.
"""

from ml_collections import ConfigDict

from maskgit_prompt import config as defaults


def get_config(arg: str = "") -> ConfigDict:
    return defaults.vpt_fgvc(defaults.sweep(), arg, "vpt_fgvc.py")
