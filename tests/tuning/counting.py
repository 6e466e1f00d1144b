"""Steps that only count: after step n every trained number is n, its average 10 n, stats 100 n."""

import dataclasses
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax

from maskgit_prompt.tuning import train

# What evaluations give after each step: one loss falls, the other is smallest in the middle.
TRAIN_LOSS, HELDOUT_LOSS = {1: 30.0, 2: 20.0, 3: 10.0}, {1: 3.0, 2: 1.0, 3: 2.0}


@dataclasses.dataclass
class Steps:
    """Takes the place of train.make_step; every loss is 7.

    Attributes:
      made: the loss function and the options that the step was made with.
      like: the state whose place the step was made for.
      tx: the optimizer.
      batches, keys: of each step.
    """

    made: dict = dataclasses.field(default_factory=dict)
    like: train.TrainState | None = None
    tx: optax.GradientTransformation | None = None
    batches: list[dict] = dataclasses.field(default_factory=list)
    keys: list[jax.Array] = dataclasses.field(default_factory=list)

    def make(self, loss_fn, tx, like, **options):
        self.made, self.like, self.tx = {"loss_fn": loss_fn, **options}, like, tx
        return self._step

    def _step(self, state, frozen, batch, key):
        self.batches.append(jax.device_get(batch))
        self.keys.append(key)
        return _advance(state), {"loss": 7.0, "grad_norm": 0.5}


@jax.jit
def _advance(state: train.TrainState) -> train.TrainState:
    number = state.step + 1
    fill = lambda tree, x: jax.tree.map(lambda a: jnp.full_like(a, x), tree)
    average = None if state.ema is None else fill(state.ema, 10 * number)
    stats = None if state.stats is None else fill(state.stats, 100 * number)
    return state.replace(
        step=number, trainable=fill(state.trainable, number), ema=average, stats=stats
    )


def values(tree) -> set[float]:
    """The numbers that a tree is filled with."""
    return {float(x) for leaf in jax.tree.leaves(tree) for x in np.ravel(leaf)}


def rows(folder: pathlib.Path) -> list[dict]:
    """The lines of metrics.jsonl."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
