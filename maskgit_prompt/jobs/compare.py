"""Prompt tuning beside fine-tuning, training from scratch and no tuning, on the same few images.

1. Load the backbone and the images; encode them once.
2. For every method and number of images per class: train for the same steps, keep the state with
   the best held-out loss, generate, score. Keep finished ones when the job starts again.
3. Write results.json and report.html: a table and pictures for every number of images.
"""

import dataclasses
import pathlib
from typing import Any

from ml_collections import ConfigDict
from PIL import Image

from maskgit_prompt import backbones
from maskgit_prompt.backbones.compute import Compute
from maskgit_prompt.config import rules, uses
from maskgit_prompt.data import loading, splits
from maskgit_prompt.devices import sharding
from maskgit_prompt.importers import obtain
from maskgit_prompt.metrics.run_result import RunResult
from maskgit_prompt.metrics.scores import expand
from maskgit_prompt.report import results, sheets
from maskgit_prompt.report.comparison import comparison_report
from maskgit_prompt.storage import workdir
from maskgit_prompt.storage.files import read_json
from maskgit_prompt.tasks.generation import pictures
from maskgit_prompt.tasks.generation.encoding import Encoded, encode
from maskgit_prompt.tasks.generation.images import TunedSampler, classes_to_draw, untuned_images
from maskgit_prompt.tasks.generation.plan import (
    Plan,
    check_trainable,
    claim,
    make_plan,
    prompt_config,
)
from maskgit_prompt.tasks.generation.prompt_tuning import tune_prompt, tuning_codes
from maskgit_prompt.tasks.generation.sampling import Sampler
from maskgit_prompt.tasks.generation.score import Scorer
from maskgit_prompt.tuning.methods import METHODS, TITLES

_BY_METHOD = ("accuracy", "frechet", "kid", ..., "heldout_loss", "train_loss", "near_copies")
_ROW = (*_BY_METHOD, "trainable", "seconds", "best_step")


def run(config: ConfigDict, path: str) -> None:
    rules.check(config)

    # 1. Backbone, images, codes.
    workdir.check(path, config)  # before it looks at all images
    loading.check_path(config.data)  # before it fetches a backbone
    mesh = sharding.make_mesh(**config.mesh)
    backbone = backbones.load_for(config, obtain.backbone(config.backbone, config.download))
    uses.check(config, {"transformer": backbone.part("transformer").kind})
    whole = ConfigDict(config.to_dict())
    whole.data.shots = 0
    everything = dataclasses.replace(make_plan(whole, backbone, mesh, path), config=config)
    for method in config.compare.methods:
        if patterns := METHODS[method].trainable:
            check_trainable(everything, patterns, f"config.compare.methods, {method}")
    with claim(everything, path) as home:
        _compare(everything, home)


def _compare(everything: Plan, home: pathlib.Path) -> None:
    config, backbone = everything.config, everything.backbone
    stored = encode(everything, home)

    # 2. Methods.
    most = max(config.compare.shots)
    rows, accuracies, drawn, warnings = [], {}, {}, []
    for shots in config.compare.shots:
        plan = with_shots(everything, shots)
        decode = Sampler(backbone, plan.mesh, plan.decode_config, Compute.of(config)).decode
        scorer = Scorer(plan, stored, decode)
        for method in config.compare.methods:
            folder = home / f"{method}-{shots}"
            row = _finished(folder)
            if row is None:
                print(f"{method}, images per class: {shots}", flush=True)
                row = compare_one(plan, method, stored, scorer, folder)
            rows.append({"method": method, "shots": shots, **row})
            with Image.open(folder / "sheet.png") as sheet:
                drawn[f"{method}/{shots}"] = sheet.copy()
        warnings += [warning for warning in scorer.warnings if warning not in warnings]
        if shots == most:
            accuracies = {name: s.found["accuracy"] for name, s in scorer.of_real().items()}

    # 3. Files.
    top = {row["method"]: row for row in rows if row["shots"] == most}
    found = {
        name: {method: row.get(name) for method, row in top.items()} for name in expand(_BY_METHOD)
    }
    found["accuracy"] = accuracies | found["accuracy"]
    found |= {"rows": rows, "config": config.to_dict()}
    results.write_json(home / "results.json", found)
    comparison_report(
        home / "report.html",
        rows,
        drawn,
        methods=TITLES,
        title=f"Comparison of methods: {everything.data.images.name} on {backbone.name}",
        config=config.to_dict(),
        warnings=warnings,
    )
    print(f"report: {home / 'report.html'}")


def with_shots(plan: Plan, shots: int) -> Plan:
    """The plan with `shots` images per class, and a prompt generator of matching size."""
    data = plan.data
    labels = data.labels(data.tune)
    chosen = splits.few_shot(labels, shots, plan.config.data.seed, data.images.classes)
    data = dataclasses.replace(data, tune=data.tune[chosen])
    cfg = prompt_config(plan.config, plan.backbone, len(data.images.classes), len(data.tune))
    return dataclasses.replace(plan, data=data, prompt_config=cfg)


def compare_one(
    plan: Plan, method: str, stored: Encoded, scorer: Scorer, folder: pathlib.Path
) -> dict[str, Any]:
    """Trains one method, generates and scores; writes row.json and sheet.png into the folder."""
    config, names = plan.config, plan.data.images.classes
    classes = classes_to_draw(plan)
    result = RunResult()
    if not METHODS[method].trainable:
        generated = untuned_images(plan, len(classes))
    else:
        config = ConfigDict(config.to_dict())
        config.trainable = METHODS[method].trainable
        rate = config.compare.learning_rates.get(method, METHODS[method].learning_rate)
        config.optimizer.backbone_learning_rate = rate
        tuned = tune_prompt(
            dataclasses.replace(plan, config=config),
            tuning_codes(plan, stored),
            folder,
            scratch=METHODS[method].scratch,
            keep_best=True,
        )
        drawing = TunedSampler.of(plan, tuned.transformer, tuned.prompt)
        generated = drawing.of_classes(plan, classes)
        result = RunResult(
            tune_loss=tuned.run.loss["train"],
            test_loss=tuned.run.loss["heldout"],
            trainable=tuned.run.trainable,
            frozen=tuned.frozen,
            steps=tuned.run.steps,
            seconds={"tune": round(tuned.run.seconds, 1)},
        )
    scores = scorer(generated, classes)
    row = dataclasses.replace(result, scores={method: scores}).row(_ROW, method)
    row["precision_recall"] = scores.found["precision_recall"]
    sheets.save_png(pictures.sheet(generated, classes, names), folder / "sheet.png")
    results.write_json(folder / "row.json", row)  # last: it marks the method as finished
    return row


def _finished(folder: pathlib.Path) -> dict[str, Any] | None:
    path = folder / "row.json"
    return read_json(path, f"delete {folder} to train it again") if path.exists() else None
