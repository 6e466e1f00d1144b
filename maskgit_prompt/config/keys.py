"""Names of keys: those that a job has, and the one that somebody meant by another name.

Nothing that takes time is imported here, so that a mistyped key is told at once.
"""

import difflib
import fnmatch
import sys
from collections.abc import Iterable
from typing import Any

from ml_collections import ConfigDict

from maskgit_prompt import renamed
from maskgit_prompt.config import defaults
from maskgit_prompt.errors import UsageError

# Keys whose values are names: what is given on the command line is text, also where it looks like a
# number.
NAMES = (
    "attacks",
    "classes",
    "classifiers",
    "compare.methods",
    "data.classes",
    "data.flips",
    "data.photographs",
    "data.image",
    "data.sets",
    "data.target",
    "data.texts",
    "grid.guidance_from",
    "grid.guidance_schedule",
    "grid.order",
    "grid.sampler",
    "grid.schedule",
    "header",
    "models.backbones",
    "optimizer.decays",
    "optimizer.rates",
    "prefixes",
    "scenes.tasks",
    "scenes.texts",
    "tasks",
    "texts",
    "trainable",
    "tuned",
)
# What a config file of a job may add to the job's defaults.
MORE = {
    "pretrain": ("encoder.*", "features.*", "multimodal.*", "tokenizer.*", "transformer.*"),
}
# A config file that each job can be started with, for messages.
FILES = {
    "run": "configs/folder.py:PATH",
    "classify": "configs/classify.py",
    "segment": "configs/segment.py",
    "masks": "configs/masks.py:PATH",
    "multimodal": "configs/multimodal.py",
    "answer": "configs/answer.py:PATH",
    "attack": "configs/attack.py",
    "vtab": "configs/vtab.py",
    "vtab_folder": "configs/vtab_folder.py",
    "side_by_side": "configs/quickstart.py:digits,causal",
    "compare": "configs/quickstart.py:compare",
    "sample": "configs/sample.py",
    "sample_study": "configs/sample_study.py:PATH",
    "evaluate": "configs/evaluate.py",
    "predict": "configs/predict.py:PATH",
    "robustness": "configs/robustness.py:PATH",
    "sweep": "configs/sweep.py:PATH",
    "pretrain": "configs/mini.py",
    "import_weights": "configs/import.py",
}
# What other programs call a key -> what it is called here.
NICKNAMES = {
    "accumulation": "train.micro_batches",
    "amp": "dtype",
    "archive": "data.path",
    "augment": "data.views",
    "bf16": "dtype",
    "batch": "train.batch_size",
    "bs": "train.batch_size",
    "cfg": "sample.guidance",
    "cfg_scale": "sample.guidance",
    "checkpoint": "backbone",
    "ckpt": "backbone",
    "data_path": "data.path",
    "dir": "data.path",
    "ema": "train.ema_decay",
    "eval_every": "train.evaluate_every",
    "few_shot": "data.shots",
    "folder": "data.path",
    "fp16": "dtype",
    "grad_clip": "optimizer.clip",
    "gradient_accumulation": "train.micro_batches",
    "gradient_accumulation_steps": "train.micro_batches",
    "guidance_scale": "sample.guidance",
    "images": "data.path",
    "iterations": "train.steps",
    "iters": "train.steps",
    "length": "prompt.tokens",
    "k_shot": "data.shots",
    "label_smoothing": "masking.smoothing",
    "log_interval": "train.log_every",
    "lr": "optimizer.learning_rate",
    "max_grad_norm": "optimizer.clip",
    "max_steps": "train.steps",
    "method": "compare.methods",
    "num_samples": "num",
    "num_steps": "train.steps",
    "num_tokens": "prompt.tokens",
    "opt": "optimizer.name",
    "optim": "optimizer.name",
    "precision": "dtype",
    "prompt_length": "prompt.tokens",
    "random_seed": "seed",
    "save_interval": "train.save_every",
    "temp": "sample.temperature",
    "train_steps": "train.steps",
    "warmup": "optimizer.warmup_steps",
    "wd": "optimizer.weight_decay",
}
# What values are called in messages, by the type of the default.
TYPES = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "text",
    tuple: "a tuple",
}
NAMED = 3  # keys that a message proposes


def flat(config: ConfigDict, prefix: str = "") -> dict[str, Any]:
    """ConfigDict(a=1, b=ConfigDict(c=2)) -> {"a": 1, "b.c": 2}."""
    found = {}
    for name in config:
        value = config[name]
        if isinstance(value, ConfigDict):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def meant(name: str, known: Iterable[str]) -> list[str]:
    """The keys among `known` that somebody may have meant by a name.

    Of "train.steps", "sample.steps" and "optimizer.learning_rate": "steps" gives the first two,
    "lr" and "learning_rat" the last, "train.stepz" the first, "xyz" none.
    """
    known = list(known)
    leaf = name.rpartition(".")[2].lower().replace("-", "_")
    leaves: dict[str, list[str]] = {}
    for key in known:
        leaves.setdefault(key.rpartition(".")[2], []).append(key)
    found = list(leaves.get(leaf, ()))
    for nickname in (leaf, name.lower().replace(".", "_").replace("-", "_")):
        found += [key for key in (NICKNAMES.get(nickname),) if key in known]
    section = name.rpartition(".")[0]
    own = [key for key in known if section and key.startswith(f"{section}.")]
    if not found:
        # Within the section, where there is one: else its name would count as likeness.
        near = difflib.get_close_matches(leaf, [k.rpartition(".")[2] for k in own], NAMED, 0.7)
        found = [f"{section}.{one}" for one in near]
    if not found and not own:
        found = difflib.get_close_matches(name, known, NAMED, cutoff=0.8)
    if not found:
        for one in difflib.get_close_matches(leaf, leaves, NAMED, cutoff=0.75):
            found += leaves[one]
    return sorted(dict.fromkeys(found), key=lambda key: not key.startswith("train."))[:NAMED]


def hint(name: str, known: Iterable[str], flag: str = "config.") -> str:
    """The end of a message on a key that is not there; flag: what stands before a key."""
    known = list(known)
    near = [f"{flag}{key}" for key in meant(name, known)]
    if not near:
        section = name.rpartition(".")[0]
        own = [key.removeprefix(f"{section}.") for key in known if key.startswith(f"{section}.")]
        return f"; {flag}{section} has {', '.join(own)}" if own else "; --helpfull lists the keys"
    listed = " or ".join([", ".join(near[:-1]), near[-1]] if len(near) > 1 else near)
    return f"; did you mean {listed}?"


def check(config: ConfigDict, file: str, own_job: str) -> None:
    """Holds a config's keys to those of its job's defaults; old names become those of today.

    Args:
      file: where the config is from, for messages.
      own_job: the job that the file is for, before flags changed it.

    Raises:
      UsageError: a key that the job does not know, or one that it lacks.
    """
    job = config.job
    known = flat(defaults.JOBS[job]())
    _use_new_names(config, known, file)
    given = flat(config)
    may = (*known, *MORE.get(job, ()), "workdir")
    unknown = [key for key in given if not any(fnmatch.fnmatchcase(key, name) for name in may)]
    missing = [key for key in known if key not in given]
    if job != own_job and (unknown or missing):
        why = (
            f"has no config.{missing[0]}"
            if missing
            else f"sets config.{unknown[0]}, which {job!r} does not know"
        )
        raise UsageError(
            f"config.job = {job!r}, but {file} is a config of the job {own_job!r}: it {why}; use "
            f"--config={FILES[job]}"
        )
    if unknown:
        raise UsageError(
            f"{file} sets config.{unknown[0]}, which the job {job!r} does not know"
            + hint(unknown[0], known)
        )
    if missing:
        raise UsageError(
            f"{file} has no config.{missing[0]}, which the job {job!r} needs; begin with its "
            f"defaults, as {FILES[job].partition(':')[0]} does"
        )


def _use_new_names(config: ConfigDict, known: dict[str, Any], file: str) -> None:
    """Moves what the file sets by a name of an earlier version to today's name."""
    given = flat(config)
    for old, new in renamed.KEYS.items():
        if old in given and old not in known and new in known:
            print(f"note: {file}: config.{old} is called config.{new} now", file=sys.stderr)
            section, _, leaf = old.rpartition(".")
            parent = config[section] if section else config
            with config.unlocked():
                del parent[leaf]
            config.update_from_flattened_dict({new: given[old]})
