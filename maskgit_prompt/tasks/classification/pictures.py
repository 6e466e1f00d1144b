"""The pictures of a classifier: what it gets wrong, which classes it confuses, its features."""

from typing import Any

import numpy as np

from maskgit_prompt.data import splits
from maskgit_prompt.metrics import planes
from maskgit_prompt.metrics.classification import Judgement
from maskgit_prompt.report import classes, curves, sheets
from maskgit_prompt.tasks.classification.plan import Plan
from maskgit_prompt.tasks.classification.tuning import TunedClassifier

WRONG = 12  # images on the sheet of wrong answers
SHOWN = 600  # images whose features are drawn, at most
CURVES = {
    "evaluated_train": "images tuned on",
    "evaluated_validation": "validation images",
    "evaluated_heldout": "held-out images",
}


def placed(plan: Plan, tuned: TunedClassifier) -> tuple[np.ndarray, np.ndarray]:
    """(rows of about SHOWN held-out images, each class in proportion; where their features lie on
    the two principal axes [n, 2])."""
    data = plan.data
    rows = data.test[splits.thin(data.labels(data.test), SHOWN, plan.config.data.seed)]
    return rows, planes.principal(tuned.features(rows))


def draw(
    plan: Plan,
    tuned: TunedClassifier,
    judgement: Judgement,
    logits: np.ndarray,
    shown: tuple[np.ndarray, np.ndarray],
) -> dict[str, Any]:
    """name -> PIL image or PNG bytes: "wrong", "confusion", "features", "loss", "errors".

    shown: as `placed` gives it.
    """
    data, names = plan.data, plan.data.images.classes
    labels, found = data.labels(data.test), {}
    if len(wrong := judgement.surest_wrong[:WRONG]):
        images = data.images.read(data.test[wrong])
        said = [
            (names[labels[i]], f"→ {names[logits[i].argmax()]}", f"{judgement.confidence[i]:.0%}")
            for i in wrong
        ]
        found["wrong"] = sheets.cards(images, said)
    found["confusion"] = classes.confusion(judgement.confusion, names)
    rows, places = shown
    found["features"] = classes.scatter(places, data.labels(rows), names)
    series = tuned.run.curves
    found["loss"] = curves.loss_curve({"training batches": series["loss"]})
    errors = {name: series[key] for key, name in CURVES.items() if key in series}
    if any(len(steps) > 1 for steps, _ in errors.values()):
        found["errors"] = curves.loss_curve(errors, y_label="share of wrong answers")
    return found
