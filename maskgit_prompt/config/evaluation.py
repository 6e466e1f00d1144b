"""The defaults of the job that compares two sets of images."""

from ml_collections import ConfigDict

from maskgit_prompt.config.defaults import base


def evaluate() -> ConfigDict:
    """Real images against generated ones."""
    config = base("evaluate")
    for name in ("backbone", "dtype", "attention"):  # features are computed in float32
        del config[name]
    config.seed = 2020  # seed of KID's subsets, MIND's directions and the Inception Score's split
    # The real images: a folder with all its folders, a zip or tar archive, a list of files (.txt),
    # or their statistics (.npz).
    config.real = ""
    config.generated = ""  # the generated images: as config.real, but no statistics
    # FID's Inception network: its file, a folder that it was imported into, an address or its short
    # name; empty: EfficientNet-Lite0 if it is installed, else the features of mini64.
    config.inception = ""
    # How images come to the network's size: "legacy_pytorch" (pytorch-fid), "legacy_tensorflow"
    # (torch-fidelity, guided-diffusion) or "clean" (clean-fid).
    config.resize = "legacy_pytorch"
    config.size = 0  # side that all images are brought to before that; 0: they stay as they are
    # How an image becomes square, with a size: "crop", "resize", "pad" or "inside".
    config.fit = "crop"
    config.kid = ConfigDict(
        {
            "subsets": 100,  # number of KID's subsets
            "size": 1000,  # images in each, and no more than the smaller set has
        }
    )
    config.directions = 1000  # directions that MIND projects on
    config.splits = 10  # parts of the Inception Score
    config.neighbours = 3  # neighbours that precision, recall, density and coverage look at
    config.most = 5000  # images of each set for these four, at most; 0: all
    return config
