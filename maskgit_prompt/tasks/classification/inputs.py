"""What the model is given of images: pixels, or for a head alone features, computed once."""

import functools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import jax
import numpy as np

from maskgit_prompt.backbones.compiled import ROWS, in_batches, rows
from maskgit_prompt.data import batches
from maskgit_prompt.data.augment import RandomCropFlip
from maskgit_prompt.devices import sharding
from maskgit_prompt.params import Tree
from maskgit_prompt.progress import progress
from maskgit_prompt.tasks.classification import protocols
from maskgit_prompt.tasks.classification.plan import Plan

Inputs = dict[str, np.ndarray]
KEPT_BYTES = 2**31  # of pixels that are kept in memory
AHEAD = 3  # batches that are made before they are asked for


class Kept:
    """Rows of a set -> {name: [k, …]}; each row is made once, and kept.

    Args:
      name: "images" or "features".
      number: of rows.
      make: rows -> arrays [k, …].
    """

    def __init__(self, name: str, number: int, make: Callable[[np.ndarray], np.ndarray]):
        self.name, self._make = name, make
        self._there = np.zeros(number, bool)
        self._arrays: np.ndarray | None = None  # pages that no row has come to take no memory

    def __call__(self, rows: np.ndarray) -> Inputs:
        rows = np.asarray(rows)
        new = np.unique(rows[~self._there[rows]])
        if len(new):
            made = self._make(new)
            if self._arrays is None:
                self._arrays = np.empty((len(self._there), *made.shape[1:]), made.dtype)
            self._arrays[new] = made
            self._there[new] = True
        return {self.name: self._arrays[rows]}


def source(plan: Plan) -> Callable[[np.ndarray], Inputs]:
    """What gives rows of the plan's images: features where a head alone is tuned, or pixels.

    Plans of the same images and method can share it.
    """
    images, part = plan.data.images, plan.backbone.part("encoder")
    pixels = lambda rows: {"images": images.read(rows)}
    if len(images) * part.cfg.image_size**2 * 3 <= KEPT_BYTES:
        pixels = Kept("images", len(images), images.read)
    beside = any((plan.sizes.prompt, plan.sizes.adapter, plan.sizes.lora))
    alone = all(pattern.startswith("head/") for pattern in plan.tuning.trainable)
    if not alone or beside or view(plan) is not None or windows(plan):
        return pixels
    tree, run = {"encoder": part.placed(plan.mesh)}, jax.jit(plan.model.seen)
    make = lambda rows: on_mesh(plan, run, tree, pixels, rows, "features")
    return Kept("features", len(images), make)


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


class Batches:
    """step -> {"images" or "features", "labels" int32 [B]}; a pure function of seed and step."""

    def __init__(self, plan: Plan, source: Callable[[np.ndarray], Inputs], seed: int):
        self._plan, self._source, self._seed, self._view = plan, source, seed, view(plan)
        self._rows, self._labels = plan.data.tune, plan.data.labels(plan.data.tune)
        self._pool = ThreadPoolExecutor(1, "batches")
        self._started: dict[int, Future] = {}

    def __call__(self, step: int) -> Inputs:
        if getattr(self._source, "name", "") == "features":  # they are computed on the devices
            return self._make(step)
        for ahead in range(step, min(step + AHEAD, self._plan.tuning.train.steps)):
            if ahead not in self._started:
                self._started[ahead] = self._pool.submit(self._make, ahead)
        return self._started.pop(step).result()

    def _make(self, step: int) -> Inputs:
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
