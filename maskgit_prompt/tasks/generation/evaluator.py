"""The loss of whole sets of images, the same at every call and on any number of devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from maskgit_prompt import streams
from maskgit_prompt.devices import sharding
from maskgit_prompt.params import Tree
from maskgit_prompt.progress import progress
from maskgit_prompt.tasks import losses
from maskgit_prompt.tasks.generation.objectives import Objective

ROWS, CODES = 64, 4096  # images and codes scored at once, at most: 64 images of 64, 4 of 1024
DRAWS = 6000  # masks drawn for a loss, about: of many images fewer each tell as much


def make_evaluator(
    config: ConfigDict,
    objective: Objective,
    model: nnx.GraphDef,
    generator: nnx.GraphDef | None,
    mesh,
):
    """A function (parameters, codes [n, L], labels [n]) -> loss under the classes' prompts.

    What is drawn is the same at every call.

    generator: of prompts; None: the classes are the backbone's own.
    """

    @functools.partial(jax.jit, static_argnames="rounds")
    def image_losses(tree, batch, key, rounds):
        transformer = nnx.merge(model, tree["transformer"])
        if generator is None:
            condition = {"class_ids": batch["class_ids"]}
        else:
            condition = {"prompt": nnx.merge(generator, tree["prompt"])(batch["class_ids"])}
        codes = batch["codes"]

        def one(total, r):
            inputs, weights = objective.evaluated(key, codes, r, rounds)
            loss = losses.smoothed_cross_entropy(
                transformer.code_logits(inputs, **condition, pin=sharding.split_batch), codes, 0.0
            )
            return total + jnp.sum(loss * weights, -1) / jnp.sum(weights, -1), None

        return jax.lax.scan(one, jnp.zeros(len(codes)), jnp.arange(rounds))[0] / rounds

    seed_key = sharding.make_key(streams.seed_of(config.seed, "evaluate"), mesh)

    def evaluate(tree: Tree, codes: np.ndarray, labels: np.ndarray) -> float | None:
        if not len(codes):
            return None
        # What is drawn for an image depends on its chunk and its place there, not on the padding
        # that the number of devices asks for. With few images a chunk is as large: one compilation.
        chunk = min(ROWS, max(1, CODES // codes.shape[1]))
        size = sharding.whole(chunk, mesh)
        rounds = objective.rounds(max(1, min(config.score.rounds, DRAWS // len(codes))))
        found = []
        bar = progress(len(codes), "evaluate", "image", delay=5.0)
        with jax.set_mesh(mesh), bar as shown:
            for number, first in enumerate(range(0, len(codes), chunk)):
                rows = np.arange(first, first + size).clip(max=len(codes) - 1)
                batch = {"codes": codes[rows], "class_ids": labels[rows]}
                batch = sharding.to_global(batch, mesh)
                key = jax.random.fold_in(seed_key, number)
                values = sharding.to_host(image_losses(tree, batch, key, rounds), mesh)
                found.append(values[: min(chunk, len(codes) - first)])
                shown.update(len(found[-1]))
        return float(np.mean(np.concatenate(found)))

    return evaluate
