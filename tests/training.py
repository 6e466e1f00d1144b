"""A tiny prompt in front of a tiny masked transformer, for tests of all that trains.

The prompt has (3 classes + 1) · 2 tokens · 16 = 128 parameters; batches have 8 rows.
"""

import functools
import pathlib
from collections.abc import Callable

import jax
import numpy as np

from maskgit_prompt import backbones, params
from maskgit_prompt.config import defaults as config
from maskgit_prompt.decoding import schedules
from maskgit_prompt.devices import sharding
from maskgit_prompt.models import masked, prompt
from maskgit_prompt.models.masked import MaskedConfig, MaskedTransformer
from maskgit_prompt.models.prompt import PromptConfig, PromptGenerator
from maskgit_prompt.storage import checkpoint, workdir
from maskgit_prompt.tasks.generation import loss, objectives
from maskgit_prompt.tuning import train
from maskgit_prompt.tuning.optimizers import make_optimizer

TRANSFORMER = MaskedConfig(codebook=24, classes=3, length=9, width=16, layers=2, heads=2, mlp=32)
PROMPT = PromptConfig(kind="table", tokens=2, width=16, classes=3)
AXES = (
    *backbones.axes("transformer", masked.AXES),
    *backbones.axes("prompt", prompt.AXES),
)
PROMPT_ONLY = ("prompt/.*",)
BATCH, STEPS = 8, 6


def mesh(data: int = 1, fsdp: int = 1, tensor: int = 1) -> jax.sharding.Mesh:
    return sharding.make_mesh(data, fsdp, tensor, jax.devices()[: data * fsdp * tensor])


@functools.cache
def models() -> tuple:
    """(transformer's graphdef, prompt's graphdef, host parameters of both)."""
    graphdefs, tree = {}, {}
    for name, make in (
        ("transformer", lambda rngs: MaskedTransformer(TRANSFORMER, rngs=rngs)),
        ("prompt", lambda rngs: PromptGenerator(PROMPT, rngs=rngs)),
    ):
        graphdefs[name], init = params.create(make)
        tree[name] = jax.eval_shape(init, jax.random.key(0))
    # Drawn by numpy, which compiles nothing, and large, so that a few steps move the loss.
    rng = np.random.default_rng(0)
    draw = lambda x: 0.3 * rng.standard_normal(x.shape, np.float32)
    flat = {
        path: draw(x) + np.float32(path.endswith("scale"))
        for path, x in params.flatten(tree).items()
    }
    return graphdefs["transformer"], graphdefs["prompt"], params.unflatten(flat)


def loss_fn() -> train.LossFn:
    transformer, prompt, _ = models()
    return loss.prompt_loss(
        transformer, prompt, objectives.Masking(schedules.schedule("cosine"), smoothing=0.1)
    )


def optimizer(**changes):
    cfg = config.training(config.base("test"), steps=STEPS, batch_size=BATCH, learning_rate=0.05)
    cfg.optimizer.update(changes)
    return make_optimizer(cfg.optimizer, STEPS)


def batch(step: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(step)
    return {
        "codes": rng.integers(0, TRANSFORMER.codebook, (BATCH, TRANSFORMER.length), np.int32),
        "class_ids": rng.integers(0, PROMPT.classes, BATCH, np.int32),
        "instance_ids": np.arange(BATCH, dtype=np.int32),
    }


def start(mesh, patterns=PROMPT_ONLY, ema: bool = False, tx=None) -> tuple[train.TrainState, dict]:
    return train.init_state(place(models()[2], mesh), patterns, tx or optimizer(), mesh, ema)


def place(tree: dict, mesh) -> dict:
    return sharding.place(tree, mesh, AXES)


def step_fn(on=None, patterns=PROMPT_ONLY, ema: bool = False, **options) -> Callable:
    """The step for states as `start` makes them on a mesh, by default of one device."""
    return _step_fn(on or mesh(), patterns, ema, **options)


@functools.cache  # compiled once, however it is asked for
def _step_fn(mesh, patterns, ema: bool, **options) -> Callable:
    state, _ = start(mesh, patterns, ema)
    return train.make_step(loss_fn(), optimizer(), state, **options)


def take(mesh, steps: int = 3, patterns=PROMPT_ONLY, ema: bool = False, step=None, begin=None):
    """(state, frozen, losses) after `steps` steps.

    begin, step: another (state, frozen) and another step.
    """
    state, frozen = begin or start(mesh, patterns, ema)
    step = step or step_fn(mesh, patterns, ema)
    losses = []
    with jax.set_mesh(mesh):
        for number in range(steps):
            rows = sharding.to_global(batch(number), mesh)
            state, metrics = step(state, frozen, rows, sharding.make_key(7, mesh))
            losses.append(float(metrics["loss"]))
    return state, frozen, losses


def run(
    folder: pathlib.Path, mesh, *, begin=None, step=None, save_every: int = 2, log=None, **changes
) -> train.TrainState:
    """The loop as tune.py runs it; `log` is called after each line of metrics.

    begin, step: another (state, frozen) and another step.
    """
    metrics = workdir.Metrics(folder, tensorboard=False)

    def log_both(taken: int, values: dict[str, float]) -> None:
        metrics.log(taken, values)
        if log is not None:
            log(taken)

    loop = dict(steps=STEPS, batch=batch, log_every=1, log=log_both, batch_size=BATCH)
    with checkpoint.manager(folder / "checkpoints", save_every) as manager:
        metrics.resume(manager.latest_step() or 0)
        return train.run(
            step or step_fn(mesh),
            *(begin or start(mesh)),
            train.Loop(**{**loop, **changes}),
            mesh,
            sharding.make_key(7, mesh),
            manager,
        )


def compiled(mesh, patterns=PROMPT_ONLY):
    """The compiled step, to be read."""
    state, frozen = start(mesh, patterns)
    with jax.set_mesh(mesh):
        rows = sharding.to_global(batch(0), mesh)
        return (
            step_fn(mesh, patterns).lower(state, frozen, rows, sharding.make_key(7, mesh)).compile()
        )


def leaves(tree) -> dict[str, np.ndarray]:
    """Every array of any pytree on the host, by path; keys of a tree that is a dict as in rules."""
    found, _ = jax.tree_util.tree_flatten_with_path(tree)
    name = lambda path: jax.tree_util.keystr(path, simple=True, separator="/")
    return {name(path): np.asarray(x) for path, x in found}


def assert_same(found, expected) -> None:
    """Asserts that two pytrees are equal to the last bit."""
    found, expected = leaves(found), leaves(expected)
    assert found.keys() == expected.keys()
    for path, x in found.items():
        np.testing.assert_array_equal(x, expected[path], err_msg=path)
