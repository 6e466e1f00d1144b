"""Classes of pictures, by classifiers that were tuned before, on one frozen encoder.

1. Read the classifiers, the encoder that they share, and find the pictures.
2. Compute probabilities.
3. Write predictions.csv and predictions.json, with the likeliest classes of each picture.
"""

import csv
import io
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from maskgit_prompt.config import rules
from maskgit_prompt.counts import counted
from maskgit_prompt.data.pixels import Preprocessing
from maskgit_prompt.data.sets import pictures
from maskgit_prompt.errors import UsageError
from maskgit_prompt.progress import progress
from maskgit_prompt.report import results
from maskgit_prompt.storage import workdir
from maskgit_prompt.storage.files import write_whole
from maskgit_prompt.tasks.classification.predicting import Opened, Predictor, open_all, top

ENSEMBLE = "ensemble"


def run(config: ConfigDict, path: str) -> None:
    began = time.perf_counter()
    rules.check(config)

    # 1. Classifiers, encoder, pictures.
    if not config.data.path:
        raise UsageError("config.data.path is empty; expected pictures: configs/predict.py:PATH")
    opened = open_all(config)
    predictors = opened.predictors
    if config.ensemble:
        check_same_classes(predictors)
    names, read = pictures.find(config.data.path)

    with workdir.prepare(path, config) as home:
        # 2. Probabilities.
        kept, probabilities, broken = probabilities_of(config, opened, names, read)
        if config.ensemble:
            classes = {ENSEMBLE: next(iter(predictors.values())).classes}
            probabilities = {ENSEMBLE: np.mean(list(probabilities.values()), axis=0)}
        else:
            classes = {file: one.classes for file, one in predictors.items()}

        # 3. Files.
        answers = {name: rank(probabilities[name], classes[name], config.top) for name in classes}
        write_whole(home / "predictions.csv", as_csv(kept, answers).encode())
        results.write_json(
            home / "predictions.json",
            {
                "backbone": opened.backbone.name,
                "classifiers": list(predictors),
                "ensemble": config.ensemble,
                "broken": broken,
                "pictures": [
                    {"file": file, "answers": {name: rows[i] for name, rows in answers.items()}}
                    for i, file in enumerate(kept)
                ],
            },
        )
        seconds = time.perf_counter() - began
        print(f"{counted(len(kept), 'picture')} in {seconds:.1f} s: {home / 'predictions.csv'}")


def check_same_classes(predictors: dict[str, Predictor]) -> None:
    """Raises UsageError unless all classifiers tell the same classes apart."""
    (first, one), *rest = predictors.items()
    for file, other in rest:
        if other.classes != one.classes:
            raise UsageError(
                f"config.ensemble = True, but {first} and {file} have other classes "
                f"({', '.join(one.classes[:3])}, … and {', '.join(other.classes[:3])}, …); leave "
                "it out to get the answers of each"
            )


def probabilities_of(
    config: ConfigDict,
    opened: Opened,
    names: list[str],
    read: pictures.Read,
) -> tuple[list[str], dict[str, np.ndarray], dict[str, str]]:
    """(names of pictures, classifier -> probabilities [n, C], why other pictures are left out).

    Classifiers that want pixels made in the same way get the same ones.
    """
    predictors = opened.predictors
    ways = dict.fromkeys(one.images for one in predictors.values())
    kept: dict[tuple, list[str]] = {way: [] for way in ways}
    found: dict[str, list[np.ndarray]] = {file: [] for file in predictors}
    broken: dict[str, str] = {}
    with progress(len(names) * len(ways), "predict", "image", delay=5.0) as bar:
        for way in ways:
            preprocessing = Preprocessing(opened.size, way[0], resample=way[1])
            batches = pictures.decoded(names, read, preprocessing, config.batch_size)
            for some, pixels, wrong in batches:
                broken |= wrong
                kept[way] += some
                for file, one in predictors.items():
                    if one.images == way and len(some):
                        found[file].append(one(pixels, config.batch_size))
                bar.update(len(some) + len(wrong))
    pictures.check_broken(broken, len(names))
    joined = {file: np.concatenate(parts) for file, parts in found.items() if parts}
    return kept[next(iter(ways))], joined, broken


def rank(probabilities: np.ndarray, classes: Sequence[str], number: int) -> list[list[list[Any]]]:
    """For each picture [[class, probability], …], the likeliest first."""
    chosen, shares = top(probabilities, number)
    return [
        [[classes[c], round(float(p), 4)] for c, p in zip(row, ps, strict=True)]
        for row, ps in zip(chosen, shares, strict=True)
    ]


def as_csv(names: list[str], answers: dict[str, list[list[list[Any]]]]) -> str:
    """A row for each picture and classifier: names of both, class_1, probability_1, class_2, …"""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    most = max(len(found[0]) for found in answers.values())
    head = [f"{word}_{i}" for i in range(1, most + 1) for word in ("class", "probability")]
    rows.writerow(["file", "classifier", *head])
    for i, file in enumerate(names):
        for name, found in answers.items():
            who = name if name == ENSEMBLE else pathlib.PurePath(name).as_posix()
            rows.writerow([file, who, *(cell for pair in found[i] for cell in pair)])
    return text.getvalue()
