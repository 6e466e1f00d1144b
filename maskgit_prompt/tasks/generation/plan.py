"""What a run works on, checked as far as it can be before anything is written."""

import contextlib
import dataclasses
import functools
import os
import pathlib

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from maskgit_prompt import params
from maskgit_prompt.backbones import Backbone, abstract
from maskgit_prompt.backbones.compute import Compute
from maskgit_prompt.data import loading
from maskgit_prompt.data.loading import Splits
from maskgit_prompt.decoding.config import DecodeConfig
from maskgit_prompt.devices import sharding
from maskgit_prompt.errors import UsageError
from maskgit_prompt.models.prompt import PromptConfig, PromptGenerator
from maskgit_prompt.tasks import claims
from maskgit_prompt.tasks.generation.objectives import make_objective
from maskgit_prompt.tuning import memory, profile
from maskgit_prompt.tuning.tune import check_patterns, steps_of

PARTS = ("tokenizer", "transformer")  # of a backbone: what a tuned prompt depends on


@dataclasses.dataclass(frozen=True)
class Plan:
    """What every stage of a run reads and none changes.

    Attributes:
      config: of the run.
      backbone: the frozen model.
      mesh: of all devices.
      data: the images by split.
      prompt_config: the prompt generator's sizes.
    """

    config: ConfigDict
    backbone: Backbone
    mesh: Mesh
    data: Splits
    prompt_config: PromptConfig

    @functools.cached_property
    def decode_config(self) -> DecodeConfig:
        """The config's settings of decoding."""
        return DecodeConfig(**self.config.sample)


def make_plan(config: ConfigDict, backbone: Backbone, mesh: Mesh, path: str | os.PathLike) -> Plan:
    """Finds the images; raises for all that can be known to be wrong.

    path: the workdir, not touched but for what is kept of a large set of files.
    """
    check(config, backbone, mesh)
    claims.check_apart(config.data, path)
    size = backbone.part("tokenizer").cfg.image_size
    data = loading.load(config.data, size, codes_folder(config, path))
    data = data.thinned(config.score.most, config.data.seed)
    cfg = prompt_config(config, backbone, len(data.images.classes), len(data.tune))
    check_model(config, backbone, cfg)
    profile.bounds(config.profile, steps_of(config.train, len(data.tune)))
    return Plan(config, backbone, mesh, data, cfg)


def claim(plan: Plan, path: str | os.PathLike) -> contextlib.AbstractContextManager[pathlib.Path]:
    """As claims.claim, for the plan's images."""
    return claims.claim(plan.config, plan.data, parts(plan), path)


def parts(plan: Plan) -> dict[str, np.ndarray]:
    """What images are for, in words -> their rows."""
    return {"tuned on": plan.data.tune, "held out": plan.data.test}


def codes_folder(config: ConfigDict, path) -> pathlib.Path:
    """Where codes are kept: config.data.codes, or in the workdir."""
    return pathlib.Path(config.data.codes) if config.data.codes else pathlib.Path(path) / "codes"


# --- Checks ---------------------------------------------------------------------------------------


def check(config: ConfigDict, backbone: Backbone, mesh) -> None:
    """Raises for what is wrong whatever the images are."""
    backbone.check_promptable()
    Compute.of(config).check(backbone.part("transformer").cfg, mesh)
    sharding.check_batch(config.train.batch_size, config.train.micro_batches, mesh)
    part, codebook = backbone.part("transformer"), backbone.part("tokenizer").cfg.codebook
    DecodeConfig(**config.sample).check(codebook, part.kind, mesh)
    make_objective(config, part.decoding, codebook)
    check_model(config, backbone, prompt_config(config, backbone, classes=1, instances=1))


def check_model(config: ConfigDict, backbone: Backbone, cfg: PromptConfig) -> None:
    """Raises UsageError for a prompt that memory cannot hold, and as tune.check_patterns."""
    memory.check_prompt(
        cfg,
        backbone.part("transformer").cfg,
        config.train.batch_size // config.train.micro_batches // jax.process_count(),
        backbone.part("tokenizer").cfg.length,
    )
    check_patterns(config, _abstract_model(backbone, cfg))


def check_trainable(plan: Plan, patterns: tuple[str, ...], key: str) -> None:
    """Raises UsageError for patterns that no part of the plan's model fits; key: for messages."""
    params.split(_abstract_model(plan.backbone, plan.prompt_config), patterns, key)


def _abstract_model(backbone: Backbone, cfg: PromptConfig) -> params.Tree:
    prompt = abstract(lambda rngs: PromptGenerator(cfg, rngs=rngs))
    return params.abstract({"transformer": backbone.part("transformer").tree, "prompt": prompt})


def prompt_config(
    config: ConfigDict, backbone: Backbone, classes: int, instances: int
) -> PromptConfig:
    """The generator's sizes for this transformer and these numbers of classes and images."""
    options = config.prompt.to_dict()
    deep, each = options.pop("deep"), options.pop("instances")
    if deep and config.prompt.prefix:
        raise UsageError(
            "config.prompt.deep and config.prompt.prefix are both set; a prefix stands in every "
            "layer already: leave one out"
        )
    transformer = backbone.part("transformer").cfg
    try:
        return PromptConfig(
            width=transformer.width,
            depth=transformer.layers if deep or config.prompt.prefix else 1,
            classes=classes,
            instances=instances if each else 0,
            **options,
        )
    except ValueError as error:
        raise UsageError(f"config.prompt.{error}") from error
