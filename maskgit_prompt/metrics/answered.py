"""What answers of an encoder-decoder are scored by: names, formats and directions, in one place."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from maskgit_prompt.errors import UserError
from maskgit_prompt.metrics import answers as said
from maskgit_prompt.metrics import boxes, captions, intervals
from maskgit_prompt.metrics.formats import Format, fixed, percent


@dataclasses.dataclass(frozen=True)
class Score:
    """One number: its title and format; more is always better."""

    title: str
    format: Format


SCORES = {
    "accuracy": Score("right answers", percent),
    "cider": Score("CIDEr", fixed(3)),
    "bleu4": Score("BLEU-4", percent),
    "found": Score("boxes that overlap by half", percent),
    "overlap": Score("mean intersection over union", percent),
}
SHARES = ("accuracy", "found")  # of examples: these have an interval
# Kind of answers -> the score that decides, first, and the others.
OF_KIND = {
    "captions": ("cider", "bleu4", "accuracy"),
    "answers": ("accuracy",),
    "boxes": ("found", "overlap"),
}


@dataclasses.dataclass(frozen=True)
class Found:
    """Scores of one set of answers.

    Attributes:
      values: name of SCORES -> number, of those that could be measured.
      intervals: name -> 95 % interval, of shares of examples.
      right: [n], whether each answer counts as right, or how much it is worth.
      notes: why a score is missing.
    """

    values: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    right: np.ndarray
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "values": dict(self.values),
            "intervals": {name: list(pair) for name, pair in self.intervals.items()},
            "notes": list(self.notes),
        }


def of_texts(
    kind: str,
    texts: Sequence[str],
    targets: Sequence[Sequence[str]],
    weights: Sequence[Sequence[float]],
) -> Found:
    """Scores of "captions" or "answers" against all that is right for each example.

    Raises:
      UserError: nothing to score, or another number of targets.
    """
    right = np.array(
        [
            said.weighted_accuracy([text], [known], [worth])
            for text, known, worth in zip(texts, targets, weights, strict=True)
        ]
    )
    values, notes = {"accuracy": said.weighted_accuracy(texts, targets, weights)}, []
    if kind == "captions":
        measures: dict[str, Callable[[], float]] = {
            "cider": lambda: captions.cider(texts, targets),
            "bleu4": lambda: captions.bleu(texts, targets)[-1],
        }
        try:
            values = {name: measure() for name, measure in measures.items()} | values
        except UserError as error:  # the library is not installed
            notes.append(str(error))
    return _found(values, right, tuple(notes))


def of_boxes(found: np.ndarray, meant: np.ndarray) -> Found:
    """Scores of boxes [n, 4] against [n, 4]; NaN for an answer that is not a box."""
    overlaps = boxes.overlap(found, meant)
    values = {"found": boxes.share_found(found, meant), "overlap": float(np.mean(overlaps))}
    return _found(values, overlaps >= boxes.ENOUGH)


def _found(values: Mapping[str, float], right: np.ndarray, notes: tuple[str, ...] = ()) -> Found:
    known = {
        name: intervals.of_share(values[name], len(right)) for name in SHARES if name in values
    }
    return Found(values, known, right, notes)
