"""How right the classes of pixels are.

Shapes: n images, S image size, C classes.
"""

import dataclasses
from collections.abc import Iterable

import numpy as np


@dataclasses.dataclass(frozen=True)
class Judgement:
    """Answers for pixels.

    Attributes:
      accuracy: share of pixels with the right answer.
      iou: by class: pixels of the class with this answer, over pixels of the class or with this
        answer; None for a class that is in neither.
      mean_iou: mean over the classes with one.
      confusion: [C, C], how many pixels of a class (row) were taken for one (column).
    """

    accuracy: float
    iou: tuple[float | None, ...]
    mean_iou: float
    confusion: np.ndarray


def counts(masks: np.ndarray, answers: np.ndarray, classes: int, ignored: int) -> np.ndarray:
    """[C, C] pixels of a class (row) by answer (column); masks and answers: [n, S, S].

    Masks (0, 0, 1, 255) and answers (0, 1, 1, 1) with 255 ignored: ((1, 1), (0, 1)).
    """
    counted = masks != ignored
    pairs = masks[counted].astype(np.int64) * classes + answers[counted]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def judge(confusions: Iterable[np.ndarray]) -> Judgement:
    """Judges the sum of `counts` of several batches, with at least one pixel.

    ((1, 1), (0, 1)): accuracy 2/3, IoU 1/2 and 1/2.
    """
    confusion = np.sum(list(confusions), axis=0)
    both, either = np.diag(confusion), confusion.sum(0) + confusion.sum(1) - np.diag(confusion)
    iou = tuple(float(b / e) if e else None for b, e in zip(both, either, strict=True))
    return Judgement(
        accuracy=float(both.sum() / confusion.sum()),
        iou=iou,
        mean_iou=float(np.mean([one for one in iou if one is not None])),
        confusion=confusion,
    )
