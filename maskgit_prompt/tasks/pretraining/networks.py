"""The network that a stage of pretraining trains, from the config's sizes."""

import dataclasses
from typing import Any

import jax
from ml_collections import ConfigDict

from maskgit_prompt import backbones, params
from maskgit_prompt.backbones import Backbone
from maskgit_prompt.backbones.compute import Compute
from maskgit_prompt.errors import UsageError
from maskgit_prompt.tasks.pretraining import scenes
from maskgit_prompt.tasks.pretraining.lesson import Network


def make_network(config: ConfigDict, before: Backbone, classes: int) -> Network:
    """The network of config.stage.

    Args:
      before: the parts of the stages before.
      classes: of the images that are trained on.

    Raises:
      UsageError: an unknown kind, sizes that do not fit one another.
      UserError: a transformer without a tokenizer before it.
    """
    stage = config.stage
    sizes = {k: tuple(v) if isinstance(v, list | tuple) else v for k, v in config[stage].items()}
    kind = backbones.kinds()[_kind(config)]
    if stage == "tokenizer":
        sizes["dtype"] = config.dtype
    elif stage == "features":
        sizes["classes"] = classes
    elif stage == "encoder":
        sizes["image_size"] = config.data.size
    elif stage == "multimodal":
        sizes["vocabulary"] = scenes.vocabulary().tokenizer.layout.size
    else:
        sizes |= _of_codes(config, before, classes)
    try:
        cfg = kind.config(**sizes)
    except (TypeError, ValueError) as error:
        raise UsageError(f"config.{stage}: {error}") from error
    try:
        running = cfg
        if stage in ("transformer", "encoder", "multimodal"):
            cfg = Compute.of(config).applied(cfg)
            running = dataclasses.replace(cfg, remat=config.train.remat)
        graphdef, init = params.create(backbones.make_module(kind.name, running))
        jax.eval_shape(init, jax.random.key(0))
    except (NotImplementedError, OverflowError, TypeError, ValueError) as error:
        text = " ".join(str(error).split())
        raise UsageError(f"config.{stage} has sizes that do not fit: {text}") from error
    return Network(stage, kind.name, cfg, graphdef, init)


def _kind(config: ConfigDict) -> str:
    keys = {"transformer": "model", "encoder": "model", "tokenizer": "tokenizer_kind"}
    known = [k.name for k in backbones.kinds().values() if k.part == config.stage]
    if config.stage not in keys:
        return known[0]
    key = keys[config.stage]
    name = config[key]
    if name not in known:
        raise UsageError(f"config.{key} = {name!r}, expected {' or '.join(known)}")
    return name


def _of_codes(config: ConfigDict, before: Backbone, classes: int) -> dict[str, Any]:
    """Sizes of a transformer that follow from its tokenizer and the classes."""
    tokenizer = before.part("tokenizer").cfg
    sizes = dict(codebook=tokenizer.codebook, length=tokenizer.length, classes=classes)
    if config.model == "causal":
        # Classes share the codes' rows; the start token has a row that is not a class.
        sizes |= {"positions": tokenizer.length, "start": classes}
    return sizes
