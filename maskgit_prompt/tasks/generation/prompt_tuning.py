"""Tuning on stored codes: a prompt, or with other path patterns any part of the model."""

import dataclasses
import pathlib

import jax
import numpy as np
from ml_collections import ConfigDict

from maskgit_prompt import params, streams
from maskgit_prompt.backbones import make_module
from maskgit_prompt.backbones.compute import Compute
from maskgit_prompt.data import splits
from maskgit_prompt.data.batches import batch_indices, views
from maskgit_prompt.data.codes import Codes
from maskgit_prompt.devices import sharding
from maskgit_prompt.models import prompt
from maskgit_prompt.models.prompt import PromptGenerator
from maskgit_prompt.params import Tree
from maskgit_prompt.tasks.generation.encoding import Encoded
from maskgit_prompt.tasks.generation.evaluator import make_evaluator
from maskgit_prompt.tasks.generation.loss import prompt_loss
from maskgit_prompt.tasks.generation.objectives import make_objective
from maskgit_prompt.tasks.generation.plan import Plan
from maskgit_prompt.tasks.generation.watching import make_show
from maskgit_prompt.tuning.tune import Examples, Tuned, steps_of, tune


@dataclasses.dataclass(frozen=True)
class TuningCodes:
    """What tuning sees of the images: codes and labels, no pixels.

    Attributes:
      codes, labels: [n, views, L], read as batches ask for them, and [n], to tune on.
      scored: int64, which of them the training loss is measured on.
      test, test_labels: [m, L], [m], which the held-out loss is measured on.
    """

    codes: Codes
    labels: np.ndarray
    scored: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray


@dataclasses.dataclass(frozen=True)
class TunedModel:
    """A tuned prompt generator and the transformer behind it.

    Attributes:
      prompt: the generator's parameters, on the host.
      transformer: the transformer's parameters, on the mesh.
      frozen: how many parameters of the whole backbone stayed as they were.
      run: how the tuning went; its losses are cross entropies in nats per hidden code, without
        label smoothing, under the class's prompt.
    """

    prompt: Tree
    transformer: Tree
    frozen: int
    run: Tuned


def tuning_codes(plan: Plan, stored: Encoded) -> TuningCodes:
    """What tuning sees of a plan's images."""
    config, data = plan.config, plan.data
    labels = data.labels(data.tune)
    return TuningCodes(
        codes=stored.of(data.tune),
        labels=labels,
        scored=splits.thin(labels, config.score.most, config.data.seed),
        test=stored.plain(data.test) if len(data.test) else np.zeros([0, 1], np.int32),
        test_labels=data.labels(data.test),
    )


def tune_prompt(
    plan: Plan,
    codes: TuningCodes,
    home: pathlib.Path,
    *,
    scratch: bool = False,
    keep_best: bool = False,
) -> TunedModel:
    """Tunes what plan.config.trainable names.

    Args:
      home: the workdir.
      scratch: begin with random transformer weights in place of the backbone's.
      keep_best: return the state with the smallest held-out loss instead of the last.
    """
    config, backbone, cfg, mesh = plan.config, plan.backbone, plan.prompt_config, plan.mesh
    part = backbone.part("transformer")
    model = part.prompted(cfg, Compute.of(config), remat=config.train.remat)
    generator, init_prompt = params.create(lambda rngs: PromptGenerator(cfg, rngs=rngs))
    if scratch:
        _, init = params.create(make_module(part.kind, part.cfg))
        key = jax.random.key(streams.seed_of(config.seed, "scratch"))
        drawn = {"transformer": jax.device_get(jax.jit(init)(key))}
        transformer = sharding.place(drawn, mesh, part.axes)["transformer"]
    else:
        transformer = part.placed(mesh)
    key = jax.random.key(streams.seed_of(config.seed, "prompt"))
    drawn = jax.device_get(jax.jit(init_prompt)(key))
    tree = {"transformer": transformer, "prompt": sharding.place(drawn, mesh, prompt.AXES)}
    objective = make_objective(config, part.decoding, backbone.part("tokenizer").cfg.codebook)
    evaluate = make_evaluator(config, objective, model, generator, mesh)
    examples = make_examples(config, codes, evaluate)
    if config.train.show_every:
        show = make_show(plan, home, steps_of(config.train, examples.number))
        examples = dataclasses.replace(examples, show=show)
    tuned = tune(
        config,
        tree,
        prompt_loss(model, generator, objective),
        examples,
        home,
        mesh,
        best="heldout" if keep_best else "",
    )
    return TunedModel(
        prompt=sharding.tree_to_host(tuned.tree["prompt"], mesh),
        transformer=tuned.tree["transformer"],
        frozen=tuned.frozen + params.count(backbone.part("tokenizer").tree),
        run=tuned,
    )


def make_examples(config: ConfigDict, codes: TuningCodes, evaluate) -> Examples:
    """Batches of stored codes, and the losses on training and on held-out images.

    evaluate: of `evaluator.make_evaluator`.
    """

    def batch(step: int) -> dict[str, np.ndarray]:
        size = config.train.batch_size
        rows = batch_indices(config.seed, step, len(codes.labels), size)
        view = views(config.seed, step, size, codes.codes.shape[1])
        return {
            "codes": codes.codes[rows, view].astype(np.int32),
            "class_ids": codes.labels[rows],
            "instance_ids": rows.astype(np.int32),
        }

    plain = codes.codes[codes.scored, 0].astype(np.int32)  # [k, L]
    return Examples(
        number=len(codes.labels),
        batch=batch,
        evaluations={
            "train": lambda tree: evaluate(tree, plain, codes.labels[codes.scored]),
            "heldout": lambda tree: evaluate(tree, codes.test, codes.test_labels),
        },
    )
