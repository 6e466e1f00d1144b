"""Perceptual distances of images, for a tokenizer's loss and to score its reconstructions.

make_perceptual(name, image_size) takes one of three names:

    efficientnet-lite0       EfficientNet-Lite0, of the extra [perceptual]
    vgg16.pth,vgg.pth        LPIPS, by two files: a network's convolutions and its linear layers
    mini, or a folder        the feature network of a backbone

Each distance is the squared difference of unit vectors of channels (`models.perceptual`), the mean
over positions and the sum over the network's taps.

Shapes: B batch, S image size.
"""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from maskgit_prompt import backbones, params
from maskgit_prompt.backbones.compiled import in_batches, rows
from maskgit_prompt.devices import sharding
from maskgit_prompt.errors import UsageError
from maskgit_prompt.importers import efficientnet as efficientnet_files
from maskgit_prompt.importers import lpips as lpips_files
from maskgit_prompt.models import efficientnet, features, lpips
from maskgit_prompt.models.kind import Axes
from maskgit_prompt.models.perceptual import GUARD, difference
from maskgit_prompt.params import Tree
from maskgit_prompt.stored import aligned

Array = jax.Array

EFFICIENTNET = "efficientnet-lite0"
# EfficientNet-Lite0 was trained on objects that fill 224 pixels. With photographs of 64 x 64 pixels
# the right class was among its first five for four of six, and for all six once enlarged to 128.
ENLARGED = 128
PART = "perceptual"  # the weights' branch of a parameter tree


@dataclasses.dataclass(frozen=True)
class Perceptual:
    """A perceptual distance of images of one size.

    Attributes:
      name: for reports: "LPIPS (vgg)", "efficientnet-lite0", "features of mini".
      image_size: S.
      distance_fn: (weights, images, images) -> distances [B] float32, for a compiled function.
        Images are float [B, S, S, 3] in [0, 1]; differentiate by the second ones.
      tree: the weights, arrays on this host: frozen, so never differentiated nor donated.
      axes: where they lie on a mesh, as the branch "perceptual" of a tree.
    """

    name: str
    image_size: int
    distance_fn: Callable[[Tree, Array, Array], Array]
    tree: Tree = dataclasses.field(repr=False)
    axes: Axes = dataclasses.field(repr=False)


def make_perceptual(
    name: str,
    image_size: int,
    *,
    resize: int = 0,
    dtype: str = "float32",
    guard: float = GUARD,
    key: str = "config.perceptual",
) -> Perceptual:
    """The distance that a name stands for, see this file's head.

    Args:
      image_size: S.
      resize: the side that images are brought to first, linearly. 0: EfficientNet-Lite0 enlarges
        images below 128 pixels to 128; LPIPS, which was trained on 64 x 64 pixels, and feature
        networks take them as they are.
      dtype: of weights; of activations, too, but for a feature network. Distances are float32.
      guard: see `models.perceptual.difference`; 0 gives LPIPS as published, for scores.
      key: where the user gave the name, for messages.

    Raises:
      UsageError: no such name, a backbone without a feature network, images that are too small.
      UserError: files that are damaged or do not fit, a package that is not installed.
    """
    if name == EFFICIENTNET:
        network = _efficientnet(dtype)
    elif name in backbones.EMBEDDED or (pathlib.Path(name) / "config.json").is_file():
        network = _features(name, key)
    elif name and ("," in name or pathlib.Path(name).is_file()):
        network = _lpips(name, dtype)
    else:
        raise UsageError(
            f"{key} = {name!r}, expected {EFFICIENTNET}, {', '.join(backbones.EMBEDDED)}, the "
            "folder of a backbone, or two files for LPIPS, as vgg16.pth,vgg.pth"
        )
    size = resize or max(image_size, network.enlarged)
    if size < network.smallest:
        raise UsageError(
            f"{key} = {name!r} takes images of at least {network.smallest} pixels a side, not "
            f"{size}; use larger images or another network"
        )
    weights = jax.tree.map(lambda x: aligned(np.asarray(x), dtype), network.tree)
    return of_network(dataclasses.replace(network, tree=weights), image_size, size, guard)


def of_network(
    network: "Network", image_size: int, size: int = 0, guard: float = GUARD
) -> Perceptual:
    """The distance in a network's maps.

    size: that images of image_size are brought to first; 0: the same. Others: as make_perceptual.
    """
    graphdef, _ = params.create(network.make)

    def distance_fn(weights: Tree, x: Array, y: Array) -> Array:
        model = nnx.merge(graphdef, weights)
        if size not in (0, image_size):
            shape = (len(x), size, size, 3)
            x, y = (jax.image.resize(images, shape, "linear") for images in (x, y))
        maps = network.maps(model, x, y, guard)
        return sum(jnp.mean(differences, (1, 2)) for differences in maps)

    axes = backbones.axes(PART, network.axes)
    return Perceptual(network.name, image_size, distance_fn, network.tree, axes)


def make_measure(
    perceptual: Perceptual, mesh: Mesh
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A function: uint8 images [n, S, S, 3] and their reconstructions, any n -> distances [n].

    It computes at full precision, where a loss may use bfloat16 or TF32.
    """
    weights = sharding.place({PART: perceptual.tree}, mesh, perceptual.axes)[PART]

    @jax.jit
    def run(weights: Tree, pairs: Array) -> Array:  # [B, 2, S, S, 3] -> [B]
        x = pairs.astype(jnp.float32) / 255
        with jax.default_matmul_precision("highest"):
            return perceptual.distance_fn(weights, x[:, 0], x[:, 1])

    def one(pairs: np.ndarray) -> np.ndarray:
        with jax.set_mesh(mesh):
            found = run(weights, sharding.to_global({"x": pairs}, mesh)["x"])
        return sharding.to_host(found, mesh)

    size = rows(perceptual.image_size) * mesh.size
    return lambda real, made: in_batches(one, np.stack([real, made], 1), size)


# --- The networks ---------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Network:
    """A network with its weights.

    Attributes:
      make: nnx.Rngs -> the network.
      maps: (the network, images, images, guard) -> differences [B, H, H] at each tap.
      smallest: the least size of images; enlarged: the size that smaller ones are enlarged to.
    """

    name: str
    make: Callable[[nnx.Rngs], nnx.Module]
    tree: Tree
    axes: Axes
    maps: Callable[[Any, Array, Array, float], list[Array]]
    smallest: int = 1
    enlarged: int = 0


def _maps(model: Any, x: Array, y: Array, guard: float) -> list[Array]:
    # One after the other, not as one batch: the backward pass then needs nothing of x.
    pairs = zip(model.taps(x), model.taps(y), strict=True)
    return [difference(a, b, guard=guard) for a, b in pairs]


def efficientnet_shapes(dtype: str) -> Network:
    """EfficientNet-Lite0; the shapes of its weights stand for them."""
    cfg = dataclasses.replace(efficientnet.TAPS, dtype=dtype)
    make = lambda rngs: efficientnet.EfficientNet(cfg, rngs=rngs)
    shapes = backbones.abstract(make)
    return Network(EFFICIENTNET, make, shapes, efficientnet.AXES, _maps, enlarged=ENLARGED)


def lpips_shapes(cfg: lpips.LpipsConfig) -> Network:
    """LPIPS; the shapes of its weights stand for them."""
    make = lambda rngs: lpips.Lpips(cfg, rngs=rngs)
    return Network(
        f"LPIPS ({cfg.network})",
        make,
        backbones.abstract(make),
        lpips.AXES,
        lambda model, x, y, guard: model.maps(2 * x - 1, 2 * y - 1, guard),
        smallest=lpips.SMALLEST[cfg.network],
    )


def _efficientnet(dtype: str) -> Network:
    network = efficientnet_shapes(dtype)
    _, whole = efficientnet_files.read(efficientnet_files.find())
    whole = params.flatten(whole)
    tree = params.unflatten({path: whole[path] for path in params.flatten(network.tree)})
    return dataclasses.replace(network, tree=tree)


def _features(name: str, key: str) -> Network:
    backbone = backbones.load(name, key)
    if "features" not in backbone.parts:
        raise UsageError(
            f"{key} = {name!r}: this backbone has no feature network, only "
            f"{', '.join(backbone.parts)}; give {' or '.join(backbones.EMBEDDED)}"
        )
    part = backbone.part("features")
    if part.kind != features.KIND.name:
        raise UsageError(
            f"{key} = {name!r}: its feature network is of the kind {part.kind!r}, which is for "
            f"scores, not for losses; give {' or '.join(backbones.EMBEDDED)}"
        )
    return Network(
        f"features of {backbone.name}",
        backbones.make_module(part.kind, part.cfg),
        part.tree,
        backbones.kinds()[part.kind].axes,
        _maps,
        smallest=2**part.cfg.stages,
    )


def _lpips(name: str, dtype: str) -> Network:
    cfg, tree = lpips_files.read(name.split(","))
    return dataclasses.replace(lpips_shapes(dataclasses.replace(cfg, dtype=dtype)), tree=tree)
