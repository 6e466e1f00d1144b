"""The state, the step and the loop.

A step changes TrainState and nothing else. `frozen` is an argument that is neither differentiated
nor donated, so it has no gradient, no optimizer state and no file. A batch and every random key are
pure functions of the step, so a run that was stopped and resumed equals one that was not.
"""

import collections
import dataclasses
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
from maskgit_prompt.errors import TERMINATED, Stopped, UserError
from maskgit_prompt.params import Tree
from maskgit_prompt.progress import Pace, progress
from maskgit_prompt.storage import checkpoint
from maskgit_prompt.tuning import memory
from maskgit_prompt.tuning.profile import Profile
from maskgit_prompt.tuning.stop import Stop

Array = jax.Array
Batch = dict[str, Array]
# (parameters, batch, key) -> (loss, metrics by name; under STATS new values of the state's stats).
LossFn = Callable[[Tree, Batch, Array], tuple[Array, dict[str, Any]]]
STATS = "stats"
# Metrics that depend on this start and this machine; all others are the same in every run.
MEASURED = ("step_seconds", "images_per_second", "host_peak_bytes", "device_peak_bytes")

# --- State ---------------------------------------------------------------------------------------


@struct.dataclass
class TrainState:
    """What a step changes and a checkpoint holds.

    Attributes:
      step: [] int32, the number of steps taken.
      trainable: the trained part of the parameter tree.
      opt: the optimizer's state, for `trainable` only.
      ema: exponential moving average of `trainable`, or None.
      stats: parameters that the loss renews without a gradient (BatchNorm's), or None.
      players: names of several players (tuning/game.py); `trainable` and `opt` are then by name.
    """

    step: Array
    trainable: Tree
    opt: optax.OptState
    ema: Tree | None
    stats: Tree | None = None
    players: tuple[str, ...] = struct.field(pytree_node=False, default=())


def init_state(
    tree: Tree,
    patterns: tuple[str, ...],
    tx: optax.GradientTransformation,
    mesh: Mesh,
    ema: bool,
    stats: tuple[str, ...] = (),
) -> tuple[TrainState, Tree]:
    """(state, frozen) of a whole parameter tree {"tokenizer", "transformer", "prompt", …}.

    Args:
      tree: arrays on the mesh; trained arrays stay in place, and so do their moments.
      patterns: of what is trained, see params.split.
      stats: patterns of what the loss renews; it is not trained, whatever `patterns` say.
    """
    renewed, rest = split_stats(tree, stats)
    trainable, frozen = params.split(rest, patterns)
    return begin(trainable, init_opt(tx, trainable, mesh), renewed, mesh, ema), frozen


def begin(trainable: Tree, opt: Any, stats: Tree | None, mesh: Mesh, ema: bool) -> TrainState:
    """The state before the first step."""
    # Copies: the step donates the state, and others may use these arrays as frozen weights. The
    # average needs its own copy: a buffer can be donated only once.
    copy = lambda tree: jax.tree.map(jnp.copy, tree)
    return TrainState(
        step=jax.jit(lambda: jnp.zeros((), jnp.int32), out_shardings=sharding.replicated(mesh))(),
        trainable=copy(trainable),
        opt=opt,
        ema=copy(trainable) if ema else None,
        stats=copy(stats),
    )


def split_stats(tree: Tree, patterns: tuple[str, ...]) -> tuple[Tree | None, Tree]:
    """(what the patterns match, the rest); None without patterns."""
    return params.split(tree, patterns, "stats") if patterns else (None, tree)


def init_opt(tx: optax.GradientTransformation, trainable: Tree, mesh: Mesh) -> optax.OptState:
    """An optimizer's initial state; moments lie where their parameters do."""
    shardings = sharding.optimizer_shardings(tx, trainable, mesh)
    return jax.jit(tx.init, out_shardings=shardings)(trainable)


def changed(state: TrainState) -> Tree:
    """The parameters that training changes: averaged weights if the state keeps them, and stats.

    Slices of stacked layers are not joined, see params.split.
    """
    trained = state.trainable if state.ema is None else state.ema
    parts = [trained[name] for name in state.players] if state.players else [trained]
    flat = [params.flatten(part) for part in (*parts, state.stats or {})]
    return params.unflatten({path: x for part in flat for path, x in part.items()})


def parameters(state: TrainState, frozen: Tree) -> Tree:
    """The whole parameter tree, with averaged weights if the state keeps them."""
    return params.merge(changed(state), frozen)


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

    The state keeps the placement of `like`; a state that moved would compile the step again.

    With micro_batches = 2 a batch of 8 runs as 4 and 4, and the two gradients are averaged: the
    memory of 4, the update of 8. Stats pass through the micro-batches in turn.
    """
    update = make_update(loss_fn, tx, micro_batches)

    def step(state: TrainState, frozen: Tree, batch: Batch, key: Array):
        key = jax.random.fold_in(key, state.step)
        own = (state.trainable, state.opt, state.stats)
        (trainable, opt, stats), metrics = update(own, (frozen,), batch, key)
        ema = averaged(state.ema, trainable, state.step, ema_decay)
        state = state.replace(
            step=state.step + 1, trainable=trainable, opt=opt, ema=ema, stats=stats
        )
        return state, metrics

    return jax.jit(step, donate_argnums=0, out_shardings=(sharding.of(like), None))


def make_update(loss_fn: LossFn, tx: optax.GradientTransformation, micro_batches: int):
    """The function (own, others, batch, key) -> (own, metrics) of one player.

    own: (parameters, optimizer's state, stats); others: the trees of all other parameters.
    """

    def gradient(trainable, stats, others, batch, key):
        whole = lambda trainable: loss_fn(params.merge(trainable, stats or {}, *others), batch, key)
        (loss, aux), grads = jax.value_and_grad(whole, has_aux=True)(trainable)
        aux = dict(aux)
        stats = _checked_stats(stats, aux.pop(STATS, stats))
        return (grads, {"loss": loss, **aux}), stats

    def accumulated(trainable, stats, others, batch, key):
        # Rows i, i + M, i + 2M, … form micro-batch i, so that every device keeps its own rows.
        split = lambda x: jnp.swapaxes(x.reshape(-1, micro_batches, *x.shape[1:]), 0, 1)

        def body(carry, inputs):
            total, stats = carry
            part, stats = gradient(trainable, stats, others, *inputs)
            return (jax.tree.map(lambda t, p: t + p / micro_batches, total, part), stats), None

        inputs = (jax.tree.map(split, batch), jax.random.split(key, micro_batches))
        first = jax.tree.map(lambda x: x[0], inputs)
        shapes, _ = jax.eval_shape(gradient, trainable, stats, others, *first)
        return jax.lax.scan(body, (jax.tree.map(jnp.zeros_like, shapes), stats), inputs)[0]

    def update(own, others, batch, key):
        trainable, opt, stats = own
        run = gradient if micro_batches == 1 else accumulated
        (grads, metrics), stats = run(trainable, stats, others, batch, key)
        updates, opt = tx.update(grads, opt, trainable)
        trainable = optax.apply_updates(trainable, updates)
        norms = {"grad_norm": grads, "update_norm": updates, "param_norm": trainable}
        metrics |= {name: optax.tree.norm(tree) for name, tree in norms.items()}
        return (trainable, opt, stats), metrics

    return update


def _checked_stats(old: Tree | None, new: Tree | None) -> Tree | None:
    shapes = lambda tree: {k: (x.shape, x.dtype) for k, x in params.flatten(tree or {}).items()}
    if shapes(old) != shapes(new):
        raise ValueError(f"the loss gives stats {shapes(new)}, the state has {shapes(old)}")
    return new


def averaged(ema: Tree | None, trainable: Tree, step: Array, most: float) -> Tree | None:
    """The average after a step, or None if the state keeps none."""
    if ema is None:
        return None
    # min(): the first steps average over fewer steps (like TensorFlow's num_updates).
    decay = jnp.minimum(most, (1.0 + step) / (10.0 + step))
    return optax.incremental_update(trainable, ema, 1.0 - decay)


# --- Loop ----------------------------------------------------------------------------------------


@dataclasses.dataclass
class Loop:
    """The loop's arguments besides state and step.

    Attributes:
      steps: how many steps the whole run has.
      batch: step -> global batch of numpy arrays; a pure function.
      log_every: steps between lines of metrics.
      log: called with (steps taken, {name: float}).
      batch_size: for the rate in images per second.
      evaluate_every, evaluate: evaluate(state) is called every evaluate_every steps (0: never).
      show_every, show: the same, after evaluations.
      profile: which steps are traced.
      what: the word in front of the progress line.
    """

    steps: int
    batch: Callable[[int], dict[str, np.ndarray]]
    log_every: int
    log: Callable[[int, dict[str, float]], None]
    batch_size: int
    evaluate_every: int = 0
    evaluate: Callable[[TrainState], None] | None = None
    show_every: int = 0
    show: Callable[[TrainState], None] | None = None
    profile: Profile = dataclasses.field(default_factory=Profile)
    what: str = "tune"


def run(step_fn, state: TrainState, frozen: Tree, loop: Loop, mesh, key: Array, manager: Any):
    """Trains until loop.steps, from the given state or the latest checkpoint.

    Raises:
      UserError: a loss or gradient that is not finite; the last good checkpoint is kept.
      Stopped: after SIGTERM or Ctrl-C, with a checkpoint of the last step.
    """
    if manager.latest_step() is not None:
        state = checkpoint.restore(manager, state)
    first = int(state.step)
    pending: collections.deque = collections.deque()  # (steps taken, metrics on the device)
    pace = Pace()
    between = ((loop.evaluate_every, loop.evaluate), (loop.show_every, loop.show))
    # On CPU a queue of collective steps can hang; elsewhere one step may wait while one runs.
    in_flight = 0 if jax.default_backend() == "cpu" else 2

    def settle(keep: int) -> dict[str, float]:
        values = {}
        while len(pending) > keep:
            taken, metrics = pending.popleft()
            values = {name: float(x) for name, x in jax.device_get(metrics).items()}
            _check_finite(taken, values, manager)
        return values

    with (
        Stop() as stop,
        loop.profile as profile,
        jax.set_mesh(mesh),
        progress(loop.steps * loop.batch_size, loop.what, "image", first * loop.batch_size) as bar,
    ):
        for index in range(first, loop.steps):
            profile.before(index)
            batch = sharding.to_global(loop.batch(index), mesh)
            with jax.transfer_guard("disallow"):
                state, metrics = step_fn(state, frozen, batch, key)
            taken = index + 1
            pending.append((taken, metrics))
            values = settle(in_flight)
            pace.step()
            bar.update(loop.batch_size, {k: x for k, x in values.items() if _is_loss(k)})
            last = taken == loop.steps
            if profile.ends(taken):
                settle(0)
                with pace.paused():
                    profile.stop()
            if taken % loop.log_every == 0 or last:
                values = settle(0) or values
                loop.log(taken, {**values, **pace.rates(loop.batch_size), **memory.peaks()})
            for every, call in between:
                if call and every and (taken % every == 0 or last):
                    settle(0)
                    with pace.paused():
                        call(state)
            # After log and evaluation: a run killed between them and the save does them again.
            if last or stop.code or manager.should_save(taken):
                settle(0)  # never save a state after a bad loss
            checkpoint.save(manager, taken, state, force=last or stop.code > 0)
            if stop.code or manager.reached_preemption(taken):
                checkpoint.wait(manager)
                raise Stopped(
                    f"stopped at step {taken} of {loop.steps}, saved in {manager.directory}; "
                    "start again to resume",
                    stop.code or TERMINATED,
                )
    checkpoint.wait(manager)
    return state


def _is_loss(name: str) -> bool:
    """Whether a metric is a loss, also that of one of several players."""
    return name == "loss" or name.endswith("/loss")


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
