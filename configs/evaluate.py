"""FID and other distances between two sets of images: real ones and generated ones.

    python -m maskgit_prompt.main --config=configs/evaluate.py --workdir=runs/scored \\
        --config.real=photos --config.generated=runs/photos/images \\
        --config.inception=pt_inception-2015-12-05-6726825d.pth

Both are folders, archives or lists of files; real images may also be the statistics that an earlier
evaluation, pytorch-fid, clean-fid or guided-diffusion saved (.npz). Without config.inception the
distances are in another network's features and are not called FID. results.json holds numbers,
intervals, counts and conventions; statistics.npz those of the real images, for the next time.

Not run with the published weights of Inception, which we never had.
"""

from ml_collections import ConfigDict

from maskgit_prompt import config as defaults


def get_config() -> ConfigDict:
    return defaults.evaluate()
