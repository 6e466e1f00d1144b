"""The step and the loop: averages by hand, stops, resumes, and what must end a run."""

import pathlib
import re
import signal
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from maskgit_prompt.devices import sharding
from maskgit_prompt.errors import Stopped, UserError
from maskgit_prompt.storage import checkpoint, workdir
from maskgit_prompt.tuning import train
from maskgit_prompt.tuning.stop import Stop
from tests import training
from tests.tuning.stopping import stop_at

ROOT = pathlib.Path(__file__).parents[2]

# --- Step ----------------------------------------------------------------------------------------


def gradient(rows, key):
    """(loss, gradient of the prompt) of the tiny model."""
    tree = jax.device_put(training.models()[2])

    def loss(prompt):
        return training.loss_fn()({**tree, "prompt": prompt}, rows, key)[0]

    return jax.value_and_grad(loss)(tree["prompt"])


def test_micro_batches_are_averaged():
    mesh, tx = training.mesh(4), optax.sgd(1.0)  # a step of minus the gradient
    state, frozen = training.start(mesh, tx=tx)
    step = train.make_step(training.loss_fn(), tx, state, micro_batches=2)
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


def toy(tx=None, ema: bool = False, **options) -> tuple:
    """((state, frozen), step) of one number x, from 1, and the loss (x - t)² · factor."""

    def loss_fn(tree, batch, key):
        return jnp.mean((tree["prompt"]["x"] - batch["t"]) ** 2 * batch["factor"]), {}

    tx, mesh = tx or optax.sgd(0.25), training.mesh()
    tree = training.place({"prompt": {"x": np.float32(1)}}, mesh)
    begin = train.init_state(tree, ("prompt/.*",), tx, mesh, ema)
    return begin, train.make_step(loss_fn, tx, begin[0], **options)


def target(t: float, factor: float = 1.0) -> dict[str, np.ndarray]:
    return {"t": np.full(2, t, np.float32), "factor": np.full(2, factor, np.float32)}


def test_average_of_two_steps():
    # Half the gradient of (x - t)² takes x to t: from 1 over 2 to 4.
    (state, frozen), step = toy(optax.sgd(0.5), ema=True, ema_decay=0.15)
    found, mesh = [], training.mesh()
    with jax.set_mesh(mesh):
        for t in (2.0, 4.0):
            batch = sharding.to_global(target(t), mesh)
            state, _ = step(state, frozen, batch, sharding.make_key(0, mesh))
            averaged = train.parameters(state, frozen)["prompt"]["x"]
            found.append((float(state.trainable["prompt"]["x"]), float(averaged)))
    # Decays min(0.15, 1/10) = 0.1 and min(0.15, 2/11) = 0.15.
    first = 0.1 * 1 + 0.9 * 2
    second = 0.15 * first + 0.85 * 4
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
    """The lines of metrics, without what differs from start to start."""
    rows = workdir.Metrics(folder, tensorboard=False).rows()
    return [{k: x for k, x in row.items() if k not in train.MEASURED} for row in rows]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """(state, metrics) of a run on one device that nothing stopped, scored every 3 steps."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    state = training.run(folder, training.mesh())
    rows = rows_of(folder)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[0].keys() == {"step", "loss", "grad_norm", "param_norm", "update_norm"}
    return state, rows


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


def test_ctrl_c_saves_as_sigterm_does(tmp_path, uninterrupted, capfd):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Stopped, match="stopped at step 3 of 6, saved in") as stopped:
        training.run(tmp_path, training.mesh(), log=stop_at(3, signal.SIGINT))
    assert stopped.value.exit_code == 130
    assert "Ctrl-C again ends at once" in capfd.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before
    state = training.run(tmp_path, training.mesh())
    training.assert_same(state, uninterrupted[0])


def test_sigterm_after_ctrl_c_is_still_ctrl_c():
    with Stop() as stop:
        assert stop.code == 0
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        assert stop.code == 130
    with Stop() as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop.code == 143
    assert signal.set_wakeup_fd(-1) == -1  # as it was before


TWICE = """
import os, signal, time
from maskgit_prompt.tuning.stop import Stop
with Stop():
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)
    time.sleep(60)
"""


def test_a_second_ctrl_c_ends_the_process_at_once():
    child = subprocess.run(
        [sys.executable, "-c", TWICE], cwd=ROOT, capture_output=True, text=True, timeout=50
    )
    assert child.returncode == 130
    assert (
        child.stderr.strip() == "stopping after this step, with a save; Ctrl-C again ends at once"
    )


def test_a_thread_can_train():
    """A notebook's worker: no signals are sent to it, and none can be asked for."""
    codes = []

    def work():
        with Stop() as stop:
            codes.append(stop.code)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert codes == [0]


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
    options = dict(log_every=100, batch_size=2)

    def run(batch):
        begin, step_fn = toy()
        return training.run(
            tmp_path, training.mesh(), begin=begin, step=step_fn, batch=batch, **options
        )

    with pytest.raises(UserError) as error:
        run(lambda index: target(2.0, value if index + 1 == step else 1.0))
    assert re.match(
        rf"step {step}: grad_norm = {value}, loss = {value}, param_norm = .*, update_norm = .*; "
        rf"{kept}; try",
        str(error.value),
    )
    assert "\n" not in str(error.value)
    state = run(lambda index: target(2.0))
    # x - 2 is halved by every one of the six steps, none of them taken twice.
    assert float(state.trainable["prompt"]["x"]) == 2 - 0.5**6


def test_nothing_is_moved_to_the_device_unasked(tmp_path):
    begin, step_fn = toy()
    unplaced = lambda state, frozen, batch, key: step_fn(state, frozen, target(2.0), key)
    with pytest.raises(Exception, match="Disallowed host-to-device transfer"):
        training.run(tmp_path, training.mesh(), begin=begin, step=unplaced)
