"""Pretrains a part of a backbone, on drawn and on real images.

The parts are tokenizer, transformer and features, an encoder for classifiers, and an
encoder-decoder of images and texts, which learns from drawn scenes.

1. Find the images.
2. Train the part of config.stage, on pixels or on codes of the tokenizer of the stage before.
3. Write a backbone folder with this part and those of the stages before.
"""

import dataclasses
import importlib
import pathlib
import time
from typing import Any

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from maskgit_prompt import backbones, params, streams
from maskgit_prompt.backbones.compute import Compute
from maskgit_prompt.config import rules, uses
from maskgit_prompt.data import corpus as corpora
from maskgit_prompt.data.corpus import Corpus
from maskgit_prompt.data.sets import scenes as drawn_scenes
from maskgit_prompt.data.sets import synthetic
from maskgit_prompt.data.views import ViewConfig, ViewMaker
from maskgit_prompt.decoding.config import DecodeConfig
from maskgit_prompt.devices import distributed, sharding
from maskgit_prompt.errors import UsageError, UserError
from maskgit_prompt.importers import obtain
from maskgit_prompt.params import Tree
from maskgit_prompt.storage import workdir
from maskgit_prompt.tasks.pretraining import networks, scenes, tokenizer
from maskgit_prompt.tasks.pretraining.lesson import Network, Setup
from maskgit_prompt.tasks.pretraining.scenes import SceneCorpus
from maskgit_prompt.tuning import profile
from maskgit_prompt.tuning.tune import check_patterns, tune


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
        DecodeConfig(**config.sample).check_sampler(config.model)
    perceptual = tokenizer.prepare(config) if config.stage == "tokenizer" else None
    mesh = sharding.make_mesh(**config.mesh)
    sharding.check_batch(config.train.batch_size, config.train.micro_batches, mesh)
    profile.bounds(config.profile, config.train.steps)
    found = obtain.backbone(config.backbone, config.download)
    before = backbones.load(found) if found else backbones.Backbone(config.name, {})
    given = _given(config, before)
    # Before the images are looked for, whose classes are not known yet.
    classes = getattr(given.cfg, "classes", 1) if given else 1
    network = networks.make_network(config, before, classes)
    _check(config, network, before, mesh)
    _check_given(config, network, given)

    # 1. The images.
    corpus, view_maker = _images(config, path)
    network = networks.make_network(config, before, len(corpus.images.classes))
    if given:
        _check_classes(config.stage, given, before, corpus.images.classes)
    with workdir.prepare(path, config) as folder:
        workdir.bind(folder, {"images": corpus.images.fingerprint})
        if distributed.is_first():
            print(corpus.summary, flush=True)

        # 2. Training.
        # Initialized by jit on one device, which gives the same numbers on every mesh.
        key = jax.random.key(streams.seed_of(config.seed, "prompt"))
        first = given.tree if given else jax.device_get(jax.jit(network.init)(key))
        axes = backbones.Part(network.kind, network.cfg, {}).axes
        own = sharding.place({config.stage: first}, mesh, axes)[config.stage]
        logging.info("%s: %d parameters", config.stage, params.count(own))
        stage = importlib.import_module(f"maskgit_prompt.tasks.pretraining.{config.stage}")
        lesson = stage.lesson(
            Setup(config, network, before, corpus, view_maker, own, mesh, folder, perceptual)
        )
        best = "heldout" if "heldout" in lesson.examples.evaluations else ""
        tuned = tune(config, lesson.tree, lesson.loss, lesson.examples, folder, mesh, best=best)

        # 3. The backbone so far.
        tree = sharding.tree_to_host(tuned.tree[config.stage], mesh)
        stages = {
            **before.provenance.get("stages", {}),
            config.stage: {
                "steps": tuned.steps,
                "batch_size": config.train.batch_size,
                "images": len(corpus),
                **_drawn(config),
                "data_seed": config.data.seed,
                "seconds_of_last_run": round(time.time() - began),
                "last": {k: round(v, 4) for k, v in tuned.last.items()},
                "heldout": tuned.loss,
            },
        }
        kept = _still_fit(before, config.stage, tree)
        if kept.keys() != before.parts.keys() and distributed.is_first():
            print("left out the transformer: the tokenizer has other codes now; train it anew")
        before = dataclasses.replace(before, parts=kept)
        backbone = dataclasses.replace(
            before,
            name=config.name,
            parts={**kept, config.stage: backbones.Part(network.kind, network.cfg, tree)},
            classes=_classes(config, before, corpus.images.classes),
            provenance={"data": corpus.images.name, "stages": stages},
            vocabulary=_vocabulary(config, before),
        )
        backbones.save(backbone, folder / "backbone", config.store_dtype)
        print(f"wrote {folder / 'backbone'}: {', '.join(backbone.parts)}")


def _images(config: ConfigDict, path: str) -> tuple[Corpus, ViewMaker] | tuple[SceneCorpus, None]:
    """(what is learned from, what makes views of pictures).

    path: the workdir, for what is kept of a large set of files.
    """
    if config.stage == "multimodal":
        return SceneCorpus.of(config), None
    view_config = ViewConfig(config.data.size, tuple(config.data.zoom), tuple(config.data.grounds))
    corpus = corpora.load(config.data, view_config.source_size, pathlib.Path(path) / "codes")
    return corpus, ViewMaker(
        corpus.images, view_config, corpus.flips, corpus.photographs, config.data.seed
    )


def _drawn(config: ConfigDict) -> dict[str, Any]:
    """What a backbone's provenance says of drawn pictures."""
    if config.stage == "multimodal":
        return {"tasks": list(config.scenes.tasks), "drawn": drawn_scenes.VERSION}
    drawn = corpora.DRAWN in config.data.sets
    return {"sets": list(config.data.sets), "drawn": synthetic.VERSION if drawn else None}


def _vocabulary(config: ConfigDict, before: backbones.Backbone) -> dict[str, Any] | None:
    """The vocabulary of the backbone's texts, if it has any."""
    return scenes.vocabulary().stored() if config.stage == "multimodal" else before.vocabulary


WAY_OUT = "or leave out config.initial_weights to begin anew"


def _given(config: ConfigDict, before: backbones.Backbone) -> backbones.Part | None:
    """The backbone's own part to go on from, or None to begin with random weights.

    Raises:
      UsageError: the backbone has no such part.
    """
    if config.initial_weights == "random":
        return None
    if config.stage not in before.parts:
        raise UsageError(
            f"config.initial_weights = 'backbone', but config.backbone = {config.backbone!r} has "
            f"no {config.stage}; give a backbone that has one, {WAY_OUT}"
        )
    return before.parts[config.stage]


def _check_given(config: ConfigDict, network: Network, given: backbones.Part | None) -> None:
    """Raises UsageError for a part to go on from that is of another kind or of other sizes."""
    if given is None:
        return
    expected = jax.eval_shape(network.init, jax.random.key(0))
    try:
        if given.kind != network.kind:
            raise UserError(f"kind {given.kind}, expected {network.kind}")
        params.check(given.tree, expected, f"the {config.stage}")
    except UserError as error:
        raise UsageError(
            f"config.initial_weights = 'backbone', but {error}; set config.{config.stage} as the "
            f"backbone has it, {WAY_OUT}"
        ) from error


def _check_classes(
    stage: str, given: backbones.Part, before: backbones.Backbone, found: tuple[str, ...]
) -> None:
    """Raises UsageError for images of other classes than a part to go on from has learnt."""
    number = getattr(given.cfg, "classes", len(found))
    if number != len(found) or (stage == "transformer" and found != before.classes):
        raise UsageError(
            f"config.initial_weights = 'backbone', but the images have {len(found)} classes, and "
            f"the {stage} learnt {number}, not all the same; train on sets with the same classes, "
            f"{WAY_OUT}"
        )


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
    if config.stage in ("tokenizer", "transformer"):
        reader = network.cfg if config.stage == "tokenizer" else before.part("tokenizer").cfg
        if reader.image_size != config.data.size:
            raise UsageError(
                f"config.data.size = {config.data.size}, but the tokenizer takes images of "
                f"{reader.image_size} pixels a side; set config.data.size={reader.image_size}"
            )
    tree = {config.stage: jax.eval_shape(network.init, jax.random.key(0))}
    check_patterns(config, tree)
