"""Pretrains a part of a backbone on synthetic images: tokenizer, transformer or features.

1. Draw the images, or take codes from the previous stage's tokenizer.
2. Train the part of config.stage.
3. Write a backbone folder with this part and those of the previous stages.
"""

import dataclasses
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
from absl import logging
from flax import nnx
from ml_collections import ConfigDict

from maskgit_prompt import backbones, params, streams
from maskgit_prompt.backbones.compute import Compute
from maskgit_prompt.config import rules, uses
from maskgit_prompt.data.augment import PLAIN
from maskgit_prompt.data.batches import batch_indices
from maskgit_prompt.data.images import ImageSet
from maskgit_prompt.data.sets import synthetic
from maskgit_prompt.devices import sharding
from maskgit_prompt.errors import UsageError
from maskgit_prompt.importers import obtain
from maskgit_prompt.models.features import FeaturesConfig
from maskgit_prompt.models.tokenizer import TokenizerConfig
from maskgit_prompt.storage import workdir
from maskgit_prompt.tasks.generation.encoding import encode_once
from maskgit_prompt.tasks.generation.loss import class_loss
from maskgit_prompt.tasks.generation.objectives import make_objective
from maskgit_prompt.tasks.losses import QuantizerWeights
from maskgit_prompt.tasks.pretraining import classifier_loss, tokenizer_loss
from maskgit_prompt.tuning import optimizers, profile
from maskgit_prompt.tuning.tune import Examples, tune


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
    mesh = sharding.make_mesh(**config.mesh)
    sharding.check_batch(config.train.batch_size, config.train.micro_batches, mesh)
    found = obtain.backbone(config.backbone, config.download)
    before = backbones.load(found) if found else backbones.Backbone(config.name, {})
    kind, cfg, loss_of = _part(config, before)
    if config.stage == "transformer":
        Compute.of(config).check(cfg, mesh)
    graphdef, init = _network(config, kind, cfg)
    profile.bounds(config.profile, config.train.steps)
    if config.stage != "features":
        reader = cfg if config.stage == "tokenizer" else before.part("tokenizer").cfg
        if reader.image_size != config.data.size:
            raise UsageError(
                f"config.data.size = {config.data.size}, but the tokenizer takes images of "
                f"{reader.image_size} pixels a side; set config.data.size={reader.image_size}"
            )
    images = synthetic.image_set(config.data.num, config.data.seed, config.data.size)
    with workdir.prepare(path, config) as folder:
        # 1. The batches.
        if config.stage == "transformer":
            everything = ((np.arange(len(images)), PLAIN),)
            tokenizer = before.part("tokenizer")
            stored = encode_once(images, everything, tokenizer, folder / "codes", config.dtype)

            def batch(step: int) -> dict[str, np.ndarray]:
                rows = batch_indices(config.seed, step, len(images), config.train.batch_size)
                return {
                    "codes": stored.plain(rows),
                    "class_ids": images.labels[rows].astype(np.int32),
                }
        else:
            batch = _Pixels(images, config.seed, config.train.batch_size)

        # 2. Training.
        # Initialized by jit on one device, which gives the same numbers on every mesh.
        key = jax.random.key(streams.seed_of(config.seed, "prompt"))
        drawn = {config.stage: jax.device_get(jax.jit(init)(key))}
        axes = backbones.Part(kind, cfg, {}).axes
        tree = sharding.place(drawn, mesh, axes)
        logging.info("%s: %d parameters", config.stage, params.count(tree))
        tuned = tune(
            config,
            tree,
            loss_of(graphdef),
            Examples(len(images), batch, what=config.stage),
            folder,
            mesh,
        )

        # 3. The backbone so far.
        tree = sharding.tree_to_host(tuned.tree[config.stage], mesh)
        part = backbones.Part(kind, cfg, tree)
        stages = {
            **before.provenance.get("stages", {}),
            config.stage: {
                "steps": config.train.steps,
                "batch_size": config.train.batch_size,
                "images": config.data.num,
                "data_seed": config.data.seed,
                "seconds_of_last_run": round(time.time() - began),
                "last": {k: round(v, 4) for k, v in tuned.last.items()},
            },
        }
        backbone = dataclasses.replace(
            before,
            name=config.name,
            parts={**before.parts, config.stage: part},
            classes=images.classes,
            provenance={"data": f"synthetic {synthetic.VERSION}", "stages": stages},
        )
        backbones.save(backbone, folder / "backbone", config.store_dtype)
        print(f"wrote {folder / 'backbone'}: {', '.join(backbone.parts)}")


def _part(config: ConfigDict, before: backbones.Backbone):
    """(kind, config of the network, graphdef -> loss function) of a stage."""
    options = {
        k: tuple(v) if isinstance(v, list | tuple) else v for k, v in config[config.stage].items()
    }
    if config.stage == "tokenizer":
        try:
            cfg = TokenizerConfig(**options, dtype=config.dtype)
        except (TypeError, ValueError) as error:
            raise UsageError(f"config.tokenizer: {error}") from error
        weights = QuantizerWeights(commitment=config.commitment, entropy=config.entropy_ratio)
        return "vq", cfg, lambda graphdef: tokenizer_loss(graphdef, weights)
    if config.stage == "features":
        try:
            cfg = FeaturesConfig(**options, classes=len(synthetic.CLASSES))
        except (TypeError, ValueError) as error:
            raise UsageError(f"config.features: {error}") from error
        return "convolutional", cfg, classifier_loss
    tokenizer = before.part("tokenizer").cfg
    sizes = dict(
        codebook=tokenizer.codebook,
        length=tokenizer.length,
        classes=len(synthetic.CLASSES),
    )
    if config.model == "causal":
        # Classes share the codes' rows; the start token has a row that is not a class.
        sizes |= {"positions": tokenizer.length, "start": len(synthetic.CLASSES)}
    kinds = {name: k for name, k in backbones.kinds().items() if k.part == "transformer"}
    if config.model not in kinds:
        raise UsageError(f"config.model = {config.model!r}, expected {' or '.join(kinds)}")
    kind = kinds[config.model]
    try:
        cfg = Compute.of(config).applied(kind.config(**options, **sizes))
    except (TypeError, ValueError) as error:
        raise UsageError(f"config.transformer: {error}") from error
    objective = make_objective(config, kind.decoding, tokenizer.codebook)
    return config.model, cfg, lambda graphdef: class_loss(graphdef, objective)


def _network(config: ConfigDict, kind: str, cfg: Any) -> tuple[nnx.GraphDef, Callable]:
    """The network of a stage, as params.create makes it.

    Raises:
      UsageError: sizes that do not fit one another, path patterns that fit no parameter of it.
    """
    try:
        graphdef, init = params.create(backbones.make_module(kind, cfg))
        tree = {config.stage: jax.eval_shape(init, jax.random.key(0))}
    except (NotImplementedError, OverflowError, TypeError, ValueError) as error:
        text = " ".join(str(error).split())
        raise UsageError(f"config.{config.stage} has sizes that do not fit: {text}") from error
    params.split(tree, tuple(config.trainable))
    optimizers.check_paths(config.optimizer, tree)
    return graphdef, init


class _Pixels:
    """Batches of drawn images; draws the next ones while a step runs."""

    AHEAD = 4

    def __init__(self, images: ImageSet, seed: int, batch_size: int):
        self._images, self._seed, self._size = images, seed, batch_size
        self._pool = ThreadPoolExecutor(1)
        self._started: dict = {}

    def __call__(self, step: int) -> dict[str, np.ndarray]:
        for ahead in range(step, step + self.AHEAD):
            if ahead not in self._started:
                self._started[ahead] = self._pool.submit(self._draw, ahead)
        return self._started.pop(step).result()

    def _draw(self, step: int) -> dict[str, np.ndarray]:
        rows = batch_indices(self._seed, step, len(self._images), self._size)
        return {
            "pixels": self._images.read(rows),
            "class_ids": self._images.labels[rows].astype(np.int32),
        }
