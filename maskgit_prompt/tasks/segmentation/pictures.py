"""The pictures of a segmenter: images under what they show and under what was answered."""

from typing import Any

import numpy as np

from maskgit_prompt.data.masks import IGNORED, MaskedImages
from maskgit_prompt.report import curves, sheets
from maskgit_prompt.tasks.segmentation.plan import Plan
from maskgit_prompt.tuning.tune import Tuned

SHOWN = 6  # held-out images on the sheet
COVER = 0.75  # how much of an overlay is its colour
HUES = 8  # colours of one turn around the circle
CURVES = {"evaluated_train": "images tuned on", "evaluated_heldout": "held-out images"}


def draw(
    plan: Plan, tuned: Tuned, images: np.ndarray, masks: np.ndarray, answers: np.ndarray
) -> dict[str, Any]:
    """name -> PIL image or PNG bytes: "overlays", "classes", "loss", "errors".

    Args:
      images: uint8 [n, S, S, 3]; masks, answers: uint8 [n, S, S].
    """
    classes, colours = plan.data.images.classes, colours_of(plan.data.images)
    cells = np.stack(
        [images, overlaid(images, masks, colours), overlaid(images, answers, colours)], axis=1
    )  # [n, 3, S, S, 3]
    swatches = np.broadcast_to(colours[:, None, None], (len(classes), 24, 24, 3))
    found = {
        "overlays": sheets.grid(cells, col_labels=["image", "mask", "answer"], scale=_scale(cells)),
        "classes": sheets.cards(swatches.copy(), [[name] for name in classes], cols=5),
        "loss": curves.loss_curve({"training batches": tuned.curves["loss"]}),
    }
    errors = {name: tuned.curves[key] for key, name in CURVES.items() if key in tuned.curves}
    if any(len(steps) > 1 for steps, _ in errors.values()):
        found["errors"] = curves.loss_curve(errors, y_label="share of wrong pixels")
    return found


def colours_of(images: MaskedImages) -> np.ndarray:
    """The colours of the classes, uint8 [C, 3]: their own, or those of `palette`."""
    return palette(len(images.classes)) if images.colours is None else images.colours


def _scale(cells: np.ndarray) -> float:
    """Images of about 180 pixels a side, enlarged by a whole number or shrunk."""
    side = cells.shape[2]
    return max(1, round(180 / side)) if side <= 180 else 180 / side


def palette(number: int) -> np.ndarray:
    """Colours of classes, uint8 [number, 3]: the first is grey; the others go around the circle of
    hues, HUES at a time, and get darker with each turn."""
    around = min(HUES, max(1, number - 1))
    hue, turn = np.arange(number) % around / around, np.arange(number) // around
    ramp = np.abs((hue[:, None] * 6 + np.array([0, 4, 2])) % 6 - 3) - 1
    colours = 0.95 * 0.75 ** turn[:, None] * (0.2 + 0.8 * np.clip(ramp, 0, 1))
    return np.round(255 * np.concatenate([[[0.35] * 3], colours[: number - 1]])).astype(np.uint8)


def overlaid(images: np.ndarray, classes: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Images in grey under the colours of their pixels' classes, uint8 [n, S, S, 3].

    Ignored pixels stay as they are.
    """
    grey = images.mean(-1, keepdims=True)
    over = colours[np.where(classes == IGNORED, 0, classes)]
    mixed = (1 - COVER) * grey + COVER * over
    kept = (classes == IGNORED)[..., None]
    return np.where(kept, images, np.round(mixed)).astype(np.uint8)
