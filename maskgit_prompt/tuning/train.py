"""The state, the losses, the step and the loop.

A step changes TrainState and nothing else: `frozen` is an argument that is neither differentiated
nor donated, so no gradient, no optimizer state and no file is made of it. A batch is a pure
function of the step, and so is every random key; a run that was stopped and resumed equals one
that was not.
"""

import collections
import dataclasses
import signal
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jax.sharding import Mesh

from maskgit_prompt import params
from maskgit_prompt.devices import sharding
from maskgit_prompt.errors import Stopped, UserError
from maskgit_prompt.params import Tree
from maskgit_prompt.progress import progress
from maskgit_prompt.storage import checkpoint

Array = jax.Array
Batch = dict[str, Array]
LossFn = Callable[[Tree, Batch, Array], tuple[Array, dict[str, Array]]]

# --- State ---------------------------------------------------------------------------------------


@struct.dataclass
class TrainState:
    """What a step changes, and so what a checkpoint holds.

    Attributes:
      step: [] int32, how many steps were taken.
      trainable: the trained part of the parameter tree.
      opt: the optimizer's state, of `trainable` alone.
      ema: exponential moving average of `trainable`, or None.
    """

    step: Array
    trainable: Tree
    opt: optax.OptState
    ema: Tree | None


def init_state(
    tree: Tree, patterns: tuple[str, ...], tx: optax.GradientTransformation, mesh: Mesh, ema: bool
) -> tuple[TrainState, Tree]:
    """(state, frozen) of a whole parameter tree {"tokenizer", "transformer", "prompt", …}.

    Args:
      tree: arrays on the mesh; what is trained stays where it lies, and so do its moments.
      patterns: what is trained, see params.split.
    """
    trainable, frozen = params.split(tree, patterns)
    # Copies: the step donates the state, and arrays on the mesh may be others' frozen weights, too.
    trainable = jax.tree.map(jnp.copy, trainable)
    opt = sharding.optimizer_shardings(tx, trainable, mesh)
    return TrainState(
        step=jax.jit(lambda: jnp.zeros((), jnp.int32), out_shardings=sharding.replicated(mesh))(),
        trainable=trainable,
        opt=jax.jit(tx.init, out_shardings=opt)(trainable),
        # A copy of its own: the step donates the state, and a buffer can be donated once.
        ema=jax.tree.map(jnp.copy, trainable) if ema else None,
    ), frozen


def parameters(state: TrainState, frozen: Tree) -> Tree:
    """The whole parameter tree, of averaged weights where the state keeps them."""
    return params.merge(state.trainable if state.ema is None else state.ema, frozen)


# --- Step ----------------------------------------------------------------------------------------


def make_step(
    loss_fn: LossFn,
    tx: optax.GradientTransformation,
    like: TrainState,
    *,
    micro_batches: int = 1,
    ema_decay: float = 0.0,
) -> Callable[[TrainState, Tree, Batch, Array], tuple[TrainState, dict[str, Array]]]:
    """The compiled step (state, frozen, batch, key) -> (state, metrics); the state is donated.

    The state lies where that of `like` does before and after: one that moved would compile the step
    a second time.

    With micro_batches = 2 a batch of 8 is run as 4 and 4 and the two gradients are averaged:
    the memory of 4, the update of 8.
    """

    def gradient(trainable, frozen, batch, key):
        whole = lambda trainable: loss_fn(params.merge(trainable, frozen), batch, key)
        (loss, aux), grads = jax.value_and_grad(whole, has_aux=True)(trainable)
        return grads, {"loss": loss, **aux}

    def accumulated(trainable, frozen, batch, key):
        # Rows i, i + M, i + 2M, … make micro-batch i, so that every device keeps its own rows.
        split = lambda x: jnp.swapaxes(x.reshape(-1, micro_batches, *x.shape[1:]), 0, 1)

        def body(total, inputs):
            part = gradient(trainable, frozen, *inputs)
            return jax.tree.map(lambda t, p: t + p / micro_batches, total, part), None

        inputs = (jax.tree.map(split, batch), jax.random.split(key, micro_batches))
        shapes = jax.eval_shape(gradient, trainable, frozen, *jax.tree.map(lambda x: x[0], inputs))
        zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        return jax.lax.scan(body, zeros, inputs)[0]

    def step(state: TrainState, frozen: Tree, batch: Batch, key: Array):
        key = jax.random.fold_in(key, state.step)
        run = gradient if micro_batches == 1 else accumulated
        grads, metrics = run(state.trainable, frozen, batch, key)
        updates, opt = tx.update(grads, state.opt, state.trainable)
        trainable = optax.apply_updates(state.trainable, updates)
        ema = state.ema
        if ema is not None:
            # min(): the first steps average what there is (as TensorFlow's num_updates does).
            decay = jnp.minimum(ema_decay, (1.0 + state.step) / (10.0 + state.step))
            ema = optax.incremental_update(trainable, ema, 1.0 - decay)
        state = TrainState(step=state.step + 1, trainable=trainable, opt=opt, ema=ema)
        return state, {**metrics, "grad_norm": optax.tree.norm(grads)}

    return jax.jit(step, donate_argnums=0, out_shardings=(sharding.of(like), None))


# --- Loop ----------------------------------------------------------------------------------------


@dataclasses.dataclass
class Loop:
    """What the loop is told, besides state and step.

    Attributes:
      steps: how many steps the whole run has.
      batch: step -> global batch of numpy arrays; a pure function.
      log_every: steps between lines of metrics.
      log: called with (step, {name: float}) after step steps.
      evaluate_every, evaluate: called with the state after so many steps (0: never).
      what: the word in front of the progress line.
      batch_size: for the rate in images a second.
    """

    steps: int
    batch: Callable[[int], dict[str, np.ndarray]]
    log_every: int
    log: Callable[[int, dict[str, float]], None]
    batch_size: int
    evaluate_every: int = 0
    evaluate: Callable[[TrainState], None] | None = None
    what: str = "tune"


def run(step_fn, state: TrainState, frozen: Tree, loop: Loop, mesh, key: Array, manager: Any):
    """Steps until loop.steps, from wherever the state or the latest checkpoint stands.

    Raises:
      UserError: a loss or gradient that is not finite; the last good checkpoint is kept.
      Stopped: after SIGTERM, with a checkpoint of the step reached.
    """
    if manager.latest_step() is not None:
        state = checkpoint.restore(manager, state)
    first = int(state.step)
    pending: collections.deque = collections.deque()  # (steps taken, metrics on the device)
    # On CPU a queue of collective steps can hang; elsewhere one step runs while one is queued.
    in_flight = 0 if jax.default_backend() == "cpu" else 2

    def settle(keep: int) -> dict[str, float]:
        values = {}
        while len(pending) > keep:
            taken, metrics = pending.popleft()
            values = {name: float(x) for name, x in jax.device_get(metrics).items()}
            _check_finite(taken, values, manager)
        return values

    with (
        _Terminate() as terminate,
        jax.set_mesh(mesh),
        progress(loop.steps * loop.batch_size, loop.what, "image", first * loop.batch_size) as bar,
    ):
        for index in range(first, loop.steps):
            batch = sharding.to_global(loop.batch(index), mesh)
            with jax.transfer_guard("disallow"):
                state, metrics = step_fn(state, frozen, batch, key)
            taken = index + 1
            pending.append((taken, metrics))
            values = settle(in_flight)
            bar.update(loop.batch_size, **({"loss": values["loss"]} if values else {}))
            last = taken == loop.steps
            due = loop.evaluate_every and (taken % loop.evaluate_every == 0 or last)
            if taken % loop.log_every == 0 or last:
                loop.log(taken, settle(0) or values)
            if due and loop.evaluate:
                settle(0)
                loop.evaluate(state)
            # After log and evaluation: what is killed between them and the save is done again.
            stop = terminate.asked
            if last or stop or manager.should_save(taken):
                settle(0)  # never save a state that a bad loss has spoilt
            checkpoint.save(manager, taken, state, force=last or stop)
            if stop or manager.reached_preemption(taken):
                checkpoint.wait(manager)
                raise Stopped(
                    f"stopped at step {taken} of {loop.steps}, saved in {manager.directory}; "
                    "start again to resume"
                )
    checkpoint.wait(manager)
    return state


def _check_finite(taken: int, values: dict[str, float], manager: Any) -> None:
    bad = [f"{name} = {x}" for name, x in values.items() if not np.isfinite(x)]
    if not bad:
        return
    checkpoint.wait(manager)
    kept = manager.latest_step()
    raise UserError(
        f"step {taken}: {', '.join(bad)}; "
        f"{f'the checkpoint of step {kept} is kept' if kept is not None else 'nothing was saved'}"
        "; try a smaller config.optimizer.learning_rate or config.optimizer.clip=1.0"
    )


class _Terminate:
    """Notes SIGTERM while the loop runs, so that the step in hand is finished and saved.

    With several hosts Orbax asks jax.distributed instead, so that all stop at the same step.
    """

    def __enter__(self):
        self.asked = False
        self._before = None
        try:
            self._before = signal.signal(signal.SIGTERM, self._note)
        except ValueError:  # not the main thread (a notebook's worker): nobody sends it a signal
            self._before = None
        return self

    def _note(self, *_):
        self.asked = jax.process_count() == 1

    def __exit__(self, *_):
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
