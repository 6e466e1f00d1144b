"""Several runs of tuning in one program: other learning rates, weight decays and seeds.

The runs' trained parameters are stacked along a first axis and a step is vmapped over it; what is
frozen is there once. A run gives what it would give alone, up to rounding.

Shapes: R runs.
"""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from maskgit_prompt import params, streams
from maskgit_prompt.devices import sharding
from maskgit_prompt.params import Tree
from maskgit_prompt.progress import progress
from maskgit_prompt.tuning.optimizers import make_optimizer
from maskgit_prompt.tuning.train import LossFn, make_update, split_stats

Array = jax.Array
Batches = Callable[[int], dict[str, np.ndarray]]  # step -> batch


@dataclasses.dataclass(frozen=True)
class Run:
    """What one of the runs has of its own.

    Attributes:
      learning_rate: the highest.
      seed: of dropout, of batches and of the first parameters.
    """

    learning_rate: float
    weight_decay: float
    seed: int


@dataclasses.dataclass(frozen=True)
class Together:
    """Runs that were tuned.

    Attributes:
      own: what differs between the runs, [R, …] each.
      shared: the rest of the parameter tree.
      losses: of the last step, [R]; not finite for a run whose rate was too high.
    """

    own: Tree
    shared: Tree
    losses: np.ndarray

    def of(self, run: int) -> Tree:
        """The whole parameter tree of one run."""
        return params.merge(jax.tree.map(lambda x: x[run], self.own), self.shared)


def tune_together(
    config: ConfigDict,
    around: Sequence[Tree],
    common: Tree,
    runs: Sequence[Run],
    batches: dict[int, Batches],
    loss: LossFn,
    mesh,
    *,
    stats: tuple[str, ...] = (),
    what: str = "tune",
) -> Together:
    """Tunes R parameter trees for config.train.steps.

    Args:
      config: "trainable", "train" and "optimizer" are read, but for the runs' own values.
      around: each run's own first parameters, on the mesh; of a common branch, what begins
        otherwise.
      common: the branches of the parameter tree that begin alike in all runs. What of them is not
        trained is held once.
      batches: seed -> batches, of all seeds of the runs.
      stats: patterns of what the loss renews, see train.init_state.
    """
    patterns = tuple(config.trainable)
    alike = params.flatten(common).keys() - params.flatten(around[0]).keys()
    same = lambda path: params.whole_path(path) in alike
    whole = params.flatten(common)
    trees = [params.unflatten(whole | params.flatten(tree)) for tree in around]
    splits = [_split(tree, patterns, stats) for tree in trees]
    stacked = lambda i: _stacked([split[i] for split in splits], same, len(runs))
    trainable, renewed = stacked(0), stacked(1)
    frozen = [{p: x for p, x in split[2].items() if not same(p)} for split in splits]
    varied = _stacked(frozen, same, len(runs))
    shared = params.unflatten({p: x for p, x in splits[0][2].items() if same(p)})
    seeds = list(dict.fromkeys(run.seed for run in runs))
    steps = config.train.steps
    values = {
        "learning_rate": jnp.float32([run.learning_rate for run in runs]),
        "weight_decay": jnp.float32([run.weight_decay for run in runs]),
        "seed": jnp.int32([seeds.index(run.seed) for run in runs]),
        "key": jnp.stack([jax.random.key(streams.seed_of(run.seed, "train")) for run in runs]),
    }
    optimizer = lambda run: make_optimizer(
        config.optimizer, steps, run["learning_rate"], run["weight_decay"]
    )

    def one(state, varied, run, shared, batches, step):
        update = make_update(loss, optimizer(run), config.train.micro_batches)
        if len(batches) == 1:
            [batch] = batches
        else:
            batch = jax.tree.map(lambda *rows: jnp.stack(rows)[run["seed"]], *batches)
        key = jax.random.fold_in(run["key"], step)
        return update(state, (varied, shared), batch, key)

    step_fn = jax.jit(jax.vmap(one, in_axes=(0, 0, 0, None, None, None)), donate_argnums=0)
    with jax.set_mesh(mesh):
        opt = jax.jit(jax.vmap(lambda tree, run: optimizer(run).init(tree)))(trainable, values)
        state, metrics = (trainable, opt, renewed), {"loss": np.zeros(len(runs))}
        images = steps * config.train.batch_size * len(runs)
        with progress(images, what, "image", 0) as bar:
            for step in range(steps):
                given = [sharding.to_global(batches[seed](step), mesh) for seed in seeds]
                state, metrics = step_fn(state, varied, values, shared, given, jnp.int32(step))
                if jax.default_backend() == "cpu":  # where a queue of steps can hang
                    jax.block_until_ready(metrics["loss"])
                bar.update(config.train.batch_size * len(runs))
    trained, _, renewed = state
    own = params.flatten(trained) | params.flatten(renewed) | params.flatten(varied)
    return Together(params.unflatten(own), shared, np.asarray(jax.device_get(metrics["loss"])))


def _split(tree: Tree, patterns: tuple[str, ...], stats: tuple[str, ...]) -> tuple[dict, ...]:
    """(trainable, renewed, frozen), each by path."""
    renewed, rest = split_stats(tree, stats)
    trainable, frozen = params.split(rest, patterns)
    return tuple(params.flatten(part or {}) for part in (trainable, renewed, frozen))


def _stacked(flat: Sequence[dict[str, Array]], same: Callable[[str], bool], number: int) -> Tree:
    """Each run's arrays along a first axis; what is the same in all is repeated."""
    repeat = lambda x: jnp.broadcast_to(x, (number, *x.shape))
    return params.unflatten(
        {
            path: repeat(x) if same(path) else jnp.stack([one[path] for one in flat])
            for path, x in flat[0].items()
        }
    )
