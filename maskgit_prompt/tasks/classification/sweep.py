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
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from maskgit_prompt.devices import distributed
from maskgit_prompt.errors import UserError
from maskgit_prompt.metrics import intervals
from maskgit_prompt.storage.files import read_json, write_whole
from maskgit_prompt.tasks.classification.inputs import Batches, on_mesh, source
from maskgit_prompt.tasks.classification.model import HEAD_STATS, classification_loss
from maskgit_prompt.tasks.classification.plan import Plan
from maskgit_prompt.tasks.classification.tuning import first_parameters
from maskgit_prompt.tuning.together import Run, Together, tune_together

ROWS = "rows.json"
Row = dict[str, Any]
# (prompt length or 0, whether on all images that may be tuned on) -> its plan
Plans = Callable[[int, bool], Plan]


@dataclasses.dataclass(frozen=True)
class Grid:
    """What is tried.

    Attributes:
      tokens: prompt lengths; (0,) for a method without a prompt.
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
        return cls(
            tuple(found.tokens) if config.method.startswith("prompt") else (0,),
            tuple(found.learning_rates),
            tuple(found.weight_decays),
            tuple(found.seeds),
            found.together,
        )

    def __len__(self) -> int:
        return len(self.tokens) * len(self.learning_rates) * len(self.weight_decays)


def sweep(grid: Grid, plans: Plans, home: pathlib.Path, seed: int) -> Row:
    """Carries out the grid and the runs that are reported; goes on where an earlier start stopped.

    Args:
      plans: makes the plan of a prompt length.
      home: a folder of its own; ROWS is written there.
      seed: of the grid's runs.

    Returns:
      "best" (a row of the grid), "accuracies" (on the held-out images, one per seed), "accuracy"
      (their mean), "deviation" (of a seed), "interval" (of the mean accuracy, 95 %, as far as the
      number of held-out images tells).
    """
    rows = _rows(home)
    for tokens in grid.tokens:
        pairs = list(itertools.product(grid.learning_rates, grid.weight_decays))
        done = {(r["learning_rate"], r["weight_decay"]) for r in rows if r["tokens"] == tokens}
        left = [pair for pair in pairs if pair not in done]
        if not left:
            continue
        plan = plans(tokens, False)
        if not len(plan.data.judge):
            raise UserError(
                f"{plan.data.images.name}: no images that decide between settings; set "
                "config.data.validation, or larger config.data.fractions.judge"
            )
        for first in range(0, len(left), grid.together):
            some = left[first : first + grid.together]
            runs = [Run(_scaled(plan, rate), decay, seed) for rate, decay in some]
            found, accuracies = carry_out(plan, runs, plan.data.judge, _title(tokens))
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
    plan = plans(best["tokens"], True)
    accuracies: list[float] = []
    for first in range(0, len(grid.seeds), grid.together):
        rate = _scaled(plan, best["learning_rate"])
        runs = [
            Run(rate, best["weight_decay"], s) for s in grid.seeds[first : first + grid.together]
        ]
        accuracies += carry_out(plan, runs, plan.data.test, "final")[1]
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
    plan: Plan, runs: list[Run], judged: np.ndarray, what: str
) -> tuple[Together, list[float]]:
    """(the runs, tuned side by side; their accuracies on the images of rows `judged`)."""
    part, given = plan.backbone.part("encoder"), source(plan)
    common = {"encoder": part.placed(plan.mesh)}
    around = [first_parameters(plan, run.seed) for run in runs]
    batches = {}
    for seed in dict.fromkeys(run.seed for run in runs):
        config = ConfigDict(plan.config.to_dict())
        config.seed = seed
        batches[seed] = Batches(dataclasses.replace(plan, config=config), given)
    found = tune_together(
        plan.tuning,
        around,
        common,
        runs,
        batches,
        classification_loss(plan.model),
        plan.mesh,
        stats=(HEAD_STATS,) if plan.sizes.head.hidden else (),
        what=what,
    )
    logits = jax.jit(lambda tree, inputs: plan.model.logits(tree, inputs))
    labels, accuracies = plan.data.labels(judged), []
    for i in range(len(runs)):
        answers = on_mesh(plan, logits, found.of(i), given, judged, "evaluate").argmax(1)
        accuracies.append(float(np.mean(answers == labels)))
    return found, accuracies


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
