"""Trains the parameters that path patterns match, on a task's examples."""

import dataclasses
import json
import math
import pathlib
import time
from collections.abc import Callable, Mapping

import numpy as np
from ml_collections import ConfigDict

from maskgit_prompt import params, streams
from maskgit_prompt.devices import sharding
from maskgit_prompt.errors import UserError
from maskgit_prompt.params import Tree
from maskgit_prompt.storage import checkpoint, sealed, workdir
from maskgit_prompt.tuning import profile, train
from maskgit_prompt.tuning.game import Player, init_game, make_game_step
from maskgit_prompt.tuning.optimizers import check_paths, learning_rate, make_optimizer

Evaluation = Callable[[Tree], float | None]


@dataclasses.dataclass(frozen=True)
class Examples:
    """What a task provides to learn from.

    Attributes:
      number: how many examples there are, for epochs.
      batch: step -> global batch of numpy arrays; a pure function.
      evaluations: name -> function of the whole parameter tree that gives a loss, lower is better,
        or None if there is nothing to measure it on.
      show: called with the step and the whole tree every config.train.show_every steps.
      stats: path patterns of parameters that the loss renews without a gradient.
      frozen: path patterns of parameters that stay as they are, whatever config.trainable selects.
      what: the word in front of the progress line.
    """

    number: int
    batch: Callable[[int], dict[str, np.ndarray]]
    evaluations: Mapping[str, Evaluation] = dataclasses.field(default_factory=dict)
    show: Callable[[int, Tree], None] | None = None
    stats: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    what: str = "tune"


@dataclasses.dataclass(frozen=True)
class Tuned:
    """The result of tuning.

    Attributes:
      tree: all parameters, on the mesh; averaged ones if the config keeps an average.
      trainable, frozen: numbers of parameters.
      loss: the examples' evaluations of `tree`.
      steps: steps taken, or the best step if `best` was given.
      seconds: of training and evaluation.
      resumed: the step that this start continued from.
      curves: column of metrics.jsonl -> (steps, values): "loss" or "PLAYER/loss", and
        "evaluated_NAME" for each evaluation.
      last: the last value of each column of metrics.jsonl.
    """

    tree: Tree
    trainable: int
    frozen: int
    loss: dict[str, float | None]
    steps: int
    seconds: float
    resumed: int
    curves: dict[str, tuple[list, list]]
    last: dict[str, float]


def check_patterns(config: ConfigDict, tree: Tree) -> None:
    """Raises UsageError for path patterns, of what is trained or has a rate of its own, that fit no
    parameter.

    Args:
      config: as `tune` takes it.
      tree: the whole one, of arrays or abstract arrays.
    """
    params.split(tree, tuple(config.trainable))
    check_paths(config.optimizer, tree)


def tune(
    config: ConfigDict,
    tree: Tree,
    loss: train.LossFn | Mapping[str, Player],
    examples: Examples,
    home: pathlib.Path,
    mesh,
    *,
    best: str = "",
) -> Tuned:
    """Trains what config.trainable or the players select, for config.train.steps or epochs.

    Args:
      config: "seed", "trainable", "train", "optimizer" and "profile" are read.
      tree: the whole parameter tree, of arrays on the mesh.
      loss: of that tree, a batch and a key; or players by name, each with its own patterns and
        optimizer in place of config's.
      home: the workdir: checkpoints/, metrics.jsonl, best.safetensors, profile/.
      best: name of an evaluation: returns the state with its smallest value instead of the last.
    """
    began = time.perf_counter()
    settings = config.train
    sharding.check_batch(settings.batch_size, settings.micro_batches, mesh)
    steps, ema = steps_of(settings, examples.number), settings.ema_decay
    check_paths(config.optimizer, tree)
    rate = learning_rate(config.optimizer, steps)
    how = {"micro_batches": settings.micro_batches, "ema_decay": ema}
    if isinstance(loss, Mapping):
        state, frozen = init_game(tree, loss, mesh, ema > 0, examples.stats)
        step_fn = make_game_step(loss, state, **how)
    else:
        tx = make_optimizer(config.optimizer, steps)
        patterns = (*(f"!{pattern}" for pattern in examples.frozen), *config.trainable)
        state, frozen = train.init_state(tree, patterns, tx, mesh, ema > 0, examples.stats)
        step_fn = train.make_step(loss, tx, state, **how)
    metrics = workdir.Metrics(home, settings.tensorboard)
    kept = _Best(home / "best.safetensors", best) if best else None

    scored: dict[int, dict[str, float | None]] = {}  # step -> its scores, of the last one alone

    def score(state: train.TrainState) -> dict[str, float | None]:
        if (step := int(state.step)) not in scored:
            whole = train.parameters(state, frozen)
            scored.clear()
            scored[step] = {name: one(whole) for name, one in examples.evaluations.items()}
        return scored[step]

    def log(step: int, values: dict[str, float]) -> None:
        metrics.log(step, {**values, "learning_rate": float(rate(step - 1))})

    def show(state: train.TrainState) -> None:
        examples.show(int(state.step), train.parameters(state, frozen))

    def log_score(state: train.TrainState) -> None:
        scores, step = score(state), int(state.step)
        metrics.log(step, {f"evaluated_{k}": v for k, v in scores.items() if v is not None})
        if kept is not None:
            kept.offer(step, scores, lambda: sharding.tree_to_host(train.changed(state), mesh))

    with checkpoint.manager(home / "checkpoints", settings.save_every) as manager:
        resumed = manager.latest_step() or 0
        metrics.resume(resumed)
        if kept is not None:
            kept.resume(resumed)
        state = train.run(
            step_fn,
            state,
            frozen,
            train.Loop(
                steps=steps,
                batch=examples.batch,
                log_every=settings.log_every,
                log=log,
                batch_size=settings.batch_size,
                evaluate_every=settings.get("evaluate_every", 0),
                evaluate=log_score if examples.evaluations else None,
                show_every=settings.get("show_every", 0),
                show=show if examples.show else None,
                profile=profile.parse(config.profile, steps, resumed, home / "profile"),
                what=examples.what,
            ),
            mesh,
            sharding.make_key(streams.seed_of(config.seed, "train"), mesh),
            manager,
        )
    metrics.close()
    whole, step = train.parameters(state, frozen), int(state.step)
    if kept is not None and kept.scores:
        step, loss = kept.step, kept.scores
        whole = params.merge(sharding.place_like(kept.tree, train.changed(state)), frozen)
    else:
        loss = score(state)
    rows = metrics.rows()
    losses = [f"{name}/loss" for name in state.players] or ["loss"]
    return Tuned(
        tree=whole,
        trainable=params.count(state.trainable),
        frozen=params.count(frozen),
        loss=loss,
        steps=step,
        seconds=time.perf_counter() - began,
        resumed=resumed,
        curves=curves_of(rows, [*losses, *(f"evaluated_{name}" for name in examples.evaluations)]),
        # Lines of evaluations have other columns than those of steps.
        last={key: value for row in rows for key, value in row.items()},
    )


def steps_of(settings: ConfigDict, number: int) -> int:
    """The number of steps: train.steps, or fewer if train.epochs says so.

    1,000 examples in batches of 32: 3 epochs are 94 steps.
    """
    epochs = settings.get("epochs", 0.0)
    if not epochs:
        return settings.steps
    return max(1, min(settings.steps, math.ceil(epochs * number / settings.batch_size)))


class _Best:
    """The trained parameters with an evaluation's smallest loss so far, in memory and in a file."""

    def __init__(self, path: pathlib.Path, name: str):
        self._path, self._name = path, name
        self.step, self.scores, self.tree = 0, {}, {}

    def resume(self, latest: int) -> None:
        """Reads the file, unless its step will be run again."""
        if not self._path.exists():
            return
        way_out = "delete this folder to train anew"
        flat, text = sealed.load(self._path, {"best"}, way_out)
        try:
            header = json.loads(text["best"])
        except (KeyError, ValueError) as error:
            raise UserError(f"{self._path} is damaged ({error!r}); {way_out}") from error
        if header["step"] <= latest:
            self.step, self.scores = header["step"], header["scores"]
            self.tree = params.unflatten(flat)

    def offer(self, step: int, scores: dict[str, float | None], tree: Callable[[], Tree]) -> None:
        """Keeps tree() if the loss is the smallest so far; does nothing without a loss."""
        loss = scores[self._name]
        if loss is None or (self.scores and loss >= self.scores[self._name]):
            return
        self.step, self.scores, self.tree = step, scores, tree()
        header = {"best": json.dumps({"step": step, "scores": scores})}
        sealed.save(self._path, params.flatten(self.tree), header)


def curves_of(rows: list[dict[str, float]], columns: list[str]) -> dict[str, tuple[list, list]]:
    """column -> (steps, values) of the logged values, without columns that were never logged."""
    found = {}
    for column in columns:
        points = [(row["step"], row[column]) for row in rows if column in row]
        if points:
            found[column] = tuple(list(values) for values in zip(*points, strict=True))
    return found
