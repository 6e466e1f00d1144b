"""Pretrains a part of a backbone, on drawn and on real images: tokenizer, transformer or features.

1. Find the images.
2. Train the part of config.stage, on pixels or on codes of the tokenizer of the stage before.
3. Write a backbone folder with this part and those of the stages before.
"""

import dataclasses
import importlib
import pathlib
import time

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from maskgit_prompt import backbones, params, streams
from maskgit_prompt.backbones.compute import Compute
from maskgit_prompt.config import rules, uses
from maskgit_prompt.data import corpus as corpora
from maskgit_prompt.data.scenes import Scene, Scenes
from maskgit_prompt.data.sets import synthetic
from maskgit_prompt.devices import distributed, sharding
from maskgit_prompt.errors import UsageError, UserError
from maskgit_prompt.importers import obtain
from maskgit_prompt.params import Tree
from maskgit_prompt.storage import workdir
from maskgit_prompt.tasks.pretraining import networks, tokenizer
from maskgit_prompt.tasks.pretraining.lesson import Network, Setup
from maskgit_prompt.tuning import optimizers, profile
from maskgit_prompt.tuning.tune import tune


def run(config: ConfigDict, path: str) -> None:
    began = time.time()
    rules.check(config)
    if config.stage not in config:
        raise UsageError(
            f"config.stage = {config.stage!r} needs config.{config.stage}, the sizes; use "
            f"--config=configs/mini.py:{config.stage}"
        )
    if config.stage == "transformer":
        uses.check(config, {"transformer": config.model})
    perceptual = tokenizer.prepare(config) if config.stage == "tokenizer" else None
    mesh = sharding.make_mesh(**config.mesh)
    sharding.check_batch(config.train.batch_size, config.train.micro_batches, mesh)
    profile.bounds(config.profile, config.train.steps)
    found = obtain.backbone(config.backbone, config.download)
    before = backbones.load(found) if found else backbones.Backbone(config.name, {})
    # Whatever the classes are, before the images are looked for.
    _check(config, networks.make_network(config, before, classes=1), before, mesh)

    # 1. The images.
    scene = Scene(config.data.size, tuple(config.data.zoom), tuple(config.data.grounds))
    corpus = corpora.load(config.data, scene.source_size, pathlib.Path(path) / "codes")
    scenes = Scenes(corpus.images, scene, corpus.flips, corpus.photographs, config.data.seed)
    network = networks.make_network(config, before, len(corpus.images.classes))
    given = _given(config, network, before, corpus.images.classes)
    with workdir.prepare(path, config) as folder:
        workdir.bind(folder, {"images": corpus.images.fingerprint})
        if distributed.is_first():
            print(corpus.summary, flush=True)

        # 2. Training.
        # Initialized by jit on one device, which gives the same numbers on every mesh.
        key = jax.random.key(streams.seed_of(config.seed, "prompt"))
        first = given or jax.device_get(jax.jit(network.init)(key))
        axes = backbones.Part(network.kind, network.cfg, {}).axes
        own = sharding.place({config.stage: first}, mesh, axes)[config.stage]
        logging.info("%s: %d parameters", config.stage, params.count(own))
        stage = importlib.import_module(f"maskgit_prompt.tasks.pretraining.{config.stage}")
        lesson = stage.lesson(
            Setup(config, network, before, corpus, scenes, own, mesh, folder, perceptual)
        )
        kept = "heldout" if "heldout" in lesson.examples.evaluations else ""
        tuned = tune(config, lesson.tree, lesson.loss, lesson.examples, folder, mesh, best=kept)

        # 3. The backbone so far.
        tree = sharding.tree_to_host(tuned.tree[config.stage], mesh)
        stages = {
            **before.provenance.get("stages", {}),
            config.stage: {
                "steps": tuned.steps,
                "batch_size": config.train.batch_size,
                "images": len(corpus),
                "sets": list(config.data.sets),
                "drawn": synthetic.VERSION if corpora.DRAWN in config.data.sets else None,
                "data_seed": config.data.seed,
                "seconds_of_last_run": round(time.time() - began),
                "last": {k: round(v, 4) for k, v in tuned.last.items()},
                "heldout": tuned.loss,
            },
        }
        kept = _still_fit(before, config.stage, tree)
        if kept.keys() != before.parts.keys():
            print("left out the transformer: the tokenizer has other codes now; train it anew")
        before = dataclasses.replace(before, parts=kept)
        backbone = dataclasses.replace(
            before,
            name=config.name,
            parts={**kept, config.stage: backbones.Part(network.kind, network.cfg, tree)},
            classes=_classes(config, before, corpus.images.classes),
            provenance={"data": corpus.images.name, "stages": stages},
        )
        backbones.save(backbone, folder / "backbone", config.store_dtype)
        print(f"wrote {folder / 'backbone'}: {', '.join(backbone.parts)}")


def _given(
    config: ConfigDict, network: Network, before: backbones.Backbone, classes: tuple[str, ...]
) -> Tree | None:
    """The backbone's own part to go on from, or None to begin with random weights.

    Raises:
      UsageError: no such part, one of another kind or sizes, or of other classes.
    """
    if config.initial_weights == "random":
        return None
    stage, way_out = config.stage, "or leave out config.initial_weights to begin anew"
    if stage not in before.parts:
        raise UsageError(
            f"config.initial_weights = 'backbone', but config.backbone = {config.backbone!r} has "
            f"no {stage}; give a backbone that has one, {way_out}"
        )
    part = before.parts[stage]
    expected = jax.eval_shape(network.init, jax.random.key(0))
    try:
        if part.kind != network.kind:
            raise UserError(f"kind {part.kind}, expected {network.kind}")
        params.check(part.tree, expected, f"the {stage}")
    except UserError as error:
        raise UsageError(
            f"config.initial_weights = 'backbone', but {error}; set config.{stage} as the backbone "
            f"has it, {way_out}"
        ) from error
    if stage == "transformer" and classes != before.classes:
        raise UsageError(
            f"config.initial_weights = 'backbone', but the images have {len(classes)} classes, "
            f"and the transformer learnt {len(before.classes)}, not all the same; train on sets "
            f"with the same classes, {way_out}"
        )
    return part.tree


def _still_fit(before: backbones.Backbone, stage: str, tree: Tree) -> dict[str, backbones.Part]:
    """The parts of the stages before that fit the new one.

    A tokenizer with another encoder or codebook makes other codes, which no transformer knows; one
    with only another decoder draws the same codes in another way.
    """
    if stage != "tokenizer" or "transformer" not in before.parts:
        return before.parts
    if "tokenizer" in before.parts:
        old, new = (params.flatten(t) for t in (before.parts["tokenizer"].tree, tree))
        rest = [path for path in new if not path.startswith("decoder/")]
        if old.keys() == new.keys() and all(np.array_equal(old[x], new[x]) for x in rest):
            return before.parts
    return {name: part for name, part in before.parts.items() if name != "transformer"}


def _classes(
    config: ConfigDict, before: backbones.Backbone, found: tuple[str, ...]
) -> tuple[str, ...]:
    """Names of the backbone's classes, which are those that its transformer learnt."""
    learnt = config.stage == "transformer" or "transformer" not in before.parts
    return found if learnt else before.classes


def _check(config: ConfigDict, network: Network, before: backbones.Backbone, mesh) -> None:
    """Raises UsageError for what does not fit: image size, devices, path patterns."""
    if config.stage == "transformer":
        Compute.of(config).check(network.cfg, mesh)
    if config.stage != "features":
        reader = network.cfg if config.stage == "tokenizer" else before.part("tokenizer").cfg
        if reader.image_size != config.data.size:
            raise UsageError(
                f"config.data.size = {config.data.size}, but the tokenizer takes images of "
                f"{reader.image_size} pixels a side; set config.data.size={reader.image_size}"
            )
    tree = {config.stage: jax.eval_shape(network.init, jax.random.key(0))}
    params.split(tree, tuple(config.trainable))
    optimizers.check_paths(config.optimizer, tree)
