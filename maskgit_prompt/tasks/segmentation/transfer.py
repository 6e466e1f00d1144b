"""A plan carried out: images and masks -> tuned segmenter -> answers -> report.

1. Tune what config.method trains.
2. Write segmenter.safetensors, and read it again: what is judged is what the file holds.
3. Judge its answers on the held-out images.
4. Write results.json, report.html and samples/.
"""

import dataclasses
import pathlib
from typing import Any

import numpy as np

from maskgit_prompt.devices import distributed
from maskgit_prompt.metrics.formats import percent, small_share
from maskgit_prompt.metrics.segmentation import Judgement
from maskgit_prompt.params import Tree
from maskgit_prompt.progress import Clock
from maskgit_prompt.report import results, sheets
from maskgit_prompt.report.segmentation import segmentation_report
from maskgit_prompt.tasks.segmentation import pictures
from maskgit_prompt.tasks.segmentation.plan import PARTS, Plan
from maskgit_prompt.tasks.segmentation.tuning import (
    answering,
    given,
    judged,
    tune_segmenter,
    whole,
)
from maskgit_prompt.tuning import tuned_classifier
from maskgit_prompt.tuning.train import MEASURED
from maskgit_prompt.tuning.tune import Tuned
from maskgit_prompt.tuning.tuned_classifier import SEGMENTER, TunedClassifierFile
from maskgit_prompt.tuning.tuned_file import TunedOn

Result = dict[str, Any]


def carry_out(plan: Plan, home: pathlib.Path, clock: Clock) -> Result:
    """Does all that follows the plan, in a workdir that was claimed.

    clock: holds the seconds of stages before.
    """
    data, rows = given(plan), plan.data.test
    answers = answering(plan, data)

    # 1. and 2. The segmenter and its file.
    with clock("tune"):
        tuned, around = tune_segmenter(plan, data, home)
    path = home / SEGMENTER.name
    save(path, plan, around)
    distributed.barrier("segmenter")
    stored = tuned_classifier.load(path, SEGMENTER)
    stored.backbone.check(plan.backbone, path)
    tree = whole(plan, stored.tree)

    # 3. Its answers.
    with clock("judge"):
        judgement = judged(plan, data, answers, tree, rows)

    # 4. Files.
    seconds = {stage: round(s, 2) for stage, s in clock.seconds.items()}
    found = summarize(plan, tuned, judgement, seconds, path.stat().st_size)
    some = rows[: pictures.SHOWN]
    masks = data.masks(some)["masks"]
    shown = data.inputs(some)["images"], masks, answers(tree, some)
    drawn = pictures.draw(plan, tuned, *shown)
    sheets.save_all(drawn, home / "samples")
    results.write_json(home / "results.json", found)
    segmentation_report(home / "report.html", found, drawn)
    if distributed.is_first():
        print(
            f"mean IoU {percent(found['mean_iou'])}, pixel accuracy {percent(found['accuracy'])} "
            f"of {len(rows):,} held-out images ({found['method']}: {found['trainable']:,} numbers "
            f"tuned, {small_share(found['share'])} of the model)\n"
            f"report: {home / 'report.html'}\n"
            f"segmenter: {path} ({found['file_bytes'] / 1e3:.0f} kB)"
        )
    return found


def save(path: pathlib.Path, plan: Plan, around: Tree) -> None:
    """Writes segmenter.safetensors."""
    normalization = plan.model.normalization
    tuned_classifier.save(
        path,
        TunedClassifierFile(
            tree=around,
            sizes=dataclasses.asdict(plan.sizes),
            classes=tuple(plan.data.images.classes),
            backbone=TunedOn.of(plan.backbone, PARTS),
            method=plan.config.method,
            images={
                "fit": "resize",
                "resample": "bilinear",
                "mean": normalization.mean,
                "std": normalization.std,
                "colours": pictures.colours_of(plan.data.images).tolist(),
            },
        ),
        SEGMENTER,
    )


def summarize(
    plan: Plan, tuned: Tuned, judgement: Judgement, seconds: dict[str, float], file_bytes: int
) -> Result:
    """What results.json holds."""
    data, names = plan.data, plan.data.images.classes
    pixels = judgement.confusion.sum(1)
    ground = int(np.argmax(pixels))
    return {
        "mean_iou": judgement.mean_iou,
        "accuracy": judgement.accuracy,
        # What the most frequent class alone would give, everywhere.
        "guess": float(pixels[ground] / pixels.sum()),
        "iou": dict(zip(names, judgement.iou, strict=True)),
        "pixels": dict(zip(names, pixels.tolist(), strict=True)),
        "train_accuracy": 1 - tuned.loss["train"],
        "classes": list(names),
        "images": {"tune": len(data.tune), "heldout": len(data.test)},
        "method": plan.config.method,
        "backbone": plan.backbone.name,
        "data": data.images.name,
        "trainable": tuned.trainable,
        "frozen": tuned.frozen,
        "share": tuned.trainable / (tuned.trainable + tuned.frozen),
        "steps": tuned.steps,
        "seconds": seconds,
        "speed": {name: tuned.last[name] for name in MEASURED if name in tuned.last},
        "file_bytes": file_bytes,
        "config": plan.config.to_dict(),
    }
