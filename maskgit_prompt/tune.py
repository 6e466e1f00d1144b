"""Tuning on stored codes: a prompt, or with other path patterns any part of the model."""

import dataclasses
import functools
import json
import math
import pathlib
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy
from flax import nnx
from ml_collections import ConfigDict

from maskgit_prompt import checkpoint, losses, params, sharding, train, workdir
from maskgit_prompt.data.batches import batch_indices, views
from maskgit_prompt.data.codes import Codes
from maskgit_prompt.files import write_whole
from maskgit_prompt.models.prompt import PromptConfig, PromptGenerator
from maskgit_prompt.objectives import Objective, make_objective
from maskgit_prompt.optimizers import make_optimizer
from maskgit_prompt.params import Tree
from maskgit_prompt.progress import progress
from maskgit_prompt.source import Source, make_module

ROWS, CODES = 64, 4096  # images and codes scored at once, at most: 64 images of 64, 4 of 1024
DRAWS = 6000  # masks drawn for a loss, about: of many images fewer each tell as much


@dataclasses.dataclass(frozen=True)
class TuningCodes:
    """What tuning sees of the images: codes and labels, no pixels.

    Attributes:
      codes, labels: [n, views, L], read as batches ask for them, and [n], to tune on.
      scored: int64, which of them the training loss is measured on.
      heldout, heldout_labels: [m, L], [m], which the held-out loss is measured on.
    """

    codes: Codes
    labels: np.ndarray
    scored: np.ndarray
    heldout: np.ndarray
    heldout_labels: np.ndarray


@dataclasses.dataclass(frozen=True)
class Tuned:
    """What tuning made.

    Attributes:
      prompt: the generator's parameters, on the host.
      transformer: the transformer's parameters, on the mesh.
      trainable, frozen: how many parameters.
      loss: {"train", "heldout"}: cross entropy in nats a hidden code, without label smoothing,
        under the class's prompt; None where there are no held-out images.
      steps: taken, or the best step where that was asked for.
      seconds: of training and evaluation.
      resumed: the step that this start went on from.
      curves: name -> (steps, values), for the report.
    """

    prompt: Tree
    transformer: Tree
    trainable: int
    frozen: int
    loss: dict[str, float | None]
    steps: int
    seconds: float
    resumed: int
    curves: dict[str, tuple[list, list]]


def tune(
    config: ConfigDict,
    source: Source,
    cfg: PromptConfig,
    codes: TuningCodes,
    home: pathlib.Path,
    mesh,
    *,
    scratch: bool = False,
    keep_best: bool = False,
) -> Tuned:
    """Trains what config.trainable names, for config.train.steps or epochs.

    Args:
      scratch: begin with random transformer weights in place of the source model's.
      keep_best: return the state with the smallest held-out loss instead of the last.
    """
    began = time.perf_counter()
    sharding.check_batch(config.train.batch_size, config.train.micro_batches, mesh)
    config = ConfigDict(config.to_dict())
    config.train.steps = steps_of(config.train, len(codes.labels))
    part = source.part("transformer")
    model = part.prompted(
        cfg,
        dtype=config.dtype,
        attention_implementation=config.attention,
        dropout=0.0,
        remat=config.train.remat,
    )
    generator, init_prompt = params.create(lambda rngs: PromptGenerator(cfg, rngs=rngs))
    if scratch:
        _, init = params.create(make_module("transformer", part.kind, part.cfg))
        transformer = jax.device_get(jax.jit(init)(jax.random.key(config.seed + 4)))
    else:
        transformer = part.placed("transformer", mesh)
    tree = {
        "transformer": transformer,
        "prompt": jax.device_get(jax.jit(init_prompt)(jax.random.key(config.seed))),
    }
    tx = make_optimizer(config.optimizer, config.train.steps)
    ema = config.train.ema_decay
    state, frozen = train.init_state(tree, tuple(config.trainable), tx, mesh, ema > 0)
    objective = make_objective(config, part.kind, source.part("tokenizer").cfg.codebook)
    loss_fn = train.prompt_loss(model, generator, objective)
    step_fn = train.make_step(loss_fn, tx, micro_batches=config.train.micro_batches, ema_decay=ema)

    def batch(step: int) -> dict[str, np.ndarray]:
        size = config.train.batch_size
        rows = batch_indices(config.seed, step, len(codes.labels), size)
        view = views(config.seed, step, size, codes.codes.shape[1])
        return {
            "codes": codes.codes[rows, view].astype(np.int32),
            "class_ids": codes.labels[rows],
            "instance_ids": rows.astype(np.int32),
        }

    evaluate = make_evaluator(config, objective, model, generator, mesh)
    metrics = workdir.Metrics(home, config.train.tensorboard)
    best = _Best(home / "best.safetensors") if keep_best else None
    plain = codes.codes[codes.scored, 0].astype(np.int32)  # [k, L]

    def score(state: train.TrainState) -> dict[str, float | None]:
        whole = train.parameters(state, frozen)
        return {
            "train": evaluate(whole, plain, codes.labels[codes.scored]),
            "heldout": evaluate(whole, codes.heldout, codes.heldout_labels),
        }

    def log_score(state: train.TrainState) -> None:
        scores, step = score(state), int(state.step)
        metrics.log(step, {f"evaluated_{k}": v for k, v in scores.items() if v is not None})
        if best is not None and scores["heldout"] is not None:
            kept = state.trainable if state.ema is None else state.ema
            best.offer(step, scores, lambda: sharding.tree_to_host(kept, mesh))

    with checkpoint.manager(home / "checkpoints", config.train.save_every) as manager:
        resumed = manager.latest_step() or 0
        metrics.resume(resumed)
        if best is not None:
            best.resume(resumed)
        state = train.run(
            step_fn,
            state,
            frozen,
            train.Loop(
                steps=config.train.steps,
                batch=batch,
                log_every=config.train.log_every,
                log=metrics.log,
                batch_size=config.train.batch_size,
                evaluate_every=config.train.evaluate_every,
                evaluate=log_score,
            ),
            mesh,
            sharding.make_key(config.seed + 1, mesh),
            manager,
        )
    metrics.close()
    whole, step = train.parameters(state, frozen), int(state.step)
    if best is not None and best.scores:
        step, loss = best.step, best.scores
        whole = params.merge(sharding.place(best.tree, mesh), frozen)
    else:
        loss = score(state)
    return Tuned(
        prompt=sharding.tree_to_host(whole["prompt"], mesh),
        transformer=whole["transformer"],
        trainable=params.count(state.trainable),
        frozen=params.count(frozen) + params.count(source.part("tokenizer").tree),
        loss=loss,
        steps=step,
        seconds=time.perf_counter() - began,
        resumed=resumed,
        curves=_curves(metrics.rows()),
    )


def steps_of(train: ConfigDict, images: int) -> int:
    """Steps that a config.train asks for: train.steps, or fewer where train.epochs says so.

    1,000 images in batches of 32: 3 epochs are 94 steps.
    """
    if not train.epochs:
        return train.steps
    return max(1, min(train.steps, math.ceil(train.epochs * images / train.batch_size)))


class _Best:
    """The trained parameters of the smallest held-out loss so far, in memory and in a file."""

    def __init__(self, path: pathlib.Path):
        self._path = path
        self.step, self.scores, self.tree = 0, {}, {}

    def resume(self, latest: int) -> None:
        """Takes up the file, unless it is of a step that will be run again."""
        if not self._path.exists():
            return
        with safetensors.safe_open(self._path, "numpy") as file:
            header = json.loads(file.metadata()["best"])
            flat = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if header["step"] <= latest:
            self.step, self.scores = header["step"], header["scores"]
            self.tree = params.unflatten(flat)

    def offer(self, step: int, scores: dict[str, float | None], tree: Callable[[], Tree]) -> None:
        """Keeps what tree() gives where its held-out loss is the smallest yet."""
        if self.scores and scores["heldout"] >= self.scores["heldout"]:
            return
        self.step, self.scores, self.tree = step, scores, tree()
        header = {"best": json.dumps({"step": step, "scores": scores})}
        write_whole(self._path, safetensors.numpy.save(params.flatten(self.tree), header))


def make_evaluator(
    config: ConfigDict, objective: Objective, model: nnx.GraphDef, generator: nnx.GraphDef, mesh
):
    """A function (parameters, codes [n, L], labels [n]) -> loss under the classes' prompts.

    What is drawn is the same at every call.
    """

    @functools.partial(jax.jit, static_argnames="rounds")
    def image_losses(tree, batch, key, rounds):
        prompt = nnx.merge(generator, tree["prompt"])(batch["class_ids"])
        transformer = nnx.merge(model, tree["transformer"])
        codes = batch["codes"]

        def one(total, r):
            inputs, weights = objective.evaluated(key, codes, r, rounds)
            loss = losses.smoothed_cross_entropy(
                transformer.code_logits(inputs, prompt, pin=sharding.split_batch), codes, 0.0
            )
            return total + jnp.sum(loss * weights, -1) / jnp.sum(weights, -1), None

        return jax.lax.scan(one, jnp.zeros(len(codes)), jnp.arange(rounds))[0] / rounds

    seed_key = sharding.make_key(config.seed + 5, mesh)

    def evaluate(tree: Tree, codes: np.ndarray, labels: np.ndarray) -> float | None:
        if not len(codes):
            return None
        # What is drawn for an image depends on its chunk and its place there, not on the padding
        # that the number of devices asks for. Of few images a chunk is as large: one compilation.
        chunk = min(ROWS, max(1, CODES // codes.shape[1]))
        size = -(-chunk // mesh.size) * mesh.size
        rounds = objective.rounds(max(1, min(config.score.rounds, DRAWS // len(codes))))
        found = []
        bar = progress(len(codes), "evaluate", "image", delay=5.0)
        with jax.set_mesh(mesh), bar as shown:
            for number, first in enumerate(range(0, len(codes), chunk)):
                rows = np.arange(first, first + size).clip(max=len(codes) - 1)
                batch = {"codes": codes[rows], "class_ids": labels[rows]}
                batch = sharding.to_global(batch, mesh)
                key = jax.random.fold_in(seed_key, number)
                values = sharding.to_host(image_losses(tree, batch, key, rounds), mesh)
                found.append(values[: min(chunk, len(codes) - first)])
                shown.update(len(found[-1]))
        return float(np.mean(np.concatenate(found)))

    return evaluate


def _curves(rows: list[dict[str, float]]) -> dict[str, tuple[list, list]]:
    """name -> (steps, values) of the logged losses."""
    names = {
        "training batches": "loss",
        "training images": "evaluated_train",
        "held-out images": "evaluated_heldout",
    }
    found = {}
    for name, column in names.items():
        points = [(row["step"], row[column]) for row in rows if column in row]
        if points:
            found[name] = tuple(list(values) for values in zip(*points, strict=True))
    return found
