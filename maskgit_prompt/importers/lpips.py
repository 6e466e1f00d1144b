"""LPIPS from the files of torchvision and of richzhang/PerceptualSimilarity.

The convolutions are torchvision's vgg16-*.pth or alexnet-owt-*.pth: "features.0.weight", and a
classifier that is not read. The linear layers are lpips/weights/v0.1/vgg.pth or alex.pth of the
PyPI package lpips: "lin0.model.1.weight", of shape (1, 64, 1, 1).
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from maskgit_prompt.backbones import abstract
from maskgit_prompt.errors import UserError
from maskgit_prompt.importers import pytorch
from maskgit_prompt.importers.rules import Array, Rule, Shapes, match
from maskgit_prompt.models.lpips import NETWORKS, Lpips, LpipsConfig
from maskgit_prompt.params import Tree, flatten, unflatten
from maskgit_prompt.storage.files import sha256

FIRST = "features.0.weight"
LINEAR = re.compile(r"lin\d+\.model\.1\.weight")
CLASSIFIER = r"classifier\.\d+\.(weight|bias)"
# sha256 of weights/v0.0/vgg.pth and alex.pth: their names and shapes are those of 0.1, but they
# belong to images that are not scaled.
VERSION_0 = (
    "b9e4236260c3dd988fc79d2a48d645d885afcbb21f9fd595e6744cf7419b582c",
    "18720f55913d0af89042f13faa7e536a6ce1444a0914e6db9461355ece1e8cd5",
)
# torchvision's name of a network, for messages.
FILES = {"vgg": "VGG16", "alex": "AlexNet"}


def rules(network: str) -> list[Rule]:
    r"""Names of the two files -> paths of models.lpips.Lpips.

    torchvision counts the layers of a row. In VGG16 "features.5" is the first convolution of the
    second stage: after two convolutions and two ReLUs, 0 to 3, and a pooling, 4.
    """
    found, number = [Rule(r"lin(\d)\.model\.1\.weight", r"weights/\1", _flat)], 0
    for i, stage in enumerate(NETWORKS[network]):
        number += bool(stage.pool)
        for j in range(len(stage.widths)):
            source, ours = rf"features\.{number}", f"stages/{i}/convs/{j}"
            found.append(Rule(rf"{source}\.weight", f"{ours}/kernel", _kernel))
            found.append(Rule(rf"{source}\.bias", f"{ours}/bias"))
            number += 2
    return found


def _kernel(x):
    return x.transpose(2, 3, 1, 0)


def _flat(x):  # (1, C, 1, 1) -> (C,); impossible for any other shape
    return x.reshape(x.shape[1:2])


def read(paths: Sequence[str]) -> tuple[LpipsConfig, Tree]:
    """LPIPS from a file of convolutions and one of linear layers, in either order.

    Raises:
      UserError: a file is damaged or is not one of these two, they are of two networks or of LPIPS
        0.0, or a weight is negative or not finite; lists all that is unexpected, missing or
        misshapen.
    """
    files = {path: pytorch.read_or_safetensors(path) for path in paths}
    convolutions = [path for path, names in files.items() if FIRST in names]
    linear = [path for path, names in files.items() if any(map(LINEAR.fullmatch, names))]
    if not (len(paths) == 2 and len(convolutions) == 1 and len(linear) == 1):
        raise UserError(
            f"{' and '.join(map(str, paths))}: expected two files, torchvision's VGG16 or AlexNet "
            f"({FIRST}, …) and the linear layers of LPIPS for it (lin0.model.1.weight, …); "
            "docs/backbones.md says what to fetch"
        )
    [path], [weights] = convolutions, linear
    if sha256(weights) in VERSION_0:
        raise UserError(
            f"{weights} has the linear layers of LPIPS 0.0, expected those of 0.1: take the file "
            "of this name from lpips/weights/v0.1"
        )
    network = _network(files[path], path)
    other = _network_of_linear(files[weights], weights)
    if other not in ("", network):
        raise UserError(
            f"{weights} has the linear layers of {FILES[other]}, but {path} is {FILES[network]}; "
            "give two files of one network"
        )
    cfg = LpipsConfig(network)
    expected = flatten(abstract(lambda rngs: Lpips(cfg, rngs=rngs)))
    tree = {}
    for file, start in ((path, "stages/"), (weights, "weights/")):
        own = unflatten({name: x for name, x in expected.items() if name.startswith(start)})
        found = match(files[file], rules(network), ignored=[CLASSIFIER], expected=own, what=file)
        tree |= {name: x.read() for name, x in found.items()}
    _check_signs(tree, weights)
    return cfg, unflatten(tree)


def _network(source: Mapping[str, Array], path: str) -> str:
    """ "vgg" or "alex", by the first convolution.

    Raises:
      UserError: it is neither.
    """
    shapes = Shapes({n: tuple(x.shape) for n, x in source.items()}, path, "VGG16 or AlexNet")
    found = shapes.size(FIRST)
    for network, (stage, *_) in NETWORKS.items():
        if found == (stage.widths[0], 3, stage.size, stage.size):
            return network
    raise UserError(
        f"{path}: {FIRST} has shape {found}, expected (64, 3, 3, 3), VGG16, or (64, 3, 11, 11), "
        "AlexNet; give torchvision's weights of one of them"
    )


def _network_of_linear(source: Mapping[str, Array], path: str) -> str:
    """The network whose widths the linear layers have; "" if none has them."""
    widths = [tuple(source[name].shape) for name in sorted(source)]
    for network, stages in NETWORKS.items():
        if widths == [(1, stage.widths[-1], 1, 1) for stage in stages]:
            return network
    return ""


def _check_signs(tree: Mapping[str, np.ndarray], path: str) -> None:
    """Raises UserError for negative linear weights, which would make distances below 0."""
    for name, x in tree.items():
        if name.startswith("weights/") and x.min() < 0:
            raise UserError(
                f"{path}: lin{name.removeprefix('weights/')}.model.1.weight holds {x.min():.3g}, "
                "expected no negative weight, as in the published files; fetch it again"
            )
