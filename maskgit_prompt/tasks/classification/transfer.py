"""A plan carried out: images -> tuned classifier -> answers -> report.

1. Tune what config.method trains.
2. Judge it on the held-out images.
3. Write classifier.safetensors, results.json, predictions.csv, features.csv, report.html and
   samples/.
"""

import csv
import dataclasses
import io
import pathlib
from collections.abc import Sequence

import numpy as np

from maskgit_prompt.devices import distributed
from maskgit_prompt.metrics.classification import judge
from maskgit_prompt.progress import Clock
from maskgit_prompt.report import results, sheets
from maskgit_prompt.report.classification import classification_report
from maskgit_prompt.storage.files import write_whole
from maskgit_prompt.tasks.classification import pictures, protocols
from maskgit_prompt.tasks.classification.plan import PARTS, Plan
from maskgit_prompt.tasks.classification.result import Result, last_words, summarize
from maskgit_prompt.tasks.classification.tuning import TunedClassifier, tune_classifier
from maskgit_prompt.tuning import tuned_classifier
from maskgit_prompt.tuning.tuned_classifier import TunedClassifierFile
from maskgit_prompt.tuning.tuned_file import TunedOn


def carry_out(plan: Plan, home: pathlib.Path, clock: Clock) -> Result:
    """Does all that follows the plan, in a workdir that was claimed.

    clock: holds the seconds of stages before.
    """
    data = plan.data

    # 1. The classifier.
    with clock("tune"):
        tuned = tune_classifier(plan, home)

    # 2. Its answers.
    with clock("judge"):
        logits = tuned.predict(data.test)
        judgement = judge(logits, data.labels(data.test))

    # 3. Files.
    seconds = {stage: round(s, 2) for stage, s in clock.seconds.items()}
    found = summarize(plan, tuned, judgement, seconds)
    path = save_classifier(plan, tuned, found, home)
    found = dataclasses.replace(found, file_bytes=path.stat().st_size)
    save_answers(home / "predictions.csv", plan, logits.argmax(1), judgement.confidence)
    shown = pictures.placed(plan, tuned)
    save_features(home / "features.csv", plan, *shown)
    drawn = pictures.draw(plan, tuned, judgement, logits, shown)
    sheets.save_all(drawn, home / "samples")
    results.write_json(home / "results.json", found.to_json())
    classification_report(home / "report.html", found.to_json(), drawn)
    if distributed.is_first():
        print(last_words(home, found))
    return found


def save_classifier(
    plan: Plan, tuned: TunedClassifier, found: Result, home: pathlib.Path
) -> pathlib.Path:
    """Writes classifier.safetensors."""
    protocol = protocols.find(plan.config.protocol)
    normalization = plan.model.normalization
    path = home / "classifier.safetensors"
    tuned_classifier.save(
        path,
        TunedClassifierFile(
            tree=tuned.changed,
            sizes=dataclasses.asdict(plan.sizes),
            classes=tuple(plan.data.images.classes),
            backbone=TunedOn.of(plan.backbone, PARTS),
            method=plan.config.method,
            images={
                "fit": protocol.fit or plan.config.data.fit,
                "resample": protocol.resample,
                "mean": normalization.mean,
                "std": normalization.std,
            },
            scores={"accuracy": dict(found.accuracy), "interval": found.interval},
        ),
    )
    return path


def save_answers(
    path: pathlib.Path, plan: Plan, answers: np.ndarray, confidence: np.ndarray
) -> None:
    """A row for each held-out image: file, class, answer and its probability."""
    data, names = plan.data, plan.data.images.classes
    rows = [
        (data.images.ids[row], names[label], names[answer], f"{p:.4f}")
        for row, label, answer, p in zip(
            data.test, data.labels(data.test), answers, confidence, strict=True
        )
    ]
    _save_table(path, ("file", "class", "answer", "probability"), rows)


def save_features(path: pathlib.Path, plan: Plan, rows: np.ndarray, places: np.ndarray) -> None:
    """What the picture of features shows: file, class, and where it lies on both axes [n, 2]."""
    data, names = plan.data, plan.data.images.classes
    lines = [
        (data.images.ids[row], names[label], f"{x:.5g}", f"{y:.5g}")
        for row, label, (x, y) in zip(rows, data.labels(rows), places, strict=True)
    ]
    _save_table(path, ("file", "class", "first_axis", "second_axis"), lines)


def _save_table(path: pathlib.Path, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([head, *rows])
    write_whole(path, text.getvalue().encode())
