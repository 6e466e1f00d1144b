"""ResNet and ConvNeXt of three projects' names against loops, and what is tuned around them."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from maskgit_prompt import backbones, params
from maskgit_prompt.errors import UserError
from maskgit_prompt.importers import convnext as convnext_files
from maskgit_prompt.importers import resnet as resnet_files
from maskgit_prompt.importers.rules import Options
from maskgit_prompt.models import convnext, resnet
from maskgit_prompt.models.prompts import Prompt
from tests.golden_models import close
from tests.models import by_hand

STACK = 1e-4
RESIDUAL, STAGED = (2, 1, 1, 1), (2, 1, 2)
SIZE = 40  # ConvNeXt's second merge leaves out the last of 5 rows
TIMM = (
    (r"features\.0\.", r"stem."),
    (r"features\.1\.(\d+)\.", r"stages.0.blocks.\1."),
    (r"features\.3\.(\d+)\.", r"stages.1.blocks.\1."),
    (r"features\.5\.(\d+)\.", r"stages.2.blocks.\1."),
    (r"features\.2\.", r"stages.1.downsample."),
    (r"features\.4\.", r"stages.2.downsample."),
    (r"block\.0\.", "conv_dw."),
    (r"block\.2\.", "norm."),
    (r"block\.3\.", "mlp.fc1."),
    (r"block\.5\.", "mlp.fc2."),
    (r"layer_scale", "gamma"),
    (r"classifier\.0\.", "head.norm."),
    (r"classifier\.2\.", "head.fc."),
)
AUTHORS = (
    (r"stem\.", "downsample_layers.0."),
    (r"stages\.(\d)\.downsample\.", r"downsample_layers.\1."),
    (r"\.blocks\.", "."),
    (r"conv_dw", "dwconv"),
    (r"mlp\.fc", "pwconv"),
    (r"head\.norm", "norm"),
    (r"head\.fc", "head"),
)


def images(size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 1, (2, size, size, 3)).astype(np.float32)


def residual() -> by_hand.Weights:
    return by_hand.resnet_weights(RESIDUAL, np.random.default_rng(0))


def staged(project: str = "torchvision") -> by_hand.Weights:
    found = by_hand.convnext_weights(8, STAGED, np.random.default_rng(0))
    for renamed in {"torchvision": (), "timm": (TIMM,), "authors": (TIMM, AUTHORS)}[project]:
        for theirs, ours in renamed:
            found = {re.sub(theirs, ours, name): x for name, x in found.items()}
    if project != "torchvision":
        found = {n: x.reshape(-1) if n.endswith("gamma") else x for n, x in found.items()}
    return found


def imported(part: backbones.Part) -> nnx.Module:
    return nnx.merge(part.graphdef(), jax.tree.map(np.asarray, part.tree))


def test_resnet_of_torchvisions_names():
    part = resnet_files.read(residual(), "a.pth", Options(image_size=SIZE))["encoder"]
    assert (part.cfg.layers, part.cfg.image_size, part.kind) == (RESIDUAL, SIZE, "resnet")
    assert part.cfg.mean == (0.485, 0.456, 0.406)
    expected = by_hand.resnet(residual(), images().transpose(0, 3, 1, 2), RESIDUAL)
    found = imported(part)(images())
    assert found.shape == (2, 2048) and found.dtype == jnp.float32
    close(found, expected, STACK)


@pytest.mark.parametrize("project", ["torchvision", "timm", "authors"])
def test_convnext_of_each_projects_names(project):
    part = convnext_files.read(staged(project), "a.pth", Options(image_size=SIZE))["encoder"]
    assert (part.cfg.width, part.cfg.layers, part.kind) == (8, STAGED, "convnext")
    expected = by_hand.convnext(staged(), images().transpose(0, 3, 1, 2), STAGED)
    close(imported(part)(images()), expected, STACK)


def made(kind: str, remat: bool) -> nnx.Module:
    cfg = {
        "resnet": resnet.ResNetConfig(32, (1, 1, 1, 1), remat=remat),
        "convnext": convnext.ConvNeXtConfig(32, 8, (1, 2), remat=remat),
    }[kind]
    return backbones.make_module(kind, cfg)(nnx.Rngs(0))


@pytest.mark.parametrize("kind", ["resnet", "convnext"])
def test_a_frame_stands_around_the_images(kind):
    """Images of 32 in a frame of 2 pixels are those of 36; the frame alone has a gradient."""
    network, x = made(kind, False), images(32)
    frame = np.random.default_rng(2).normal(0, 1, (2, 36, 36, 3)).astype(np.float32)
    whole = frame.copy()
    whole[:, 2:34, 2:34] = x
    np.testing.assert_array_equal(network(x, Prompt(frame=frame)), network(whole))
    loss = lambda network: lambda frame: (network(x, Prompt(frame=frame)) ** 2).sum()
    gradient = jax.grad(loss(network))(frame)
    assert not gradient[:, 2:34, 2:34].any() and gradient[:, :2].any() and gradient[:, :, 34:].any()
    close(jax.grad(loss(made(kind, True)))(frame), gradient, STACK)
    with pytest.raises(ValueError, match="prompt of tokens, expected a frame: there are no tokens"):
        network(x, Prompt(tokens=np.zeros((2, 1, 8), np.float32)))


@pytest.mark.parametrize(
    "network, name, head, count",
    [
        # As torchvision's pages give them, a head for 1,000 classes included.
        (resnet, "50", 2048, 25_557_032),
        (resnet, "101", 2048, 44_549_160),
        (resnet, "152", 2048, 60_192_808),
        (convnext, "T", 768, 28_589_128),
        (convnext, "S", 768, 50_223_688),
        (convnext, "B", 1024, 88_591_464),
        (convnext, "L", 1536, 197_767_336),
    ],
)
def test_published_numbers_of_parameters(network, name, head, count):
    cfg = network.CONFIGS[name]
    tree = params.flatten(backbones.abstract(backbones.make_module(network.KIND.name, cfg)))
    counted = (x for path, x in tree.items() if not re.fullmatch(resnet.STATS, path))
    assert cfg.features == head
    assert sum(x.size for x in counted) + (head + 1) * 1000 == count


def test_files_that_are_not_such_networks():
    odd = residual() | {"layer1.0.se.weight": np.zeros(3, np.float32)}
    del odd["layer2.0.bn3.running_var"]
    with pytest.raises(
        UserError, match=r"layer1.0.se.weight \(3,\) is unexpected; layer2.0.bn3.run"
    ):
        resnet_files.read(odd, "a.pth", Options())
    with pytest.raises(
        UserError, match="holds no residual network of bottlenecks, expected layer4"
    ):
        resnet_files.read(staged(), "a.pth", Options())
    with pytest.raises(
        UserError, match="holds no ConvNeXt, expected features.0.0.weight or stem.0"
    ):
        convnext_files.read(residual(), "a.pth", Options())
    odd = staged("timm")
    del odd["stages.1.blocks.0.gamma"]
    with pytest.raises(UserError, match="stages.1.blocks.N.gamma is missing"):
        convnext_files.read(odd, "a.pth", Options())
    with pytest.raises(UserError, match="images of 8, expected at least 16"):
        convnext_files.read(staged(), "a.pth", Options(image_size=8))
