"""Values that no run can use, found before a run has written anything."""

import math
from collections.abc import Callable
from typing import Any

import jax
from ml_collections import ConfigDict

from maskgit_prompt import memory, params, sharding
from maskgit_prompt import source as sources
from maskgit_prompt.data import augment
from maskgit_prompt.decoding import marquee
from maskgit_prompt.errors import UsageError
from maskgit_prompt.models import attention
from maskgit_prompt.models.prompt import PromptConfig, PromptGenerator
from maskgit_prompt.optimizers import learning_rate
from maskgit_prompt.sampling import check as check_sampling

DTYPES = ("float32", "bfloat16", "float16")
RATE = (lambda x: 0 <= x < 1, "0 or more, and below 1")
COUNT = (lambda x: x >= 1, "at least 1")
NOT_NEGATIVE = (lambda x: x >= 0 and math.isfinite(x), "0 or more")
RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "dtype": (lambda x: x in DTYPES, ", ".join(DTYPES)),
    "attention": (lambda x: x in attention.IMPLEMENTATIONS, ", ".join(attention.IMPLEMENTATIONS)),
    "train.steps": COUNT,
    "train.epochs": NOT_NEGATIVE,
    "train.batch_size": COUNT,
    "train.micro_batches": COUNT,
    "train.log_every": COUNT,
    "train.save_every": COUNT,
    "train.evaluate_every": NOT_NEGATIVE,
    "train.ema_decay": RATE,
    "optimizer.learning_rate": (lambda x: x > 0 and math.isfinite(x), "a number above 0"),
    "optimizer.backbone_learning_rate": NOT_NEGATIVE,
    "optimizer.b1": RATE,
    "optimizer.b2": RATE,
    "optimizer.eps": (lambda x: x > 0, "above 0"),
    "optimizer.weight_decay": NOT_NEGATIVE,
    "optimizer.clip": NOT_NEGATIVE,
    "data.shots": NOT_NEGATIVE,
    "masking.smoothing": RATE,
    "masking.drop_class": RATE,
    "next_code.keep": (lambda x: 0 < x <= 1, "above 0, and at most 1"),
    "next_code.smoothing": RATE,
    "next_code.drop_class": RATE,
}


def check_training(config: ConfigDict) -> None:
    """Raises UsageError for the first value of a job that trains which makes no sense."""
    flat = {key.replace("/", "."): x for key, x in params.flatten(config.to_dict()).items()}
    for key, (holds, expected) in RULES.items():
        if key in flat and not holds(flat[key]):
            raise UsageError(f"config.{key} = {flat[key]!r}, expected {expected}")
    learning_rate(config.optimizer, config.train.steps)


def check_before(config: ConfigDict, source: sources.Source, mesh) -> None:
    """Raises for what is wrong whatever the images are."""
    source.check_promptable()
    check_training(config)
    check_attention(config, source.part("transformer").cfg, mesh)
    sharding.check_batch(config.train.batch_size, config.train.micro_batches, mesh)
    check_sampling(config.sample, source.part("tokenizer").cfg.codebook, mesh)
    for cutoff in config.score.marquee_cutoffs:
        marquee.check(cutoff, config.sample.power)
    if config.data.views < 1:
        raise UsageError(f"config.data.views = {config.data.views}, expected at least 1")
    augment.random_crop_flip(config.data.crop, config.data.flip)
    check_settings(config, source, prompt_config(config, source, classes=1, instances=1))
    for name, least in (
        ("per_class", 1),
        ("images", 0),
        ("rounds", 1),
        ("most", 0),
        ("marquee_images", 0),
    ):
        if config.score[name] < least:
            raise UsageError(
                f"config.score.{name} = {config.score[name]}, expected at least {least}"
            )


def check_attention(config: ConfigDict, cfg: Any, mesh) -> None:
    """Raises UsageError where a transformer of sizes cfg cannot use config.attention here."""
    try:
        attention.check(config.attention, config.dtype, cfg.width // cfg.heads)
    except ValueError as error:
        raise UsageError(f"config.{error}") from error
    if config.attention == "tokamax" and mesh.size > 1:
        raise UsageError(
            f"config.attention = 'tokamax' is for one device, the mesh has {mesh.size}: its "
            "kernels are not split; use auto or xla"
        )


def check_settings(config: ConfigDict, source: sources.Source, cfg: PromptConfig) -> None:
    """Raises UsageError for a prompt that would end the run only after it has begun to write."""
    memory.check_prompt(
        cfg,
        source.part("transformer").cfg,
        config.train.batch_size // config.train.micro_batches // jax.process_count(),
        source.part("tokenizer").cfg.length,
    )
    prompt = sources.abstract(lambda rngs: PromptGenerator(cfg, rngs=rngs))
    model = {"transformer": source.part("transformer").tree, "prompt": prompt}
    params.split(model, tuple(config.trainable))


def prompt_config(
    config: ConfigDict, source: sources.Source, classes: int, instances: int
) -> PromptConfig:
    """The generator's sizes, for so many classes and images and this transformer."""
    options = config.prompt.to_dict()
    deep, each = options.pop("deep"), options.pop("instances")
    if deep and config.prompt.prefix:
        raise UsageError(
            "config.prompt.deep and config.prompt.prefix are both set; a prefix stands in every "
            "layer already: leave one out"
        )
    transformer = source.part("transformer").cfg
    try:
        return PromptConfig(
            width=transformer.width,
            depth=transformer.layers if deep or config.prompt.prefix else 1,
            classes=classes,
            instances=instances if each else 0,
            **options,
        )
    except ValueError as error:
        raise UsageError(f"config.prompt: {error}") from error
