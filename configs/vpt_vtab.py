"""VTAB-1k as Visual Prompt Tuning has it: settings chosen on 200 images, then five seeds.

    python -m maskgit_prompt.main --config=configs/vpt_vtab.py --workdir=runs/vpt \\
        --config.backbone=models/vit_b16_21k
    python -m maskgit_prompt.main --config=configs/vpt_vtab.py:natural,method=linear \\
        --workdir=runs/linear
    python -m maskgit_prompt.main --config=configs/vpt_vtab.py:svhn,dtd,epochs=20 \\
        --workdir=runs/two
    python -m maskgit_prompt.main --config=configs/vpt_vtab.py:svhn,folder=data/vtab-1k \\
        --workdir=runs/svhn
    python -m maskgit_prompt.main --config=configs/vpt_vtab.py:dmlab,eurosat,settings=vpt-demo \\
        --workdir=runs/demo --config.backbone=models/vit_b16_21k

For each task learning rate x weight decay x prompt length are tried on 800 images and judged on
200. The best are trained again on all 1,000, with five seeds, and judged on the test split. Rows
that are done are kept when the job starts again. The data are those of configs/vtab.py, or with
folder=DIR lists and images (docs/classification.md). settings=vpt-demo takes published settings of
dmlab, eurosat and sun397 in place of the grid; demo.ipynb of KMnP/vpt reports 46.62 ± 0.47, 96.15 ±
0.45 and 51.57 ± 1.40 with them. Learning rates are those of a batch of 256 (optimizer.scaled).

Not run at this size: no machine of ours has the data sets or ViT-B/16's weights.
"""

from ml_collections import ConfigDict

from maskgit_prompt import config as defaults


def get_config(arg: str = "") -> ConfigDict:
    return defaults.vpt_vtab(defaults.sweep(), arg, "vpt_vtab.py")
