"""The losses, the step and the loop: averages by hand, stops, resumes, and what must end a run."""

import functools
import os
import pathlib
import signal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from maskgit_prompt import checkpoint, sharding, train, workdir
from maskgit_prompt.decoding import schedules
from maskgit_prompt.errors import Stopped, UserError
from maskgit_prompt.models.prompt import NONE
from tests import training

# --- Losses --------------------------------------------------------------------------------------


def test_losses_of_a_model_that_knows_nothing():
    transformer, prompt, tree = training.models()
    tree = jax.tree.map(np.copy, tree)
    # Words of zeros and no bias: all 24 codes are equally likely, whatever is hidden.
    tree["transformer"]["words"][:] = 0
    tree["transformer"]["head"]["bias"][:] = 0
    masking = train.Masking(schedules.schedule("cosine"), smoothing=0.1)
    rows, key = training.batch(0), jax.random.key(0)
    for loss_fn in (
        train.prompt_loss(transformer, prompt, masking),
        train.masked_loss(transformer, masking),
    ):
        loss, _ = jax.jit(loss_fn)(tree, rows, key)
        np.testing.assert_allclose(loss, np.log(24), rtol=1e-5)


def test_classes_are_dropped_in_pretraining():
    transformer, _, tree = training.models()
    rows, key = training.batch(0), jax.random.key(0)
    without = {**rows, "class_ids": np.full_like(rows["class_ids"], NONE)}

    def loss(share, rows):
        masking = train.Masking(schedules.schedule("cosine"), drop_class=share)
        return jax.jit(train.masked_loss(transformer, masking))(tree, rows, key)[0]

    assert loss(1.0, rows) == loss(0.0, without)
    assert abs(loss(0.0, rows) - loss(0.0, without)) > 1e-3


# --- Step ----------------------------------------------------------------------------------------


def gradient(rows, key):
    """(loss, gradient of the prompt) of the tiny model."""
    tree = jax.device_put(training.models()[2])

    def loss(prompt):
        return training.loss_fn()({**tree, "prompt": prompt}, rows, key)[0]

    return jax.value_and_grad(loss)(tree["prompt"])


@pytest.mark.parametrize("devices", [1, 4])
def test_micro_batches_are_averaged(devices):
    mesh, tx = training.mesh(devices), optax.sgd(1.0)  # a step of minus the gradient
    state, frozen = training.start(mesh, tx=tx)
    step = train.make_step(training.loss_fn(), tx, micro_batches=2)
    with jax.set_mesh(mesh):
        rows = sharding.to_global(training.batch(0), mesh)
        state, metrics = step(state, frozen, rows, sharding.make_key(7, mesh))
    keys = jax.random.split(jax.random.fold_in(jax.random.key(7), 0), 2)
    halves = [{k: x[i::2] for k, x in training.batch(0).items()} for i in (0, 1)]
    (loss_a, a), (loss_b, b) = map(jax.jit(gradient), halves, keys)
    np.testing.assert_allclose(metrics["loss"], (loss_a + loss_b) / 2, rtol=1e-5)
    before, after = training.models()[2]["prompt"], jax.device_get(state.trainable["prompt"])
    for name, x in before.items():
        np.testing.assert_allclose(x - after[name], (a[name] + b[name]) / 2, atol=2e-6)


def two_steps(ema_decay: float):
    """Yields (state, averaged x) of steps of half the gradient of (x - t)²: x is 1, then t."""
    loss_fn = lambda tree, batch, key: (jnp.mean((tree["prompt"]["x"] - batch["t"]) ** 2), {})
    tx, mesh = optax.sgd(0.5), training.mesh()
    tree = {"prompt": {"x": np.float32(1.0)}}
    state, frozen = train.init_state(tree, ("prompt/.*",), tx, mesh, ema=True)
    step = train.make_step(loss_fn, tx, ema_decay=ema_decay)
    with jax.set_mesh(mesh):
        for target in (2.0, 4.0):
            batch = sharding.to_global({"t": np.full(2, target, np.float32)}, mesh)
            state, _ = step(state, frozen, batch, sharding.make_key(0, mesh))
            yield state, train.parameters(state, frozen)["prompt"]["x"]


def test_average_of_two_steps():
    # Decays min(0.15, 1/10) = 0.1 and min(0.15, 2/11) = 0.15, from 1 over 2 to 4.
    first = 0.1 * 1 + 0.9 * 2
    second = 0.15 * first + 0.85 * 4
    found = [(float(state.trainable["prompt"]["x"]), float(x)) for state, x in two_steps(0.15)]
    np.testing.assert_allclose(found, [(2, first), (4, second)], rtol=1e-6)


def test_a_step_has_a_key_of_its_own():
    mesh = training.mesh()
    losses = []
    for step in (0, 1):
        state, frozen = training.start(mesh)
        state = state.replace(step=jax.device_put(jnp.int32(step), state.step.sharding))
        with jax.set_mesh(mesh):
            rows = sharding.to_global(training.batch(0), mesh)
            _, metrics = training.step_fn()(state, frozen, rows, sharding.make_key(7, mesh))
        losses.append(float(metrics["loss"]))
    assert losses[0] != losses[1]  # the same batch and weights, other codes hidden


# --- Loop: stopped and resumed -------------------------------------------------------------------


def rows_of(folder: pathlib.Path) -> list[dict]:
    return workdir.Metrics(folder, tensorboard=False).rows()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """(state, metrics) of a run on one device that nothing stopped, scored every 3 steps."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    state = training.run(folder, training.mesh())
    rows = rows_of(folder)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[0].keys() == {"step", "loss", "grad_norm"}
    return state, rows


def stop_at(step: int):
    """For `log`: the machine asks to stop after `step` steps."""
    return lambda taken: os.kill(os.getpid(), signal.SIGTERM) if taken == step else None


@pytest.mark.parametrize("step", [1, 2, 3, 5, 6])  # saves are due at 2, 4 and 6
def test_stopped_and_resumed_is_uninterrupted(tmp_path, uninterrupted, step):
    before = signal.getsignal(signal.SIGTERM)
    message = f"stopped at step {step} of 6, saved in {tmp_path}/checkpoints; start again to resume"
    with pytest.raises(Stopped, match=message):
        training.run(tmp_path, training.mesh(), log=stop_at(step))
    assert signal.getsignal(signal.SIGTERM) is before
    assert len(rows_of(tmp_path)) == step
    state = training.run(tmp_path, training.mesh())
    training.assert_same(state, uninterrupted[0])
    assert rows_of(tmp_path) == uninterrupted[1]


def test_stopped_while_scoring(tmp_path, uninterrupted):
    scored = []

    def evaluate(state):
        scored.append(int(state.step))
        stop_at(3)(scored[-1])

    options = dict(evaluate=evaluate, evaluate_every=3)
    with pytest.raises(Stopped, match="stopped at step 3 of 6"):
        training.run(tmp_path, training.mesh(), **options)
    state = training.run(tmp_path, training.mesh(), **options)
    assert scored == [3, 6]  # the state of step 3 was saved: it is not run and scored again
    training.assert_same(state, uninterrupted[0])


def test_killed_between_saves(tmp_path, uninterrupted):
    def die(taken):
        if taken == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.run(tmp_path, training.mesh(), log=die)
    assert rows_of(tmp_path)[-1]["step"] == 5
    resumed = []
    state = training.run(tmp_path, training.mesh(), log=resumed.append)
    assert resumed == [5, 6]  # from the save at 4; the line of step 5 is there once
    training.assert_same(state, uninterrupted[0])
    assert rows_of(tmp_path) == uninterrupted[1]


def test_a_finished_run_is_left_as_it_is(tmp_path, uninterrupted):
    training.run(tmp_path, training.mesh())
    called = []
    state = training.run(tmp_path, training.mesh(), log=called.append, batch=called.append)
    assert not called
    training.assert_same(state, uninterrupted[0])


def test_resumed_on_another_mesh(tmp_path, uninterrupted):
    with pytest.raises(Stopped):
        training.run(tmp_path, training.mesh(), log=stop_at(3))
    state = training.run(tmp_path, training.mesh(2, 2, 2))
    assert {len(x.sharding.device_set) for x in jax.tree.leaves(state)} == {8}
    losses = [[row["loss"] for row in rows] for rows in (rows_of(tmp_path), uninterrupted[1])]
    assert losses[0][:3] == losses[1][:3]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    found, expected = training.leaves(state.trainable), training.leaves(uninterrupted[0].trainable)
    for path, x in found.items():
        np.testing.assert_allclose(x, expected[path], rtol=0, atol=1e-5 * np.abs(x).max())


def test_saving_goes_on_while_training_does(tmp_path):
    states = {}

    def keep(state):
        states[int(state.step)] = jax.device_get(state)

    training.run(tmp_path, training.mesh(), save_every=1, evaluate=keep, evaluate_every=1)
    with checkpoint.manager(tmp_path / "checkpoints", 1) as manager:
        assert manager.all_steps() == [5, 6]
        for step in (5, 6):
            # The step that followed took the buffers of the state: what was saved is a copy.
            found = checkpoint.restore(manager, training.start(training.mesh())[0], step)
            training.assert_same(found, states[step])


# --- Loop: what must end a run -------------------------------------------------------------------


@functools.cache
def poisoned_step():
    """A step whose loss is multiplied with the batch's `factor`."""

    def loss_fn(tree, batch, key):
        loss, aux = training.loss_fn()(tree, batch, key)
        return loss * jnp.mean(batch["factor"]), aux

    return train.make_step(loss_fn, training.optimizer())


def poisoned_batch(value: float, step: int):
    """Batches whose factor is 1, and `value` at step `step`, counted from 1."""

    def batch(index):
        factor = np.full(training.BATCH, value if index + 1 == step else 1.0, np.float32)
        return {**training.batch(index), "factor": factor}

    return batch


@pytest.mark.parametrize(
    ("value", "step", "kept"),
    [
        (np.nan, 5, "the checkpoint of step 4 is kept"),
        (np.inf, 4, "the checkpoint of step 2 is kept"),  # step 4 would be saved
        (np.nan, 6, "the checkpoint of step 4 is kept"),
        (np.nan, 1, "nothing was saved"),
    ],
)
@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_a_loss_that_is_not_finite(tmp_path, monkeypatch, value, step, kept, backend):
    # Elsewhere than on CPU a step is looked at two steps later.
    monkeypatch.setattr(train.jax, "default_backend", lambda: backend)
    options = dict(step=poisoned_step(), log_every=100)
    with pytest.raises(UserError) as error:
        training.run(tmp_path, training.mesh(), batch=poisoned_batch(value, step), **options)
    assert str(error.value).startswith(f"step {step}: grad_norm = nan, loss = {value}; {kept}; try")
    assert "\n" not in str(error.value)
    state = training.run(tmp_path, training.mesh(), batch=poisoned_batch(1.0, 0), **options)
    assert int(state.step) == training.STEPS


def test_nothing_is_moved_to_the_device_unasked(tmp_path):
    unplaced = lambda state, frozen, batch, key: training.step_fn()(
        state, frozen, training.batch(0), key
    )
    with pytest.raises(Exception, match="Disallowed host-to-device transfer"):
        training.run(tmp_path, training.mesh(), step=unplaced)
