"""The network whose features images are compared in, and what it sees in batches of them.

FID's Inception where its weights are given; else EfficientNet-Lite0 where its package is installed;
else the feature network of an embedded backbone.

Shapes: B batch, n images, H, W image size, F numbers of a feature.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from flax import nnx
from jax.sharding import Mesh

from maskgit_prompt import backbones, params
from maskgit_prompt.backbones import Part
from maskgit_prompt.backbones.compiled import in_batches
from maskgit_prompt.devices import sharding
from maskgit_prompt.errors import UsageError
from maskgit_prompt.importers import efficientnet as efficientnet_files
from maskgit_prompt.importers import inception as inception_files
from maskgit_prompt.importers import obtain
from maskgit_prompt.importers.rules import Options
from maskgit_prompt.metrics.compared import Seen
from maskgit_prompt.models import efficientnet, inception
from maskgit_prompt.models.kind import Axes
from maskgit_prompt.models.resizing import resized
from maskgit_prompt.params import Tree
from maskgit_prompt.storage.files import sha256
from maskgit_prompt.tasks.evaluation.statistics_files import Made

INCEPTION, EFFICIENTNET, EMBEDDED = "inception", "efficientnet-lite0", "mini64"
EFFICIENTNET_SIDE = 224  # of the images that it was trained on
PART = "features"  # the weights' branch of a parameter tree
ROWS = 16  # images per device at once


@dataclasses.dataclass(frozen=True)
class Network:
    """What images are compared in.

    Attributes:
      made: its name, its weights and how it resizes.
      side: that images are resized to.
      dims: F.
      published: whether the weights are those that FID is published with; None: no Inception.
      widths: of what `see` gives, side by side: features, and of Inception spatial and logits.
      make: nnx.Rngs -> the network. tree: its weights. axes: where they lie on a mesh.
      see: (the network, pixels [B, H, W, 3] of 0 to 255) -> [B, sum of widths].
    """

    made: Made
    side: int
    published: bool | None
    widths: tuple[int, ...]
    make: Callable[[nnx.Rngs], nnx.Module] = dataclasses.field(repr=False)
    tree: Tree = dataclasses.field(repr=False)
    axes: Axes = dataclasses.field(repr=False)
    see: Callable[[Any, jax.Array], jax.Array] = dataclasses.field(repr=False)

    @property
    def dims(self) -> int:
        return self.widths[0]

    @property
    def is_inception(self) -> bool:
        return self.made.network == INCEPTION

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self.made) | {
            "side": self.side,
            "dims": self.dims,
            "published_weights": self.published,
        }


def find(path: str, resize: str, download: bool) -> Network:
    """The network to compare in.

    Args:
      path: of FID's Inception: its file, a folder that it was imported into, an address or its
        short name; empty: another network.
      resize: the convention, of models.resizing.CONVENTIONS.

    Raises:
      UsageError: nothing at the path, or it may not be fetched. UserError: another file.
    """
    if path:
        return _inception(path, resize, download)
    if efficientnet_files.installed():
        return _efficientnet(resize)
    return _embedded(resize)


def make_looking(network: Network, mesh: Mesh, most: int) -> Callable[[Iterable[np.ndarray]], Seen]:
    """A function: batches of uint8 images [k, H, W, 3] of one size, any k -> what is seen in all.

    most: images that it will be given at once, so that few are not filled up to many.
    """
    graphdef, _ = params.create(network.make)
    weights = sharding.place({PART: network.tree}, mesh, backbones.axes(PART, network.axes))[PART]
    rows = max(1, min(ROWS, -(-most // mesh.size))) * mesh.size

    @jax.jit
    def run(weights: Tree, pixels: jax.Array) -> jax.Array:
        with jax.default_matmul_precision("highest"):
            return network.see(nnx.merge(graphdef, weights), pixels)

    def one(pixels: np.ndarray) -> np.ndarray:
        with jax.set_mesh(mesh):
            found = run(weights, sharding.to_global({"x": pixels}, mesh)["x"])
        return sharding.to_host(found, mesh)

    def look(batches: Iterable[np.ndarray]) -> Seen:
        found = np.concatenate([in_batches(one, pixels, rows) for pixels in batches])
        return Seen(*np.split(found, np.cumsum(network.widths)[:-1], axis=1))

    return look


# --- The networks ---------------------------------------------------------------------------------


def _inception(path: str, resize: str, download: bool) -> Network:
    folder = pathlib.Path(path)
    if (folder / "config.json").is_file():
        backbone = backbones.load(path, "config.inception")
        part = backbone.part("features")
        origin = backbone.provenance.get("files", {}).get("features", {})
        digest = origin.get("sha256", part.sha256)
        if part.kind != inception.KIND.name:
            raise UsageError(
                f"config.inception = {path!r}: the feature network in this folder is of the kind "
                f"{part.kind!r}, expected FID's Inception; import it with configs/import.py "
                "--config.format=inception"
            )
    else:
        file = _file(path, download)
        part = _read(file)
        digest = sha256(file)
    published = digest.startswith(inception_files.PUBLISHED)
    if not published:
        logging.warning(
            "%s has other weights than FID is published with (its sha256 begins with %s, expected "
            "%s): compare the distances with none that others publish",
            path,
            digest[:8],
            inception_files.PUBLISHED,
        )
    cfg = dataclasses.replace(part.cfg, resize=resize)

    def see(model: inception.Inception, pixels: jax.Array) -> jax.Array:
        seen = model.seen(pixels.astype(jnp.float32) / 255)
        return jnp.concatenate([seen[name] for name in ("features", "spatial", "logits")], axis=1)

    return Network(
        Made(INCEPTION, digest, resize),
        inception.SIDE,
        published,
        (cfg.features, inception.SPATIAL_FEATURES, cfg.logits),
        lambda rngs: inception.Inception(cfg, rngs=rngs),
        part.tree,
        inception.AXES,
        see,
    )


def _file(path: str, download: bool) -> str:
    """The file of weights, fetched where it is elsewhere."""
    files = obtain.files(path, download, "config.inception")
    if len(files) != 1 or not pathlib.Path(files[0]).is_file():
        raise UsageError(
            f"config.inception = {path!r}: no such file, expected FID's Inception "
            "(pt_inception-2015-12-05-6726825d.pth) or a folder that it was imported into; "
            "docs/backbones.md says what to fetch"
        )
    return files[0]


def _read(file: str) -> Part:
    form = inception_files.FORMAT
    return form.networks(form.read(file), file, Options())["features"]


def _efficientnet(resize: str) -> Network:
    file = efficientnet_files.find()
    cfg, tree = efficientnet_files.read(file)
    return Network(
        Made(EFFICIENTNET, sha256(file), resize),
        EFFICIENTNET_SIDE,
        None,
        (cfg.head,),
        lambda rngs: efficientnet.EfficientNet(cfg, rngs=rngs),
        tree,
        efficientnet.AXES,
        _seen_at(EFFICIENTNET_SIDE, resize),
    )


def _embedded(resize: str) -> Network:
    part = backbones.load(EMBEDDED).part("features")
    side = part.cfg.image_size
    return Network(
        Made(EMBEDDED, part.sha256, resize),
        side,
        None,
        (part.cfg.features,),
        backbones.make_module(part.kind, part.cfg),
        part.tree,
        backbones.kinds()[part.kind].axes,
        _seen_at(side, resize),
    )


def _seen_at(side: int, resize: str) -> Callable[[Any, jax.Array], jax.Array]:
    """What a network with `features` sees in images that are resized to side x side first."""
    return lambda model, pixels: model.features(resized(pixels, side, resize) / 255)
