"""Choosing a classifier's settings on images that decide, then training it anew with several seeds.

1. A grid of prompt lengths, learning rates and weight decays on the images to tune on; runs of one
   length side by side. A row for each run, written when its group is done.
2. The best row by accuracy on the deciding images; of equal ones the lowest learning rate, then the
   lowest decay, then the fewest tokens.
3. The same settings on the images to tune on and the deciding ones together, with each seed.
"""

import dataclasses
import itertools
import json
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from maskgit_prompt.devices import distributed
from maskgit_prompt.errors import UserError
from maskgit_prompt.metrics import intervals
from maskgit_prompt.models.prompts import ADDED
from maskgit_prompt.storage.files import read_json, write_whole
from maskgit_prompt.tasks import claims
from maskgit_prompt.tasks.classification.inputs import Source, make_batches, on_mesh, source
from maskgit_prompt.tasks.classification.model import classification_loss
from maskgit_prompt.tasks.classification.plan import Plan
from maskgit_prompt.tasks.classification.tuning import first_parameters, stats_of
from maskgit_prompt.tuning.together import Run, Together, tune_together

ROWS = "rows.json"
Row = dict[str, Any]
# Whether on all images that may be tuned on -> the plan, of any prompt length.
Plans = Callable[[bool], Plan]


@dataclasses.dataclass(frozen=True)
class Grid:
    """What is tried.

    Attributes:
      tokens: prompt lengths; (0,) for a method without a prompt, or one whose length is given.
      seeds: of the runs that are reported; the grid's runs have the config's own.
      together: how many runs stand side by side.
    """

    tokens: tuple[int, ...]
    learning_rates: tuple[float, ...]
    weight_decays: tuple[float, ...]
    seeds: tuple[int, ...]
    together: int

    @classmethod
    def of(cls, config: ConfigDict) -> "Grid":
        """The grid of a config; lengths count for methods with a prompt alone."""
        found = config.sweep
        long = config.method.startswith("prompt") and config.prompt.location not in ADDED
        return cls(
            tuple(found.tokens) if long else (0,),
            tuple(found.learning_rates),
            tuple(found.weight_decays),
            tuple(found.seeds),
            found.together,
        )


def sweep(grid: Grid, plans: Plans, home: pathlib.Path, seed: int) -> Row:
    """Carries out the grid and the runs that are reported; goes on where an earlier start stopped.

    Args:
      plans: makes the plans of the grid and of the runs that are reported.
      home: a folder of its own; ROWS is written there.
      seed: of the grid's runs.

    Returns:
      "best" (a row of the grid), "accuracies" (on the held-out images, one per seed), "accuracy"
      (their mean), "deviation" (of a seed), "interval" (of the mean accuracy, 95 %, as far as the
      number of held-out images tells).
    """
    plan = plans(False)
    claims.bind(plan.data, plan.parts, home)
    if not len(plan.data.judge):
        raise UserError(
            f"{plan.data.images.name}: no images that decide between settings; set "
            "config.data.validation, or larger config.data.fractions.judge"
        )
    for tokens in filter(None, grid.tokens):  # before hours go into those that fit
        plan.with_tokens(tokens)
    rows, given = _rows(home), source(plan)
    for tokens in grid.tokens:
        pairs = itertools.product(grid.learning_rates, grid.weight_decays)
        done = {(r["learning_rate"], r["weight_decay"]) for r in rows if r["tokens"] == tokens}
        left = [pair for pair in pairs if pair not in done]
        one = plan.with_tokens(tokens) if left and tokens else plan
        for some in _groups(left, grid.together):
            runs = [Run(_scaled(plan, rate), decay, seed) for rate, decay in some]
            found, accuracies = carry_out(one, given, runs, plan.data.judge, _title(tokens))
            rows += [
                {
                    "tokens": tokens,
                    "learning_rate": rate,
                    "weight_decay": decay,
                    "accuracy": accuracy,
                    "loss": float(loss) if np.isfinite(loss) else None,
                }
                for (rate, decay), accuracy, loss in zip(
                    some, accuracies, found.losses, strict=True
                )
            ]
            _save(home, rows)
    best = choose(rows)
    plan = plans(True)
    if best["tokens"]:
        plan = plan.with_tokens(best["tokens"])
    given, rate, accuracies = source(plan), _scaled(plan, best["learning_rate"]), []
    for seeds in _groups(grid.seeds, grid.together):
        runs = [Run(rate, best["weight_decay"], one) for one in seeds]
        accuracies += carry_out(plan, given, runs, plan.data.test, "final")[1]
    mean, number = float(np.mean(accuracies)), len(plan.data.test)
    return {
        "best": best,
        "rows": rows,
        "accuracies": accuracies,
        "accuracy": mean,
        "deviation": float(np.std(accuracies, ddof=1)) if len(accuracies) > 1 else None,
        "interval": intervals.of_share(mean, number),
        "images": {"tune": len(plan.data.tune), "heldout": number},
        "classes": len(plan.data.images.classes),
        "steps": plan.tuning.train.steps,
    }


def choose(rows: list[Row]) -> Row:
    """The best row; see the file's docstring. A run that diverged is never it.

    Raises:
      UserError: all runs diverged.
    """
    finite = [row for row in rows if row["loss"] is not None]
    if not finite:
        raise UserError(
            f"all {len(rows)} runs of the sweep ended with a loss that is not finite; try smaller "
            "config.sweep.learning_rates"
        )
    key = lambda r: (-r["accuracy"], r["learning_rate"], r["weight_decay"], r["tokens"])
    return min(finite, key=key)


def carry_out(
    plan: Plan,
    given: Source,
    runs: Sequence[Run],
    judged: np.ndarray,
    what: str,
) -> tuple[Together, list[float]]:
    """(the runs, tuned side by side; their accuracies on the images of rows `judged`).

    given: inputs.source of the plan, or of one with the same images and method.
    """
    seeds = dict.fromkeys(run.seed for run in runs)
    first = {seed: first_parameters(plan, seed) for seed in seeds}
    found = tune_together(
        plan.tuning,
        [first[run.seed] for run in runs],
        {"encoder": plan.backbone.part("encoder").placed(plan.mesh)},
        runs,
        {seed: make_batches(plan, given, seed) for seed in seeds},
        classification_loss(plan.model),
        plan.mesh,
        stats=stats_of(plan),
        what=what,
    )
    logits, labels, accuracies = jax.jit(plan.model.logits), plan.data.labels(judged), []
    for i in range(len(runs)):
        answers = on_mesh(plan, logits, found.of(i), given, judged, "evaluate").argmax(1)
        accuracies.append(float(np.mean(answers == labels)))
    return found, accuracies


def _groups(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """(1, 2, 3), 2 -> (1, 2), (3,)."""
    return (items[first : first + size] for first in range(0, len(items), size))


def _scaled(plan: Plan, rate: float) -> float:
    """The rate of a batch of this size, as optimizer.scaled says."""
    share = plan.config.train.batch_size / 256 if plan.config.optimizer.scaled else 1.0
    return rate * share


def _title(tokens: int) -> str:
    return f"{tokens} tokens" if tokens else "sweep"


def _rows(home: pathlib.Path) -> list[Row]:
    path = home / ROWS
    return read_json(path, "delete it to sweep anew")["rows"] if path.exists() else []


def _save(home: pathlib.Path, rows: list[Row]) -> None:
    if distributed.is_first():
        write_whole(home / ROWS, json.dumps({"rows": rows}, indent=1).encode())
