"""What is measured on a set of generated images: a number, its interval, or why there is none.

With fewer than LEAST images a number says more about which images were chosen than about the
model, and is left out.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from maskgit_prompt.metrics import frechet, intervals, kid, neighbors, precision_recall
from maskgit_prompt.metrics.accuracy import Judge
from maskgit_prompt.metrics.frechet import Statistics
from maskgit_prompt.metrics.neighbors import Looks

# The fewest images that a measure needs, of generated and of real ones each.
LEAST = {
    "accuracy": 10,  # even with ten its interval may be 53 points wide
    "kid": 20,  # has no bias, but with fewer hardly tells a tuned prompt from an untuned one
    "frechet": 50,  # its bias outgrows the differences between prompts
    "precision_recall": 50,  # a ball that reaches to the third neighbour holds 3 / n of all images
    "near_copies": 50,  # held-out ones: so that the threshold is not the nearest of them alone
}
SMALL = 2048  # fewer images than this make distances noisy and biased


@dataclasses.dataclass(frozen=True)
class Evidence:
    """Generated images and what they are measured against; None for what is missing.

    Attributes:
      images, labels: uint8 [n, S, S, 3], and the classes that they are meant to show, [n].
      judge: reads an image's class.
      features, some: [n, F] of all images, and of a bounded number of them.
      statistics, real: of the features of all reference images; features [m, F] of some of them,
        [0, F] where there are none.
      tune, test: real images, through the tokenizer as generated ones are: those tuned on, and
        held-out ones.
      tune_names: of the images of `tune`.
      reference_name: what reports call the reference images.
      lacks: part -> why it is None: "judge", "features".
    """

    images: np.ndarray
    labels: np.ndarray
    judge: Judge | None
    features: np.ndarray | None
    some: np.ndarray | None
    statistics: Statistics | None
    real: np.ndarray | None
    tune: Looks
    test: Looks | None
    tune_names: Sequence[str]
    reference_name: str
    lacks: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a measure found.

    Attributes:
      value: a number, or several by name; None where there is none.
      interval: (low, high) of 95 %, see intervals.py, or several by name; None where not known.
      counts: how many images it was made from: "images", "real", …
      reason: why there is no value, for a sentence that begins "No accuracy: ".
    """

    value: Any
    interval: Any = None
    counts: Mapping[str, int] = dataclasses.field(default_factory=dict)
    reason: str = ""


def too_few(name: str, counts: Mapping[str, int]) -> str:
    """Why a measure is left out, or "": "7 held-out real images, 50 are needed".

    name: of LEAST. counts: what there is -> how many.
    """
    short = [f"{count} {what}" for what, count in counts.items() if count < LEAST[name]]
    each = " of each" if len(short) > 1 else ""
    return f"{' and '.join(short)}, {LEAST[name]}{each} are needed" if short else ""


def accuracy(
    judge: Judge | None,
    images: np.ndarray,
    labels: np.ndarray,
    features: np.ndarray | None,
    what: str,
    why: str = "",
) -> Measured:
    """The share of images that the judge reads as their labels.

    Args:
      judge: None where no classifier could be trained, and `why` says for what reason.
      features: [n, F], for a judge that sees them.
      what: what to call the images in the reason, where they are too few.
    """
    if judge is None:
        return Measured(None, reason=why)
    counts = {"images": len(images)}
    if reason := too_few("accuracy", {what: len(images)}):
        return Measured(None, None, counts, reason)
    value = judge.accuracy(images, labels, features if judge.sees_features else None)
    return Measured(value, intervals.of_share(value, len(images)), counts)


def accuracy_of_generated(seen: Evidence) -> Measured:
    why = seen.lacks.get("judge", "")
    return accuracy(seen.judge, seen.images, seen.labels, seen.features, "generated images", why)


def frechet_distance(seen: Evidence) -> Measured:
    def measure() -> tuple[float, Any]:
        value = seen.statistics.distance(seen.features)
        return value, intervals.of_distance(value, frechet.deviation, seen.real, seen.some)

    return _of_features(seen, "frechet", measure, len(seen.images))


def kernel_distance(seen: Evidence) -> Measured:
    def measure() -> tuple[float, Any]:
        value = kid.kid(seen.real, seen.some)[0]
        again = lambda *drawn: {"kid": kid.resampled(*drawn)}
        return value, intervals.of_two_sets({"kid": value}, again, seen.real, seen.some)["kid"]

    return _of_features(seen, "kid", measure)


def precision_and_recall(seen: Evidence) -> Measured:
    def measure() -> tuple[dict[str, float], Any]:
        return neighbours(seen.real, seen.some)

    return _of_features(seen, "precision_recall", measure)


def neighbours(
    real: np.ndarray, generated: np.ndarray, k: int = 3
) -> tuple[dict[str, float], dict[str, intervals.Interval]]:
    """precision_recall.precision_recall and its intervals, real [n, D] and generated [m, D]."""
    values = precision_recall.precision_recall(real, generated, k)
    again = functools.partial(precision_recall.resampled, k=k)
    found = intervals.of_two_sets(values, again, real, generated)
    # The number of its images limits how well a share can be known.
    shares = {"precision": len(generated), "recall": len(real), "coverage": len(real)}
    for name, count in shares.items():
        own = intervals.of_share(values[name], count)
        found[name] = intervals.hull(own, found[name], 0.0, 1.0)
    found["density"] = intervals.hull(found["density"], found["density"], 0.0)
    return values, found


def near_copies(seen: Evidence) -> Measured:
    """The nearest pairs; and how many are copies, or the "reason" why that cannot be told."""
    looks = Looks(seen.images, seen.features)
    generated = neighbors.nearest(looks, seen.tune)
    test = None if seen.test is None else neighbors.nearest(seen.test, seen.tune)
    heldout = int(neighbors.different(test).sum())
    found = neighbors.near_copies(generated, test, seen.tune_names, LEAST["near_copies"])
    counts = {"images": len(seen.images), "training": len(seen.tune.images), "heldout": heldout}
    if found["count"] is not None:
        interval = intervals.of_share(found["fraction"], len(seen.images))
        return Measured(found | {"reason": None}, interval, counts)
    equal = 0 if test is None else len(seen.test.images) - heldout
    what = "held-out images" + (f" that equal no training image ({equal} do)" if equal else "")
    reason = seen.lacks.get("features") or too_few("near_copies", {what: heldout})
    return Measured(found | {"reason": reason}, None, counts, reason)


def _of_features(
    seen: Evidence,
    name: str,
    measure: Callable[[], tuple[Any, Any]],
    generated: int | None = None,
) -> Measured:
    """Measures, if there are features and enough images of both kinds.

    generated: how many images `measure` takes, where not `seen.some`.
    """
    if seen.features is None:
        return Measured(None, reason=seen.lacks["features"])
    generated = len(seen.some) if generated is None else generated
    real = seen.statistics.count if name == "frechet" else len(seen.real)
    counts = {"images": generated, "real": real}
    words = {"generated images": generated, seen.reference_name: real}
    if reason := too_few(name, words):
        return Measured(None, None, counts, reason)
    value, interval = measure()
    return Measured(value, interval, counts)
