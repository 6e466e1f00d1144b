"""Prompt tuning beside fine-tuning, training from scratch and no tuning, on the same few images.

1. Load the source model and the images; encode them once.
2. For every number of images a class and every method: train for the same steps, keep the state of
   the best held-out loss, generate, score. A finished one is kept when the job is started again.
3. Write results.json and report.html: a table and pictures for every number of images.
"""

import dataclasses
import json
import pathlib
from typing import Any

from ml_collections import ConfigDict
from PIL import Image

from maskgit_prompt import settings, sharding, tune, workdir
from maskgit_prompt import source as sources
from maskgit_prompt.data import parts, splits
from maskgit_prompt.errors import UsageError
from maskgit_prompt.jobs import transfer
from maskgit_prompt.report import pictures, results, sheets
from maskgit_prompt.report.comparison import comparison_report
from maskgit_prompt.sampling import Sampler, make_prompts, unconditional
from maskgit_prompt.score import Scorer

TRAINABLE = {
    "prompt": ("prompt/.*",),
    "full": ("prompt/.*", "transformer/.*"),
    "scratch": ("prompt/.*", "transformer/.*"),
}


def run(config: ConfigDict, path: str) -> None:
    unknown = set(config.compare.methods) - TRAINABLE.keys() - {"untuned"}
    if unknown:
        raise UsageError(
            f"config.compare.methods names {', '.join(sorted(unknown))}, expected some of "
            f"{', '.join(TRAINABLE)}, untuned"
        )

    if min(config.compare.shots, default=0) < 1:
        raise UsageError(
            f"config.compare.shots = {tuple(config.compare.shots)}, expected some, 1 or more each"
        )

    # 1. Source model, images, codes.
    workdir.check(path, config)  # before all images are looked at
    mesh = sharding.make_mesh(**config.mesh)
    source = sources.load_for(config)
    whole = ConfigDict(config.to_dict())
    whole.data.shots = 0
    everything, _ = transfer.plan(whole, source, mesh, path)
    home = transfer.claim(config, path, everything)
    stored = transfer.encode(config, source, everything, home)

    # 2. Methods.
    rows, accuracies, drawn = [], {}, {}
    for shots in config.compare.shots:
        labels = everything.labels(everything.tune)
        chosen = splits.few_shot(labels, shots, config.data.seed, everything.images.classes)
        data = dataclasses.replace(everything, tune=everything.tune[chosen])
        decode = Sampler(source, mesh, config.sample).decode
        scorer = transfer.make_scorer(config, source, data, stored, decode, mesh)
        for method in config.compare.methods:
            folder = home / f"{method}-{shots}"
            row = _finished(folder)
            if row is None:
                print(f"{method}, images a class: {shots}", flush=True)
                row = compare_one(config, method, source, data, stored, scorer, folder, mesh)
            rows.append({"method": method, "shots": shots, **row})
            with Image.open(folder / "sheet.png") as sheet:
                drawn[f"{method}/{shots}"] = sheet.copy()
        accuracies = scorer.of_real()

    # 3. Files.
    last = {row["method"]: row for row in rows}  # of the largest number of images
    named = {
        name: {method: row[name] for method, row in last.items()}
        for name in ("frechet", "kid", "heldout_loss", "train_loss", "near_copies")
    }
    accuracies |= {method: row["accuracy"] for method, row in last.items()}
    found = {"rows": rows, "accuracy": accuracies, **named, "config": config.to_dict()}
    results.write_json(home / "results.json", found)
    comparison_report(
        home / "report.html",
        rows,
        drawn,
        title=f"Comparison of methods: {everything.images.name} on {source.name}",
        config=config.to_dict(),
        warnings=scorer.warnings,
    )
    print(f"report: {home / 'report.html'}")


def compare_one(
    config: ConfigDict,
    method: str,
    source: sources.Source,
    data: parts.Parts,
    stored,
    scorer: Scorer,
    folder: pathlib.Path,
    mesh,
) -> dict[str, Any]:
    """Trains one method, generates, scores; writes row.json and sheet.png into the folder."""
    classes = transfer.classes_to_draw(config, data)
    key = sharding.make_key(config.seed + 2, mesh)
    row = dict.fromkeys(("heldout_loss", "train_loss", "trainable", "seconds", "best_step"))
    if method == "untuned":
        generated = transfer.untuned_images(config, source, len(classes), mesh)
    else:
        config = ConfigDict(config.to_dict())
        config.trainable = TRAINABLE[method]
        rate = config.compare.learning_rates.get(method, 0.0)
        config.optimizer.backbone_learning_rate = rate
        cfg = settings.prompt_config(config, source, len(data.images.classes), len(data.tune))
        tuned = tune.tune(
            config,
            source,
            cfg,
            transfer.tuning_codes(config, data, stored),
            folder,
            mesh,
            scratch=method == "scratch",
            keep_best=True,
        )
        prompts = make_prompts(cfg, tuned.prompt)
        uncond = unconditional(config.sample, prompts)
        sampler = Sampler(
            source, mesh, config.sample, config.dtype, tuned.transformer, cfg, config.attention
        )
        generated = sampler.images(prompts(classes)[:, None], key, uncond=uncond)
        row |= {
            "heldout_loss": tuned.loss["heldout"],
            "train_loss": tuned.loss["train"],
            "trainable": tuned.trainable,
            "seconds": round(tuned.seconds, 1),
            "best_step": tuned.steps,
        }
    scores = scorer(generated, classes)
    copies = scores["near_copies"]
    row |= {
        "accuracy": scores["accuracy"],
        "frechet": scores["frechet"],
        "kid": scores["kid"],
        "precision_recall": scores["precision_recall"],
        "near_copies": None if copies is None else copies["fraction"],
    }
    sheets.save_png(pictures.sheet(generated, classes, data.images.classes), folder / "sheet.png")
    results.write_json(folder / "row.json", row)  # last: it says that the method is finished
    return row


def _finished(folder: pathlib.Path) -> dict[str, Any] | None:
    path = folder / "row.json"
    return json.loads(path.read_text()) if path.exists() else None
