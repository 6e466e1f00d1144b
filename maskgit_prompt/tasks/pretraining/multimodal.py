"""The stage that trains an encoder-decoder of images and texts, on drawn scenes."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from maskgit_prompt import params, streams
from maskgit_prompt.data.ahead import Ahead
from maskgit_prompt.devices import sharding
from maskgit_prompt.models.resnet import FrozenNorm
from maskgit_prompt.params import Tree
from maskgit_prompt.tasks.multimodal.model import (
    LossConfig,
    Multimodal,
    answer_loss,
    answer_sums,
    right_tokens,
)
from maskgit_prompt.tasks.pretraining.cells import AXES, CellHead, scene_loss
from maskgit_prompt.tasks.pretraining.lesson import Lesson, Setup
from maskgit_prompt.tasks.pretraining.scenes import SceneBatches
from maskgit_prompt.tuning.train import Batch
from maskgit_prompt.tuning.tune import Evaluation, Examples


def lesson(setup: Setup) -> Lesson:
    """Cross entropy of answers of all tasks; the smallest mean held-out loss is kept."""
    config, network, corpus = setup.config, setup.network, setup.corpus
    model = Multimodal(network.graphdef, network.cfg.mean, network.cfg.std)
    batches = SceneBatches(corpus, config.seed, config.train.batch_size)
    own = setup.own
    if config.initial_weights == "random":
        with jax.set_mesh(setup.mesh):
            first = sharding.to_global({"images": batches(0)["images"]}, setup.mesh)
            own = sharding.place_like(jax.jit(settled(model))(own, first["images"]), own)
    examples = Examples(
        number=len(corpus),
        batch=Ahead(batches),
        evaluations=_evaluations(setup, model),
        what="multimodal",
    )
    cfg, tree = LossConfig(smoothing=config.scenes.smoothing), {"multimodal": own}
    if not config.scenes.cells:
        return Lesson(answer_loss(model, cfg), tree, examples)
    head, init = params.create(lambda rngs: CellHead(network.cfg.width, rngs=rngs))
    key = jax.random.key(streams.seed_of(config.seed, "cells"))
    tree |= sharding.place({"cells": jax.device_get(jax.jit(init)(key))}, setup.mesh, AXES)
    return Lesson(scene_loss(model, cfg, head, config.scenes.cells), tree, examples)


def settled(model: Multimodal) -> Callable[[Tree, jax.Array], Tree]:
    """(the network's parameters, images [B, S, S, 3]) -> the same with the stem's averages.

    Without them what differs between images is lost beside what all have in common.
    """

    def run(weights: Tree, images: jax.Array) -> Tree:
        network = nnx.merge(model.network, weights)
        network.encoder.stem(model.normalized(images), norm=FrozenNorm.settled)
        return nnx.to_pure_dict(nnx.state(network))

    return run


def _evaluations(setup: Setup, model: Multimodal) -> dict[str, Evaluation]:
    """ "heldout", the mean of all tasks' losses in nats per token, and "wrong_TASK": the share of
    examples with a token that is not the likeliest behind the right ones before it."""
    config, corpus, mesh = setup.config, setup.corpus, setup.mesh
    size = config.train.batch_size
    held = {}
    for task in config.scenes.tasks:
        found = corpus.held_out(task, max(size, config.score.most // size * size))
        held[task] = [corpus.batch(found[i : i + size]) for i in range(0, len(found), size)]
    run = jax.jit(_judged(model))

    last: list[tuple[Tree, dict[str, np.ndarray]]] = []  # all evaluations are of the same tree

    def judge(tree: Tree) -> dict[str, np.ndarray]:
        """Task -> (sum of losses, tokens, examples that are all right, examples)."""
        if not last or last[0][0] is not tree:
            with jax.set_mesh(mesh):
                last[:] = [(tree, {task: total(tree, task) for task in held})]
        return last[0][1]

    def total(tree: Tree, task: str) -> np.ndarray:
        each = [run(tree, sharding.to_global(batch, mesh)) for batch in held[task]]
        return np.sum([[float(sharding.to_host(x, mesh)) for x in one] for one in each], axis=0)

    def mean(tree: Tree) -> float:
        return float(np.mean([loss / tokens for loss, tokens, *_ in judge(tree).values()]))

    def wrong(task: str) -> Evaluation:
        def share(tree: Tree) -> float:
            _, _, right, number = judge(tree)[task]
            return float(1 - right / number)

        return share

    return {"heldout": mean, **{f"wrong_{task}": wrong(task) for task in held}}


def _judged(model: Multimodal) -> Callable[[Tree, Batch], tuple[jax.Array, ...]]:
    def run(tree: Tree, batch: Batch):
        sums = answer_sums(model, LossConfig(), tree, batch)
        right = right_tokens(model.logits(tree, batch), batch["target"])
        return sums.nll, sums.count, jnp.sum(right), jnp.array(len(right))

    return run
