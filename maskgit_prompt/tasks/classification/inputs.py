"""What the model is given of images: pixels, or for a head alone features, computed once."""

import functools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import jax
import numpy as np

from maskgit_prompt.backbones.compiled import ROWS, in_batches, rows
from maskgit_prompt.data import batches
from maskgit_prompt.data.augment import RandomCropFlip
from maskgit_prompt.data.images import ImageSet
from maskgit_prompt.devices import sharding
from maskgit_prompt.params import Tree
from maskgit_prompt.progress import progress
from maskgit_prompt.tasks.classification.plan import Plan

Inputs = dict[str, np.ndarray]
KEPT_BYTES = 2**31  # of pixels that are kept in memory
AHEAD = 3  # batches that are made before they are asked for


class Pixels:
    """Rows of a set -> {"images": uint8 [k, S, S, 3]}; small sets are read once."""

    def __init__(self, images: ImageSet, size: int):
        self._images, self._kept = images, {}
        self._few = len(images) * size**2 * 3 <= KEPT_BYTES

    def __call__(self, rows: np.ndarray) -> Inputs:
        rows = np.asarray(rows)
        if not self._few:
            return {"images": self._images.read(rows)}
        new = np.array([row for row in dict.fromkeys(rows.tolist()) if row not in self._kept], int)
        if len(new):
            self._kept |= dict(zip(new.tolist(), self._images.read(new), strict=True))
        return {"images": np.stack([self._kept[row] for row in rows.tolist()])}


class Features:
    """Rows of a set -> {"features": float32 [k, D]} of the frozen encoder, computed once."""

    def __init__(self, plan: Plan, pixels: Pixels):
        self._plan, self._pixels = plan, pixels
        self._found: dict[int, np.ndarray] = {}
        self._tree = {"encoder": plan.backbone.part("encoder").placed(plan.mesh)}
        self._run = jax.jit(lambda tree, inputs: plan.model.seen(tree, inputs))

    def __call__(self, rows: np.ndarray) -> Inputs:
        rows = np.asarray(rows)
        new = np.array([row for row in dict.fromkeys(rows.tolist()) if row not in self._found], int)
        if len(new):
            found = on_mesh(self._plan, self._run, self._tree, self._pixels, new, "features")
            self._found |= dict(zip(new.tolist(), found, strict=True))
        return {"features": np.stack([self._found[row] for row in rows.tolist()])}


def source(plan: Plan) -> Callable[[np.ndarray], Inputs]:
    """What gives rows of the plan's images, as cheaply as the method allows."""
    pixels = Pixels(plan.data.images, plan.backbone.part("encoder").cfg.image_size)
    beside = any((plan.sizes.prompt, plan.sizes.adapter, plan.sizes.lora))
    alone = all(pattern.startswith("head/") for pattern in plan.tuning.trainable)
    if alone and not beside and view(plan) is None:
        return Features(plan, pixels)
    return pixels


def view(plan: Plan) -> RandomCropFlip | None:
    """What changes an image in training; None: nothing."""
    data = plan.config.data
    return RandomCropFlip(data.crop, data.flip) if data.crop or data.flip else None


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

    def __init__(self, plan: Plan, source: Callable[[np.ndarray], Inputs]):
        self._plan, self._source, self._view = plan, source, view(plan)
        self._rows, self._labels = plan.data.tune, plan.data.labels(plan.data.tune)
        self._pool = ThreadPoolExecutor(1, "batches")
        self._started: dict[int, Future] = {}

    def __call__(self, step: int) -> Inputs:
        if isinstance(self._source, Features):  # computes on the devices, so not beside a step
            return self._make(step)
        for ahead in range(step, min(step + AHEAD, self._plan.tuning.train.steps)):
            if ahead not in self._started:
                self._started[ahead] = self._pool.submit(self._make, ahead)
        return self._started.pop(step).result()

    def _make(self, step: int) -> Inputs:
        seed, size = self._plan.config.seed, self._plan.config.train.batch_size
        chosen = batches.batch_indices(seed, step, len(self._rows), size)
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
