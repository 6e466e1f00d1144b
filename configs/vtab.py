"""The main job on VTAB's 19 tasks, with one backbone: a prompt, scores and a report per task.

    python -m maskgit_prompt.main --config=configs/vtab.py --workdir=runs/vtab
    python -m maskgit_prompt.main --config=configs/vtab.py:svhn,dtd --workdir=runs/two
    python -m maskgit_prompt.main --config=configs/vtab.py:structured,split=train800 --workdir=...
    python -m maskgit_prompt.main --config=configs/vtab.py --config.backbone=mini \\
        --config.steps=20 --workdir=runs/small

The data is what TFDS has prepared in --config.data.data_dir, $TFDS_DATA_DIR or
~/tensorflow_datasets. Tasks without data are listed with the command that prepares them. The
backbone is MaskGIT's for ImageNet 256 x 256, which --config.download=True fetches the first time
(configs/imagenet256.py). More: docs/vtab.md.

The settings are those of google-research/generative_transfer: tuned on `train` for 100 epochs in
batches of 32, compared with `all` (trainval and test), 32 prompt tokens of the additive kind, Adam
at 1e-3 with half a cosine. Two limits are ours: at most 50,000 steps per task, and 5,000 generated
images per task in the proportions of the classes.

Not run at full size: neither the data sets nor the published weights can be fetched where this was
written. All 19 tasks were run on a CPU with `mini` and small data in each builder's own format.
"""

from ml_collections import ConfigDict

from maskgit_prompt import config as defaults


def get_config(arg: str = "") -> ConfigDict:
    config = defaults.published(defaults.transfer(), "maskgit-imagenet256")
    return defaults.vtab(config, arg, "vtab.py")
