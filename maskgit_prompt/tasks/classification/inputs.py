"""What the model is given of images: pixels, or for a head alone features, computed once."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import numpy as np

from maskgit_prompt.backbones.compiled import ROWS, in_batches, rows
from maskgit_prompt.data import batches, kept
from maskgit_prompt.data.ahead import Ahead
from maskgit_prompt.data.augment import RandomCropFlip
from maskgit_prompt.data.kept import Kept
from maskgit_prompt.devices import sharding
from maskgit_prompt.params import Tree
from maskgit_prompt.progress import progress
from maskgit_prompt.tasks.classification import protocols
from maskgit_prompt.tasks.classification.plan import Plan

Inputs = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Source:
    """Rows of a set -> {name: [k, …]}.

    Attributes:
      name: "images", "masks" or "features".
      read: rows -> an array [k, …].
    """

    name: str
    read: Callable[[np.ndarray], np.ndarray]

    def __call__(self, rows: np.ndarray) -> Inputs:
        return {self.name: self.read(rows)}


def source(plan: Plan) -> Source:
    """What gives rows of the plan's images: features where a head alone is tuned, or pixels.

    Plans of the same images and method can share it.
    """
    images, part = plan.data.images, plan.backbone.part("encoder")
    pixels = Source("images", kept.if_few(len(images), part.cfg.image_size, images.read))
    beside = any((plan.sizes.prompt, plan.sizes.adapter, plan.sizes.lora))
    alone = all(pattern.startswith("head/") for pattern in plan.tuning.trainable)
    if not alone or beside or view(plan) is not None or windows(plan):
        return pixels
    tree, run = {"encoder": part.placed(plan.mesh)}, jax.jit(plan.model.seen)
    make = lambda rows: on_mesh(plan, run, tree, pixels, rows, "features")
    return Source("features", Kept(len(images), make))


def view(plan: Plan) -> RandomCropFlip | None:
    """What changes an image in training; None: nothing."""
    data = plan.config.data
    return RandomCropFlip(data.crop, data.flip) if data.crop or data.flip else None


def windows(plan: Plan) -> bool:
    """Whether each step of training sees another window of an image."""
    return protocols.find(plan.config.protocol).windows


def on_mesh(
    plan: Plan,
    run: Callable[[Tree, Inputs], jax.Array],
    tree: Tree,
    source: Callable[[np.ndarray], Inputs],
    chosen: np.ndarray,
    what: str,
) -> np.ndarray:
    """run(tree, inputs), compiled, of any number of rows: [n, …] on the host."""
    mesh, size = plan.mesh, plan.backbone.part("encoder").cfg.image_size
    per_device = min(rows(size), max(1, -(-len(chosen) // mesh.size)), ROWS)
    with jax.set_mesh(mesh), progress(len(chosen), what, "image", delay=5.0) as bar:

        def one(some: np.ndarray) -> np.ndarray:
            found = run(tree, sharding.to_global(source(some), mesh))
            bar.update(min(len(some), len(np.unique(some))))
            return sharding.to_host(found, mesh)

        return in_batches(one, np.asarray(chosen), per_device * mesh.size)


def make_batches(plan: Plan, source: Source, seed: int) -> Callable[[int], Inputs]:
    """As `Batches`; pixels are made ahead, features on the devices when they are asked for."""
    found = Batches(plan, source, seed)
    return found if source.name == "features" else Ahead(found, plan.tuning.train.steps)


class Batches:
    """step -> {"images" or "features", "labels" int32 [B]}; a pure function of seed and step."""

    def __init__(self, plan: Plan, source: Source, seed: int):
        self._plan, self._source, self._seed, self._view = plan, source, seed, view(plan)
        self._rows, self._labels = plan.data.tune, plan.data.labels(plan.data.tune)

    def __call__(self, step: int) -> Inputs:
        seed, size = self._seed, self._plan.config.train.batch_size
        chosen = batches.batch_indices(seed, step, len(self._rows), size)
        if windows(self._plan):
            found = {"images": self._windows(step, self._rows[chosen])}
        else:
            found = self._source(self._rows[chosen])
        if self._view is not None:
            rng = functools.partial(batches.generator, seed)
            found["images"] = np.stack(
                [
                    self._view(image, rng((batches.STREAM_AUGMENT, step, i)))
                    for i, image in enumerate(found["images"])
                ]
            )
        return found | {"labels": self._labels[chosen]}

    def _windows(self, step: int, rows: np.ndarray) -> np.ndarray:
        """A random window of each image, half of them mirrored; uint8 [B, S, S, 3]."""
        rng = functools.partial(batches.generator, self._seed)
        drawn = [rng((batches.STREAM_AUGMENT, step, i)).random(3) for i in range(len(rows))]
        drawn = np.stack(drawn)  # from the left, from the top, mirrored or not
        images = self._plan.data.images.read_windows(rows, drawn[:, :2])
        mirrored = drawn[:, 2] < 0.5
        images[mirrored] = images[mirrored, :, ::-1]
        return images
