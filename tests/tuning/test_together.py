"""Runs side by side give what each gives alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskgit_prompt import params, streams
from maskgit_prompt.config import classify
from maskgit_prompt.devices import sharding
from maskgit_prompt.tuning import train
from maskgit_prompt.tuning.optimizers import make_optimizer
from maskgit_prompt.tuning.together import Run, tune_together

STEPS = 4


def loss(tree, batch, key):
    """A linear model with a frozen and a trained part, noise, and a mean that is renewed."""
    noise = 0.1 * jax.random.normal(key, ())
    hidden = jnp.tanh(batch["x"] @ tree["encoder"]["blocks"]["kernel"].sum(0))
    found = hidden @ tree["head"]["kernel"] + noise
    mean = 0.9 * tree["head"]["mean"] + 0.1 * hidden.mean(0)
    error = jnp.mean((found - batch["y"]) ** 2)
    return error + 0.1 * jnp.sum(tree["head"]["fixed"]), {"stats": {"head": {"mean": mean}}}


def settings(name: str, patterns: tuple[str, ...]):
    config = classify()
    config.train.steps, config.train.batch_size = STEPS, 8
    config.optimizer.name = name
    config.optimizer.warmup_steps = 1
    config.optimizer.decays = ("head/kernel=0.5",)
    config.trainable = patterns
    return config


def around(seed: int) -> dict:
    rng = np.random.default_rng(seed)
    draw = lambda *shape: jnp.asarray(rng.standard_normal(shape, np.float32))
    return {"head": {"kernel": draw(5, 2), "fixed": draw(3), "mean": jnp.zeros(5)}}


def batches(seed: int):
    def batch(step: int) -> dict:
        rng = np.random.default_rng([seed, step])
        draw = lambda *shape: rng.standard_normal(shape, np.float32)
        return {"x": draw(8, 4), "y": draw(8, 2)}

    return batch


def alone(config, run: Run, common: dict, mesh) -> dict:
    """The same through the training loop's own step."""
    tx = make_optimizer(config.optimizer, STEPS, run.learning_rate, run.weight_decay)
    tree = sharding.place({**around(run.seed), **common}, mesh, ((r".*", None),))
    stats = ("head/mean",)
    state, frozen = train.init_state(tree, tuple(config.trainable), tx, mesh, False, stats)
    step = train.make_step(loss, tx, state)
    key = sharding.make_key(streams.seed_of(run.seed, "train"), mesh)
    with jax.set_mesh(mesh):
        for i in range(STEPS):
            state, _ = step(state, frozen, sharding.to_global(batches(run.seed)(i), mesh), key)
    return params.merge(train.changed(state), frozen)


@pytest.mark.parametrize("name", ["sgd", "adamw", "adamw-vpt"])
@pytest.mark.parametrize(
    "patterns",
    [("head/kernel",), ("head/kernel", "encoder/blocks/.*[-1:]"), ("head/kernel", "e.*")],
)
def test_as_each_would_alone(name, patterns):
    mesh = sharding.make_mesh()
    config = settings(name, patterns)
    kernel = np.random.default_rng(9).standard_normal((3, 4, 5), np.float32)
    common = sharding.place({"encoder": {"blocks": {"kernel": kernel}}}, mesh, ((r".*", None),))
    runs = [Run(0.1, 0.0, 1), Run(0.3, 0.1, 1), Run(0.1, 0.0, 2)]
    own = [sharding.place(around(run.seed), mesh, ((r".*", None),)) for run in runs]
    found = tune_together(
        config,
        own,
        common,
        runs,
        {seed: batches(seed) for seed in (1, 2)},
        loss,
        mesh,
        stats=("head/mean",),
    )
    assert found.losses.shape == (3,) and len(set(found.losses.tolist())) == 3
    for i, run in enumerate(runs):
        expected = params.flatten(alone(config, run, common, mesh))
        for path, x in params.flatten(found.of(i)).items():
            np.testing.assert_allclose(x, expected[path], rtol=1e-4, atol=1e-5, err_msg=path)
    # The frozen layers are there once.
    shared = {k: x.shape for k, x in params.flatten(found.shared).items()}
    assert (
        shared
        == {
            1: {"encoder/blocks/kernel": (3, 4, 5)},
            2: {"encoder/blocks/kernel[0:2]": (2, 4, 5)} if "[" in patterns[-1] else {},
        }[len(patterns)]
    )


@pytest.mark.parametrize("patterns", [("head/kernel", "encoder/bias"), ("head/kernel",)])
def test_what_of_a_common_branch_begins_otherwise(patterns):
    mesh = sharding.make_mesh()
    place = lambda tree: sharding.place(tree, mesh, ((r".*", None),))
    runs = [Run(0.1, 0.0, 1), Run(0.3, 0.0, 2)]
    own = [around(run.seed) | {"encoder": {"bias": np.float32([run.seed])}} for run in runs]
    common = {"encoder": {"blocks": {"kernel": np.ones((3, 4, 5))}, "bias": np.zeros(1)}}
    found = tune_together(
        settings("sgd", patterns),
        [place(tree) for tree in own],
        place(common),
        runs,
        {seed: batches(seed) for seed in (1, 2)},
        loss,
        mesh,
        stats=("head/mean",),
    )
    # The loss does not read it, so it stays as it began.
    assert [found.of(i)["encoder"]["bias"].tolist() for i in range(2)] == [[1.0], [2.0]]
    assert list(params.flatten(found.shared)) == ["encoder/blocks/kernel"]


def test_one_device_gives_what_eight_give():
    config = settings("sgd", ("head/kernel",))
    runs = [Run(0.1, 0.0, 1), Run(0.3, 0.1, 2)]
    kernel = np.random.default_rng(9).standard_normal((3, 4, 5), np.float32)
    found = []
    for devices in (jax.devices()[:1], jax.devices()):
        mesh = sharding.make_mesh(devices=devices)
        place = lambda tree, mesh=mesh: sharding.place(tree, mesh, ((r".*", None),))
        one = tune_together(
            config,
            [place(around(run.seed)) for run in runs],
            place({"encoder": {"blocks": {"kernel": kernel}}}),
            runs,
            {seed: batches(seed) for seed in (1, 2)},
            loss,
            mesh,
            stats=("head/mean",),
        )
        found.append(jax.device_get(one.own))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), *found)
