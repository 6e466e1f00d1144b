"""Values that no job can use, found before a run has written anything.

A table of rules by key, first match wins. Choices are those of the room that owns them. Whatever
the table says, every number is finite and fits into 32 bits, which JAX computes with: with a sign,
seeds without.
"""

import dataclasses
import fnmatch
import pathlib
from collections.abc import Callable, Collection
from typing import Any

from ml_collections import ConfigDict

from maskgit_prompt import tasks
from maskgit_prompt.config import defaults, grid, keys, uses
from maskgit_prompt.config.published_settings import SETTINGS
from maskgit_prompt.data import loading, pixels
from maskgit_prompt.data.views import ViewConfig
from maskgit_prompt.decoding import schedules
from maskgit_prompt.decoding.config import DecodeConfig
from maskgit_prompt.errors import UsageError
from maskgit_prompt.importers.format import formats
from maskgit_prompt.importers.ofa import WEIGHTS
from maskgit_prompt.importers.vit import NORMALIZATIONS
from maskgit_prompt.metrics.scores import SCORES
from maskgit_prompt.models import attention, discriminator, prompt, resizing, tokenizer, vit
from maskgit_prompt.models.prompts import LOCATIONS
from maskgit_prompt.storage import files
from maskgit_prompt.tasks import losses
from maskgit_prompt.tasks.classification import protocols
from maskgit_prompt.tasks.multimodal import finding, goals
from maskgit_prompt.tuning import methods, profile
from maskgit_prompt.tuning.optimizers import make_optimizer

DTYPES = ("float32", "bfloat16", "float16")
STAGES = ("tokenizer", "transformer", "features", "encoder", "multimodal")
INITIAL_WEIGHTS = ("random", "backbone")
LARGEST = 3.4e38  # of float32
INT_BOUND = 2**31
SEED_BOUND = 2**32 - 2**8  # JAX reads 32 bits of a seed, and streams add small numbers to it


@dataclasses.dataclass(frozen=True)
class Rule:
    """What a value must be.

    Attributes:
      holds: whether a value is so. A value that it raises TypeError on is not.
      expected: the same in words, for messages.
    """

    holds: Callable[[Any], bool]
    expected: str

    def __call__(self, value: Any) -> bool:
        try:
            return bool(self.holds(value))
        except TypeError:  # compared with a number: of another type
            return False


def one_of(names: Collection[str]) -> Rule:
    return Rule(lambda x: x in names, ", ".join(names))


def each(rule: Rule) -> Rule:
    return Rule(lambda xs: all(map(rule, xs)), f"{rule.expected}, each")


def accepted(check: Callable[[Any], Any], expected: str) -> Rule:
    """The rule of a function that raises UsageError on other values."""

    def holds(value: Any) -> bool:
        try:
            check(value)
        except UsageError:
            return False
        return True

    return Rule(holds, expected)


def _number(x: Any) -> bool:
    return isinstance(x, int | float) and not isinstance(x, bool)


FLAG = Rule(lambda x: isinstance(x, bool), "True or False")
RATE = Rule(lambda x: _number(x) and 0 <= x < 1, "0 or more, and below 1")
PART = Rule(lambda x: _number(x) and 0 < x <= 1, "above 0, and at most 1")
POSITIVE = Rule(lambda x: _number(x) and x > 0, "a number above 0")
NOT_NEGATIVE = Rule(lambda x: _number(x) and x >= 0, "0 or more")
COUNT = Rule(lambda x: _number(x) and x >= 1, "at least 1")
SEED = Rule(lambda x: _number(x) and 0 <= x < SEED_BOUND, "0 or more, and below 2**32 - 256")
ONCE = Rule(lambda xs: len(xs) > 0 and len(set(xs)) == len(xs), "some, each once")
NAME = Rule(lambda x: isinstance(x, str) and x.strip(), "a name")
# A whole number is what a name may look like; of 1.10 a config file would have made 1.1.
CLASS = Rule(
    lambda x: NAME(x) or (isinstance(x, int) and not isinstance(x, bool)), "names in quotes"
)
PATTERN = Rule(lambda x: isinstance(x, str) and x, "a path pattern")

RULES: dict[str, Rule | tuple[Rule, ...]] = {
    "seed": SEED,
    "data.seed": SEED,
    "dtype": one_of(DTYPES),
    "store_dtype": one_of(DTYPES),
    "attention": one_of(attention.IMPLEMENTATIONS),
    "task": accepted(tasks.find, ", ".join(tasks.names())),
    "trainable": (Rule(lambda xs: len(xs) > 0, "some patterns"), each(PATTERN)),
    "profile": Rule(lambda x: not x or profile.FORM.fullmatch(x), profile.EXPECTED),
    "train.epochs": NOT_NEGATIVE,
    "train.evaluate_every": NOT_NEGATIVE,
    "train.show_every": NOT_NEGATIVE,
    "train.ema_decay": RATE,
    "train.best": FLAG,
    "train.remat": FLAG,
    "train.tensorboard": FLAG,
    "train.*": COUNT,
    "optimizer.learning_rate": POSITIVE,
    "optimizer.hold": COUNT,
    "optimizer.backbone_learning_rate": NOT_NEGATIVE,
    "optimizer.b1": RATE,
    "optimizer.b2": RATE,
    "optimizer.eps": POSITIVE,
    "optimizer.momentum": RATE,
    "optimizer.weight_decay": NOT_NEGATIVE,
    "optimizer.clip": NOT_NEGATIVE,
    "data.name": one_of((*loading.NAMES, *finding.NAMES)),
    "data.fit": one_of(pixels.FITS),
    "data.full_scale": NOT_NEGATIVE,
    "data.max_pixels": COUNT,
    "data.shots": NOT_NEGATIVE,
    "data.classes": each(CLASS),
    "data.fractions.*": PART,
    "data.views": COUNT,
    "data.crop": RATE,
    "data.num": COUNT,
    "data.size": COUNT,
    "prompt.kind": one_of(prompt.KINDS),
    "goal": one_of(("", *goals.GOALS)),
    "closed": NAME,
    "data.texts": each(NAME),
    "data.image": NAME,
    "data.target": NAME,
    "data.heldout": RATE,
    "data.tune_num": NOT_NEGATIVE,
    "data.test_num": NOT_NEGATIVE,
    "prompt.encoder": NOT_NEGATIVE,
    "prompt.decoder": NOT_NEGATIVE,
    "prompt.cross": NOT_NEGATIVE,
    "prompt.reparameterize": NOT_NEGATIVE,
    "prompt.std": NOT_NEGATIVE,
    "prompt.gated": FLAG,
    "adapter.bottleneck": COUNT,
    "loss.closed": FLAG,
    "loss.r_drop": NOT_NEGATIVE,
    "loss.*": RATE,
    "search.beams": COUNT,
    "search.length": NOT_NEGATIVE,
    "search.min_length": NOT_NEGATIVE,
    "search.no_repeat": NOT_NEGATIVE,
    "score.batch_size": COUNT,
    "score.untuned": FLAG,
    "score.prompts": FLAG,
    "masking.schedule": Rule(schedules.is_known, ", ".join(schedules.NAMES)),
    "masking.smoothing": RATE,
    "masking.drop_class": RATE,
    "next_code.keep": PART,
    "next_code.smoothing": RATE,
    "next_code.drop_class": RATE,
    "sample.batch_size": COUNT,
    "score.per_class": COUNT,
    "score.rounds": COUNT,
    "score.images": NOT_NEGATIVE,
    "score.most": NOT_NEGATIVE,
    "score.saved": NOT_NEGATIVE,
    "score.marquee_images": NOT_NEGATIVE,
    "score.marquee_cutoffs": each(PART),
    "score.judge": one_of(("pixels", "features")),
    "steps": NOT_NEGATIVE,
    "tasks": each(NAME),
    "method": one_of({**methods.CLASSIFIER_METHODS, **methods.MULTIMODAL_METHODS}),
    "protocol": one_of(protocols.PROTOCOLS),
    "classifiers": each(NAME),
    "prefixes": each(NAME),
    "tuned": each(NAME),
    "texts": each(NAME),
    "top": COUNT,
    "batch_size": COUNT,
    "prompt.blocks": NOT_NEGATIVE,
    "prompt.project": NOT_NEGATIVE,
    "prompt.end": one_of(("bottom", "top")),
    "prompt.location": one_of(LOCATIONS),
    "prompt.start": one_of(("uniform", "patches")),
    "head.hidden": NOT_NEGATIVE,
    "head.dropout": RATE,
    "head.doublings": NOT_NEGATIVE,
    "adapter.reduction": COUNT,
    "lora.rank": COUNT,
    "lora.alpha": POSITIVE,
    "lora.targets": PATTERN,
    "optimizer.warmup_epochs": NOT_NEGATIVE,
    "per_class": NOT_NEGATIVE,
    "by": one_of([name for name, score in SCORES.items() if score.measure and not score.alone]),
    "attacks": (ONCE, each(one_of(("fgsm", "pgd")))),
    "epsilons": (ONCE, each(NOT_NEGATIVE)),
    "most": NOT_NEGATIVE,
    "sweep.tokens": (ONCE, each(COUNT)),
    "sweep.learning_rates": (ONCE, each(POSITIVE)),
    "sweep.weight_decays": (ONCE, each(NOT_NEGATIVE)),
    "sweep.settings": Rule(lambda x: x == "" or x in SETTINGS, ", ".join(SETTINGS)),
    "sweep.seeds": (ONCE, each(SEED)),
    "sweep.together": COUNT,
    "compare.methods": (ONCE, each(one_of(methods.METHODS))),
    "compare.shots": (ONCE, each(COUNT)),
    "compare.learning_rates.*": POSITIVE,
    "models.backbones": (ONCE, each(NAME)),
    "models.shots": (ONCE, each(COUNT)),
    "num": COUNT,
    "classes": Rule(
        lambda x: each(CLASS)(x) if isinstance(x, tuple) else NOT_NEGATIVE(x),
        "names in quotes, each; in an import 0 or more",
    ),
    "header": each(NAME),
    "stage": one_of(STAGES),
    "tokenizer_kind": NAME,
    "initial_weights": one_of(INITIAL_WEIGHTS),
    "data.sets": (ONCE, each(NAME)),
    "data.weights": each(POSITIVE),
    "data.flips": each(NAME),
    "data.photographs": each(NAME),
    "data.zoom": accepted(lambda x: ViewConfig(1, zoom=x), "(least, most), 0 < least <= most"),
    "data.grounds": accepted(
        lambda x: ViewConfig(1, grounds=x),
        "shares of white, black, one colour and photographs that sum to 1",
    ),
    "reconstruction.network": NAME,
    "reconstruction.*": NOT_NEGATIVE,
    "quantizer.affinity": one_of(losses.AFFINITIES),
    "quantizer.temperature": POSITIVE,
    "quantizer.ema": RATE,
    "quantizer.*": NOT_NEGATIVE,
    "adversarial.discriminator": one_of(discriminator.NAMES),
    "adversarial.loss": one_of(losses.ADVERSARIAL),
    "adversarial.adaptive": FLAG,
    "adversarial.penalty_every": COUNT,
    "adversarial.width": COUNT,
    "adversarial.layers": COUNT,
    "adversarial.*": NOT_NEGATIVE,
    "transformer.dropout": RATE,
    "tokenizer.multipliers": each(COUNT),
    "tokenizer.attention": each(NOT_NEGATIVE),
    "tokenizer.shortcut": one_of(tokenizer.SHORTCUTS),
    "tokenizer.conv_downsample": FLAG,
    "encoder.layers": Rule(lambda x: min(x if isinstance(x, tuple) else (x,)) >= 1, "at least 1"),
    "encoder.heads": Rule(lambda x: min(x if isinstance(x, tuple) else (x,)) >= 1, "at least 1"),
    "encoder.mean": each(RATE),
    "encoder.std": each(POSITIVE),
    "encoder.pool": one_of(vit.POOLS),
    "encoder.norm": one_of(vit.NORMS),
    "t*r.*": COUNT,  # sizes of a tokenizer or a transformer
    "encoder.*": COUNT,
    "features.*": COUNT,
    "multimodal.layers": each(COUNT),
    "multimodal.heads": each(COUNT),
    "multimodal.mlp": each(COUNT),
    "multimodal.stem": each(COUNT),
    "multimodal.mean": each(RATE),
    "multimodal.std": each(POSITIVE),
    "multimodal.dropout": RATE,
    "multimodal.*": COUNT,
    "scenes.tasks": (ONCE, each(NAME)),
    "scenes.texts": each(NAME),
    "scenes.texts_share": RATE,
    "scenes.weights": each(POSITIVE),
    "scenes.smoothing": RATE,
    "scenes.ease": NOT_NEGATIVE,
    "scenes.cells": NOT_NEGATIVE,
    "scenes.*": COUNT,
    "format": Rule(lambda x: x == "" or x in formats(), ", ".join(formats())),
    "normalization": one_of(("", *NORMALIZATIONS)),
    "weights": one_of(("", *WEIGHTS)),
    "download": FLAG,
    "resize": one_of(resizing.CONVENTIONS),
    "size": NOT_NEGATIVE,
    "fit": one_of(pixels.FITS),
    "kid.subsets": COUNT,
    "kid.size": Rule(lambda x: _number(x) and x >= 2, "at least 2"),
    "directions": COUNT,
    "splits": COUNT,
    "neighbours": COUNT,
    "image_size": NOT_NEGATIVE,
    "codebook": NOT_NEGATIVE,
    "heads": NOT_NEGATIVE,
}


def check(config: ConfigDict) -> None:
    """Raises UsageError for the first value that makes no sense, whatever the images are."""
    before = keys.flat(defaults.JOBS[config.job]())
    for key, value in keys.flat(config).items():
        default = before.get(key)
        if default is not None:
            _check_type(key, value, type(default))
        if value is not None:  # of the sampling job: as the prompt file says
            _check_value(key, value)
    if "codes" in config.get("data", {}) and config.data.codes:
        files.check_folder(config.data.codes, "config.data.codes")
        _check_apart(config.data.codes, config.data.get("path", ""))
    if "sample" in config:
        DecodeConfig(**{name: x for name, x in config.sample.items() if x is not None})
    if "grid" in config:
        grid.check(config.grid)
    if "optimizer" in config:
        make_optimizer(config.optimizer, config.train.steps)
    uses.check(config)


def _check_apart(codes: str, path: str) -> None:
    """Raises UsageError for a folder of codes inside the folder of images, where it would be one
    of their classes."""
    inside, images = (pathlib.Path(name).resolve() for name in (codes, path))
    if path and inside.is_relative_to(images):
        raise UsageError(
            f"config.data.codes = {codes!r} lies in the folder of images, expected a folder of its "
            "own: name one beside it"
        )


def _check_type(key: str, value: Any, kind: type) -> None:
    fits = isinstance(value, kind) and isinstance(value, bool) == (kind is bool)
    if not fits and not (kind is float and _number(value)):
        raise UsageError(f"config.{key} = {value!r}, expected {keys.TYPES[kind]}")


def _check_value(key: str, value: Any) -> None:
    name = key.removeprefix("causal.")
    pattern = next((p for p in RULES if fnmatch.fnmatchcase(name, p)), None)
    found = RULES.get(pattern, ())
    for rule in found if isinstance(found, tuple) else (found,):
        if not rule(value):
            raise UsageError(f"config.{key} = {value!r}, expected {rule.expected}")
    for one in value if isinstance(value, tuple) else (value,):
        if isinstance(one, float) and not abs(one) <= LARGEST:  # NaN is not
            raise UsageError(f"config.{key} = {value!r}, expected a finite number below 3.4e38")
        if isinstance(one, int) and found is not SEED and not abs(one) < INT_BOUND:
            raise UsageError(f"config.{key} = {value!r}, expected a number below 2**31")
