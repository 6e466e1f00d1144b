"""A step of one number x from 1 under the loss (x - t)², with the mean over a batch of t."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from maskgit_prompt import params
from maskgit_prompt.devices import sharding
from maskgit_prompt.tuning import train
from tests import training


def taken(targets, steps: int = 1, aux: bool = False, **options) -> tuple[float, dict]:
    """(x, metrics) after steps of plain gradient descent at rate 1/4."""

    def loss_fn(tree, batch, key):
        drawn = {"drawn": jax.random.uniform(key)} if aux else {}
        return jnp.mean((tree["prompt"]["x"] - batch["t"]) ** 2), drawn

    mesh, tx = training.mesh(), optax.sgd(0.25)
    tree = training.place({"prompt": {"x": np.float32(1)}}, mesh)
    state, frozen = train.init_state(tree, ("prompt/.*",), tx, mesh, False)
    step = train.make_step(loss_fn, tx, state, **options)
    with jax.set_mesh(mesh):
        batch = sharding.to_global({"t": np.array(targets, np.float32)}, mesh)
        for _ in range(steps):
            state, metrics = step(state, frozen, batch, sharding.make_key(0, mesh))
    assert int(state.step) == steps
    return float(state.trainable["prompt"]["x"]), jax.device_get(metrics)


@pytest.mark.parametrize("micro_batches", [1, 2, 4])
def test_a_batch_in_parts_takes_the_step_of_the_whole(micro_batches):
    # Targets 2 and 4: gradients 2 (1 - 2) = -2 and 2 (1 - 4) = -6, on average -4; losses 1 and 9.
    x, metrics = taken([2, 4, 2, 4], micro_batches=micro_batches)
    assert x == 1 + 0.25 * 4
    assert metrics["loss"] == 5 and metrics["grad_norm"] == 4
    # The step that was taken, and x after it.
    assert metrics["update_norm"] == 1 and metrics["param_norm"] == 2


def test_parts_and_steps_draw_for_themselves():
    drawn = [
        float(taken([2, 2], steps, aux=True, micro_batches=parts)[1]["drawn"])
        for steps, parts in ((1, 1), (2, 1), (1, 2))
    ]
    keys = [jax.random.fold_in(jax.random.key(0), step) for step in (0, 1)]
    # The step counts from 0; two parts report the mean of what they drew.
    parts = [jax.random.uniform(key) for key in jax.random.split(keys[0], 2)]
    expected = [*map(jax.random.uniform, keys), sum(parts) / 2]
    np.testing.assert_allclose(drawn, expected, rtol=1e-6)


def test_parameters_are_the_average_where_there_is_one():
    frozen = {"transformer": {"words": 9}}
    state = train.TrainState(step=3, trainable={"prompt": {"x": 1}}, opt=(), ema=None)
    assert params.flatten(train.parameters(state, frozen)) == {
        "prompt/x": 1,
        "transformer/words": 9,
    }
    averaged = state.replace(ema={"prompt": {"x": 2}})
    assert params.flatten(train.parameters(averaged, frozen))["prompt/x"] == 2
