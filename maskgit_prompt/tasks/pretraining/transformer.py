"""The stage that trains a transformer on the codes of a tokenizer that is done."""

import dataclasses
from collections.abc import Callable

import numpy as np

from maskgit_prompt import backbones, streams
from maskgit_prompt.backbones import Part
from maskgit_prompt.backbones.compute import Compute
from maskgit_prompt.decoding.config import DecodeConfig
from maskgit_prompt.devices import sharding
from maskgit_prompt.params import Tree
from maskgit_prompt.tasks.generation import pictures
from maskgit_prompt.tasks.generation.evaluator import make_evaluator
from maskgit_prompt.tasks.generation.loss import class_loss
from maskgit_prompt.tasks.generation.objectives import make_objective
from maskgit_prompt.tasks.generation.sampling import Sampler
from maskgit_prompt.tasks.generation.watching import add_sheet
from maskgit_prompt.tasks.pretraining.batches import CodeBatches
from maskgit_prompt.tasks.pretraining.lesson import Lesson, Setup
from maskgit_prompt.tuning.tune import Examples

EACH = 8  # images per class on sheets
CURVES = {"loss": "training batches", "evaluated_heldout": "held-out images"}


def lesson(setup: Setup) -> Lesson:
    """Cross entropy of codes under their classes; the smallest held-out loss is kept."""
    config, network, corpus = setup.config, setup.network, setup.corpus
    tokenizer = setup.before.part("tokenizer")
    decoding = backbones.kinds()[network.kind].decoding
    objective = make_objective(config, decoding, tokenizer.cfg.codebook)
    batches = CodeBatches(
        corpus,
        setup.view_maker,
        tokenizer,
        setup.home / "codes",
        views=config.data.views,
        seed=config.seed,
        batch_size=config.train.batch_size,
        dtype=config.dtype,
    )
    evaluations = {}
    if len(rows := setup.scored()):
        # Without dropout; the loss of the classes themselves.
        model = Part(network.kind, network.cfg, {}).prompted(None, Compute.of(config))
        evaluate = make_evaluator(config, objective, model, None, setup.mesh)
        places = np.searchsorted(corpus.heldout, rows)
        codes, labels = batches.heldout[places], batches.heldout_labels[places]
        evaluations["heldout"] = lambda tree: evaluate(tree, codes, labels)
    examples = Examples(
        number=len(corpus),
        batch=batches,
        evaluations=evaluations,
        show=_make_show(setup) if config.train.show_every else None,
        what="transformer",
    )
    loss = class_loss(network.graphdef, objective)
    return Lesson(loss, {"transformer": setup.own}, examples)


def _make_show(setup: Setup) -> Callable[[int, Tree], None]:
    """Sheets of images of some classes, decoded as config.sample says, always of the same noise."""
    config, network, mesh = setup.config, setup.network, setup.mesh
    part = Part(network.kind, network.cfg, {})
    backbone = dataclasses.replace(setup.before, parts={**setup.before.parts, "transformer": part})
    names = setup.corpus.images.classes
    classes = np.repeat(pictures.shown_classes(setup.corpus.images.labels), EACH)

    def show(step: int, tree: Tree) -> None:
        sampler = Sampler(
            backbone, mesh, DecodeConfig(**config.sample), Compute.of(config), tree["transformer"]
        )
        key = sharding.make_key(streams.seed_of(config.seed, "generate"), mesh)
        images = sampler.images(sampler.class_prompts(classes), key, what="show")
        sheet = pictures.sheet(images, classes, names)
        title = f"Transformer: {config.name}"
        add_sheet(setup.home, title, CURVES, sheet, step, config.train.steps)

    return show
