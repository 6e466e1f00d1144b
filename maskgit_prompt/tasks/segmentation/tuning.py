"""Tuning of a segmenter, and its answers."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from maskgit_prompt import params
from maskgit_prompt.data import batches, kept
from maskgit_prompt.data.masks import IGNORED
from maskgit_prompt.devices import sharding
from maskgit_prompt.metrics import segmentation
from maskgit_prompt.models.head import AXES
from maskgit_prompt.params import Tree
from maskgit_prompt.tasks.classification.inputs import Inputs, Source, on_mesh
from maskgit_prompt.tasks.classification.tuning import first_parameters
from maskgit_prompt.tasks.segmentation.model import segmentation_loss
from maskgit_prompt.tasks.segmentation.plan import Plan
from maskgit_prompt.tuning import tuned_file
from maskgit_prompt.tuning.tune import Examples, Tuned, tune

AT_ONCE = 64  # images whose answers are counted at once
MOST = 200  # images to tune on whose error is measured

Answers = Callable[[Tree, np.ndarray], np.ndarray]  # parameters, rows -> uint8 [n, S, S]


@dataclasses.dataclass(frozen=True)
class Given:
    """What a plan's rows give.

    Attributes:
      inputs: rows -> {"images": uint8 [n, S, S, 3]}.
      masks: rows -> {"masks": uint8 [n, S, S]}.
    """

    inputs: Source
    masks: Source


def given(plan: Plan) -> Given:
    """Reads files once where the pixels of all fit in memory."""
    images, size = plan.data.images, plan.backbone.part("encoder").cfg.image_size
    keep = lambda read: kept.if_few(len(images), size, read)
    return Given(Source("images", keep(images.read)), Source("masks", keep(images.masks)))


def tune_segmenter(plan: Plan, data: Given, home: pathlib.Path) -> tuple[Tuned, Tree]:
    """(how it went; what a file must hold beside the backbone, on the host)."""
    mesh, answers = plan.mesh, answering(plan, data)
    tree = whole(plan, first_parameters(plan, plan.config.seed))
    tuned = tune(
        plan.tuning, tree, segmentation_loss(plan.model), examples(plan, data, answers), home, mesh
    )
    changed = tuned_file.changed(tuned.tree, plan.tuning.trainable, "encoder")
    return tuned, sharding.tree_to_host(changed, mesh)


def whole(plan: Plan, around: Tree) -> Tree:
    """All parameters on the mesh: the backbone's, and what stands around it or is in its place."""
    encoder = plan.backbone.part("encoder").placed(plan.mesh)
    own = {name: branch for name, branch in around.items() if name != "encoder"}
    placed = sharding.place(own, plan.mesh, AXES)
    return placed | {"encoder": params.overlaid(encoder, around.get("encoder", {}))}


def examples(plan: Plan, data: Given, answers: Answers) -> Examples:
    """Batches, and shares of wrong pixels on images tuned on and, if asked for, held-out ones."""
    rows, size = plan.data.tune, plan.config.train.batch_size

    def batch(step: int) -> Inputs:
        chosen = rows[batches.batch_indices(plan.config.seed, step, len(rows), size)]
        return data.inputs(chosen) | data.masks(chosen)

    def wrong(some: np.ndarray) -> Callable[[Tree], float]:
        return lambda tree: 1 - judged(plan, data, answers, tree, some).accuracy

    parts = {"train": rows[:MOST]}
    if plan.config.train.evaluate_every:
        parts["heldout"] = plan.data.test
    return Examples(len(rows), batch, {name: wrong(some) for name, some in parts.items()})


def answering(plan: Plan, data: Given) -> Answers:
    """What computes answers; compiled once."""
    run = jax.jit(
        lambda tree, inputs: jnp.argmax(plan.model.logits(tree, inputs), -1).astype(jnp.uint8)
    )
    return lambda tree, rows: on_mesh(plan, run, tree, data.inputs, rows, "segment")


def judged(
    plan: Plan, data: Given, answers: Answers, tree: Tree, rows: np.ndarray
) -> segmentation.Judgement:
    """Answers of all pixels of images, AT_ONCE at a time."""
    classes = len(plan.data.images.classes)

    def confusions() -> Iterator[np.ndarray]:
        for first in range(0, len(rows), AT_ONCE):
            some = rows[first : first + AT_ONCE]
            masks = data.masks(some)["masks"]
            yield segmentation.counts(masks, answers(tree, some), classes, IGNORED)

    return segmentation.judge(confusions())
