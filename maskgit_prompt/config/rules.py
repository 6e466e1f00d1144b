"""Values that no job can use, found before a run has written anything."""

import math
from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from maskgit_prompt import params, tasks
from maskgit_prompt.data import pixels
from maskgit_prompt.errors import UsageError
from maskgit_prompt.models import attention
from maskgit_prompt.tuning import profile
from maskgit_prompt.tuning.optimizers import make_optimizer

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
    "train.show_every": NOT_NEGATIVE,
    "profile": (lambda x: not x or profile.FORM.fullmatch(x), profile.EXPECTED),
    "train.ema_decay": RATE,
    "optimizer.learning_rate": (lambda x: x > 0 and math.isfinite(x), "a number above 0"),
    "optimizer.backbone_learning_rate": NOT_NEGATIVE,
    "optimizer.b1": RATE,
    "optimizer.b2": RATE,
    "optimizer.eps": (lambda x: x > 0, "above 0"),
    "optimizer.momentum": RATE,
    "optimizer.weight_decay": NOT_NEGATIVE,
    "optimizer.clip": NOT_NEGATIVE,
    "data.fit": (lambda x: x in pixels.FITS, ", ".join(pixels.FITS)),
    "data.shots": NOT_NEGATIVE,
    "masking.smoothing": RATE,
    "masking.drop_class": RATE,
    "next_code.keep": (lambda x: 0 < x <= 1, "above 0, and at most 1"),
    "next_code.smoothing": RATE,
    "next_code.drop_class": RATE,
}


def check(config: ConfigDict) -> None:
    """Raises UsageError for the first value that makes no sense, whatever the images are."""
    flat = {key.replace("/", "."): x for key, x in params.flatten(config.to_dict()).items()}
    for key, (holds, expected) in RULES.items():
        if key in flat and not holds(flat[key]):
            raise UsageError(f"config.{key} = {flat[key]!r}, expected {expected}")
    if "task" in flat:
        tasks.find(flat["task"])
    make_optimizer(config.optimizer, config.train.steps)
