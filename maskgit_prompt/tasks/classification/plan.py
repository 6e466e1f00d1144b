"""What a run works on, checked as far as it can be before anything is written."""

import contextlib
import dataclasses
import os
import pathlib

import numpy as np
from absl import logging
from jax.sharding import Mesh
from ml_collections import ConfigDict

from maskgit_prompt import params
from maskgit_prompt.backbones import Backbone, Part
from maskgit_prompt.backbones.compute import Compute
from maskgit_prompt.counts import counted
from maskgit_prompt.data import loading
from maskgit_prompt.data.loading import Splits
from maskgit_prompt.devices import sharding
from maskgit_prompt.errors import UsageError, UserError
from maskgit_prompt.tasks import claims
from maskgit_prompt.tasks.classification import protocols, sizes
from maskgit_prompt.tasks.classification.model import Classifier
from maskgit_prompt.tasks.classification.protocols import Normalization
from maskgit_prompt.tasks.classification.sizes import Sizes
from maskgit_prompt.tuning import methods, profile
from maskgit_prompt.tuning.methods import Method
from maskgit_prompt.tuning.tune import check_patterns, steps_of

PARTS = ("encoder",)  # of a backbone: what a tuned classifier depends on


@dataclasses.dataclass(frozen=True)
class Plan:
    """What every stage of a run reads and none changes.

    Attributes:
      config: of the run.
      tuning: the same with what follows from the number of images: `train.steps`, a warm-up in
        steps, the scaled learning rate, and the patterns of what trains.
      backbone: the frozen model.
      mesh: of all devices.
      data: the images; `judge` are those that decide between settings.
      method: what trains.
      sizes: of all that stands around the encoder.
      model: what computes logits.
    """

    config: ConfigDict
    tuning: ConfigDict
    backbone: Backbone
    mesh: Mesh
    data: Splits
    method: Method
    sizes: Sizes
    model: Classifier

    @property
    def parts(self) -> dict[str, np.ndarray]:
        """What images are for, in words -> their rows."""
        data = self.data
        return {"tuned on": data.tune, "deciding": data.judge, "held out": data.test}

    def with_tokens(self, tokens: int) -> "Plan":
        """The same with another prompt length, of the same images."""
        config = ConfigDict(self.config.to_dict())
        config.prompt.tokens = tokens
        made, model = make_model(config, self.backbone, len(self.data.images.classes))
        return dataclasses.replace(self, config=config, sizes=made, model=model)

    def with_judge(self) -> "Plan":
        """The same, tuned on the deciding images, too."""
        tune = np.sort(np.concatenate([self.data.tune, self.data.judge]))
        data = dataclasses.replace(self.data, tune=tune, judge=self.data.judge[:0])
        tuning = for_images(self.config, self.method, len(tune))
        return dataclasses.replace(self, data=data, tuning=tuning)


def make_plan(config: ConfigDict, backbone: Backbone, mesh: Mesh, path: str | os.PathLike) -> Plan:
    """Finds the images; raises for all that can be known to be wrong.

    path: the workdir, not touched but for what is kept of a large set of files.
    """
    protocol, part = protocols.find(config.protocol), backbone.part("encoder")
    method = method_of(config, part, mesh)
    make_model(config, backbone, classes=2)
    claims.check_apart(config.data, path)
    images = ConfigDict(config.data.to_dict())
    images.fit = protocol.fit or images.fit
    data = loading.load(
        images, part.cfg.image_size, pathlib.Path(path) / "found", protocol.resample
    )
    data = dataclasses.replace(data, judge_name="to decide between settings")
    if protocol.windows and data.images.read_windows is None:
        raise UsageError(
            f"config.protocol = {config.protocol!r} takes other windows of an image at every step, "
            f"which {data.images.name} cannot give; use images in files, or protocol vpt"
        )
    classes = len(data.images.classes)
    if classes < 2:
        raise UserError(
            f"{data.images.name} has one class, {data.images.classes[0]!r}; a classifier needs two "
            "or more: a folder for each"
        )
    empty = np.flatnonzero(np.bincount(data.labels(data.tune), minlength=classes) == 0)
    if len(empty):
        names = ", ".join(data.images.classes[c] for c in empty[:5])
        logging.warning(
            "%s: %s without an image to tune on, so nothing is learnt of them: %s%s",
            data.images.name,
            counted(len(empty), "class"),
            names,
            ", …" if len(empty) > 5 else "",
        )
    if not len(data.test):
        raise UserError(f"{data.images.name}: no images are held out; add images of each class")
    made, model = make_model(config, backbone, classes)
    tuning = tuning_of(config, method, part, made, len(data.tune))
    return Plan(config, tuning, backbone, mesh, data, method, made, model)


def make_model(config: ConfigDict, backbone: Backbone, classes: int) -> tuple[Sizes, Classifier]:
    """(the sizes of what stands around the encoder, what computes logits).

    Raises:
      UsageError: sizes that do not fit the encoder.
    """
    part, protocol = backbone.part("encoder"), protocols.find(config.protocol)
    cfg = dataclasses.replace(Compute.of(config).applied(part.cfg), remat=config.train.remat)
    made = sizes.of_config(config, cfg, classes, part.kind)
    own = Normalization(cfg.mean, cfg.std)
    return made, sizes.classifier(made, part.graphdef(cfg), protocol.normalization or own)


def method_of(config: ConfigDict, part: Part, mesh: Mesh) -> Method:
    """The method that config names, checked together with the encoder and the mesh.

    Raises:
      UsageError: the encoder has no such method, config's attention or dtype cannot compute it, or
        a batch cannot be divided over the mesh.
    """
    method = methods.of_classifier(config.method, part.cfg.layers, part.kind)
    Compute.of(config).check(part.cfg, mesh)
    sharding.check_batch(config.train.batch_size, config.train.micro_batches, mesh)
    return method


def tuning_of(
    config: ConfigDict, method: Method, part: Part, made: Sizes, number: int
) -> ConfigDict:
    """`for_images`, with its steps and its patterns checked.

    Args:
      part: the encoder.
      made: the sizes of what stands around it.
      number: of images to tune on.

    Raises:
      UsageError: a step to profile is never taken, or a path pattern fits no parameter.
    """
    tuning = for_images(config, method, number)
    profile.bounds(config.profile, tuning.train.steps)
    tree = params.abstract({"encoder": part.tree}) | sizes.outlines(made, part.tree)
    check_patterns(tuning, tree)
    return tuning


def for_images(config: ConfigDict, method: Method, number: int) -> ConfigDict:
    """The config with what follows from the number of images to tune on.

    1,000 images in batches of 64 for 100 epochs, 10 of them to warm up: 1,563 steps, 156 to warm
    up. With `optimizer.scaled` a learning rate of 1 becomes 64 / 256.
    """
    found = ConfigDict(config.to_dict())
    optimizer = found.optimizer
    found.trainable = method.patterns(config.trainable)
    found.train.steps = steps_of(config.train, number)
    if config.optimizer.warmup_epochs and not config.optimizer.warmup_steps:
        share = config.optimizer.warmup_epochs / max(config.train.epochs, 1e-9)
        optimizer.warmup_steps = min(found.train.steps - 1, round(share * found.train.steps))
    if config.optimizer.scaled:
        optimizer.learning_rate = config.optimizer.learning_rate * config.train.batch_size / 256
    found.train.epochs = 0.0
    return found


def claim(plan: Plan, path: str | os.PathLike) -> contextlib.AbstractContextManager[pathlib.Path]:
    """As claims.claim, for the plan's images."""
    return claims.claim(plan.config, plan.data, plan.parts, path)
