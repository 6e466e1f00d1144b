"""How right a classifier is, and where it is wrong.

Shapes: n images, C classes.
"""

import dataclasses

import numpy as np

from maskgit_prompt.metrics import intervals


@dataclasses.dataclass(frozen=True)
class Judgement:
    """A classifier's answers on images.

    Attributes:
      accuracy: share of right answers; interval: of 95 %, Wilson's.
      top5: share of images whose class is among the five likeliest; None for five classes or fewer.
      by_class: mean over classes of the share of right answers.
      confusion: [C, C], how many images of a class (row) were taken for one (column).
      surest_wrong: rows of the wrong answers, the surest first.
      confidence: [n], the probability of the answer.
    """

    accuracy: float
    interval: tuple[float, float]
    top5: float | None
    by_class: float
    confusion: np.ndarray
    surest_wrong: np.ndarray
    confidence: np.ndarray


def judge(logits: np.ndarray, labels: np.ndarray) -> Judgement:
    """Judges logits [n, C] of images with labels [n], n at least 1.

    Logits (2, 0), (1, 0), (0, 3) and labels 0, 1, 1: accuracy 2/3, confusion ((1, 0), (1, 1)).
    """
    answers, classes = logits.argmax(1), logits.shape[1]
    shifted = logits - logits.max(1, keepdims=True)
    confidence = 1 / np.exp(shifted).sum(1)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, answers), 1)
    of_class, right = confusion.sum(1), np.diag(confusion)
    wrong = np.flatnonzero(answers != labels)
    accuracy = float(np.mean(answers == labels))
    top5 = None
    if classes > 5:
        best = np.argsort(-logits, axis=1, kind="stable")[:, :5]
        top5 = float(np.mean((best == labels[:, None]).any(1)))
    return Judgement(
        accuracy=accuracy,
        interval=intervals.of_share(accuracy, len(labels)),
        top5=top5,
        by_class=float(np.mean(right[of_class > 0] / of_class[of_class > 0])),
        confusion=confusion,
        surest_wrong=wrong[np.argsort(-confidence[wrong], kind="stable")],
        confidence=confidence,
    )


def confused(confusion: np.ndarray, most: int = 5) -> list[tuple[int, int, int]]:
    """The pairs (class, taken for, how often) of different classes, the most frequent first."""
    off = confusion - np.diag(np.diag(confusion))
    order = np.argsort(-off, axis=None, kind="stable")[:most]
    pairs = [(*divmod(int(i), len(off)), int(off.flat[i])) for i in order]
    return [pair for pair in pairs if pair[2]]
