"""The main job's pictures: contact sheets of real and generated images, the loss."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from maskgit_prompt.data.loading import Splits
from maskgit_prompt.report import curves, sheets
from maskgit_prompt.tasks.generation.score import Scorer

SHEET_COLUMNS, SHEET_ROWS = 12, 20
# Column of metrics.jsonl -> what reports call its curve.
CURVES = {
    "loss": "training batches",
    "evaluated_train": "training images",
    "evaluated_heldout": "held-out images",
}


@dataclasses.dataclass(frozen=True)
class Made:
    """Images that a run made.

    Attributes:
      generated, classes: uint8 [n, S, S, 3] and what each is meant to show.
      untuned: as generated, by the backbone alone.
      strip: the marquee's images by class and cutoff [C, columns, S, S, 3], or None.
      pairs: generated images and their nearest training images, as metrics.neighbors.near_copies
        gives them.
    """

    generated: np.ndarray
    classes: np.ndarray
    untuned: np.ndarray
    strip: np.ndarray | None
    pairs: Sequence[Mapping[str, Any]] = ()


def draw(
    data: Splits,
    scorer: Scorer,
    made: Made,
    losses: Mapping[str, curves.Series],
    cutoffs: Sequence[float],
) -> dict[str, Any]:
    """name -> PIL image or PNG bytes, for samples/ and the report.

    Args:
      scorer: takes rows of the set through the tokenizer and back.
      losses: column of metrics.jsonl -> (steps, values).
      cutoffs: of the marquee.

    Returns:
      "glance" is two rows of generated images of all classes, for a page of many runs; "fit" real
      images above what the tokenizer makes of them; "pairs" generated images above their nearest
      training images; the others are what report/transfer.py names.
    """
    generated, classes = made.generated, made.classes
    names = data.images.classes
    labels = data.labels(data.tune)
    rows = [np.flatnonzero(labels == c)[:SHEET_COLUMNS] for c in shown_classes(classes)]
    rows = data.tune[np.concatenate(rows)]
    shown = data.labels(rows)
    evenly = np.linspace(0, len(generated) - 1, min(len(generated), 2 * SHEET_COLUMNS))
    pictures = {
        "real": sheet(data.images.read(rows), shown, names),
        "reconstructed": sheet(scorer.reconstruct(rows), shown, names),
        "prompt": sheet(generated, classes, names),
        "untuned": sheets.grid(_rows(made.untuned, 4)),
        "fit": above(*scorer.before_and_after()[1:], ("goes in", "comes out")),
        "glance": sheets.grid(_rows(generated[evenly.round().astype(int)], 2)),
    }
    if made.pairs:
        nearest = scorer.compared[[pair["training"] for pair in made.pairs]]
        drawn = generated[[pair["generated"] for pair in made.pairs]]
        pictures["pairs"] = above(drawn, data.images.read(nearest), ("generated", "training"))
    if made.strip is not None:
        pictures["marquee"] = sheets.grid(
            made.strip,
            row_labels=[names[c] for c in shown_classes(labels)],
            col_labels=["instance", "class", *(f"{c:g}" for c in cutoffs)],
        )
    pictures["loss"] = curves.loss_curve({CURVES[name]: points for name, points in losses.items()})
    return pictures


def shown_classes(labels: np.ndarray) -> np.ndarray:
    """Classes that pictures show: all that occur, or SHEET_ROWS of them, evenly chosen."""
    classes = np.unique(labels)
    if len(classes) <= SHEET_ROWS:
        return classes
    return classes[np.linspace(0, len(classes) - 1, SHEET_ROWS).round().astype(int)]


def sheet(images: np.ndarray, labels: np.ndarray, names: tuple[str, ...]) -> Image.Image:
    """A contact sheet with a row for each class that is shown."""
    classes = shown_classes(labels)
    kept = np.isin(labels, classes)
    numbers = np.searchsorted(classes, labels[kept])
    columns = min(SHEET_COLUMNS, np.bincount(numbers).max())
    cells, present = sheets.by_class(images[kept], numbers, len(classes), columns)
    return sheets.grid(cells, row_labels=[names[c] for c in classes], present=present)


def _rows(images: np.ndarray, most: int) -> np.ndarray:
    """[n, S, S, 3] -> [rows, columns, S, S, 3], at most `most` rows; a remainder is left out."""
    columns = min(SHEET_COLUMNS, len(images))
    rows = min(most, len(images) // columns)
    return images[: rows * columns].reshape(rows, columns, *images.shape[1:])


def above(
    first: np.ndarray, second: np.ndarray, names: tuple[str, str], most: int = 1
) -> Image.Image:
    """Images [n, S, S, 3] above those they belong to, evenly chosen: SHEET_COLUMNS in a line.

    most: lines of such pairs, if there are as many.
    """
    across = min(SHEET_COLUMNS, len(first))
    lines = min(most, len(first) // across)
    chosen = np.linspace(0, len(first) - 1, across * lines).round().astype(int)
    pairs = np.stack(
        [
            first[chosen].reshape(lines, across, *first.shape[1:]),
            second[chosen].reshape(lines, across, *first.shape[1:]),
        ],
        axis=1,
    )
    return sheets.grid(pairs.reshape(2 * lines, *pairs.shape[2:]), row_labels=names * lines)
