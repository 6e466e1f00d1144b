"""What two sets of images are compared by, from one pass of features: names, formats, directions.

A Fréchet distance is FID, and a sliced distance MIND, in the features of FID's Inception network
alone; in others they have their plain names.

Shapes: n images, F numbers of a feature, C classes.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from maskgit_prompt.counts import counted
from maskgit_prompt.errors import UserError
from maskgit_prompt.metrics import frechet, intervals, kid, sliced
from maskgit_prompt.metrics.formats import number
from maskgit_prompt.metrics.frechet import Normal
from maskgit_prompt.metrics.inception_score import inception_score
from maskgit_prompt.metrics.measures import SMALL, neighbours
from maskgit_prompt.metrics.pairwise import check_features, check_same_dims
from maskgit_prompt.metrics.scores import HIGHER, LOWER, SCORES, Score

# Name, as in results.json -> score, in the order of the table.
COMPARED: dict[str, Score] = {
    "fid": Score("FID", number, LOWER),
    "fid_infinity": Score("FID at infinitely many images", number, LOWER),
    "sfid": Score("sFID", number, LOWER),
    "frechet": SCORES["frechet"],
    "frechet_infinity": Score("Fréchet distance at infinitely many images", number, LOWER),
    "kid": SCORES["kid"],
    "mind": Score("MIND", number, LOWER),
    "sliced": Score("sliced distance", number, LOWER),
    "inception_score": Score("Inception Score", number, HIGHER),
    "precision": SCORES["precision"],
    "recall": SCORES["recall"],
    "density": SCORES["density"],
    "coverage": SCORES["coverage"],
}
NEIGHBOURS = ("precision", "recall", "density", "coverage")
SAME = 1e-6  # features that differ by less of their size are those of equal images


@dataclasses.dataclass(frozen=True)
class Seen:
    """What a network sees in n images.

    Attributes:
      features: [n, F].
      spatial, logits: of FID's Inception network alone: sFID's features [n, 2023], and [n, C].
    """

    features: np.ndarray
    spatial: np.ndarray | None = None
    logits: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.features)


@dataclasses.dataclass(frozen=True)
class Reference:
    """Real images.

    Attributes:
      mean, cov: of their features, [F] and [F, F].
      spatial: the same of sFID's features, or None.
      images: how many; 0: not known.
      seen: of each image, or None where only statistics are there.
    """

    mean: np.ndarray
    cov: np.ndarray
    spatial: tuple[np.ndarray, np.ndarray] | None = None
    images: int = 0
    seen: Seen | None = None

    @functools.cached_property
    def normal(self) -> Normal:
        if self.seen is not None:
            return Normal.of_features(self.seen.features)
        return Normal.of(self.mean, self.cov)

    def spatial_distance(self, spatial: np.ndarray) -> float:
        """sFID to images whose features are spatial [n, 2023]."""
        known = self.seen
        normal = Normal.of_features(known.spatial) if known else Normal.of(*self.spatial)
        return normal.distance(spatial)

    @classmethod
    def of(cls, seen: Seen) -> "Reference":
        """Raises UserError as `frechet.statistics`."""
        spatial = None if seen.spatial is None else frechet.statistics(seen.spatial)
        return cls(*frechet.statistics(seen.features), spatial, len(seen), seen)


@dataclasses.dataclass(frozen=True)
class Settings:
    """Attributes:
    seed: of what is drawn: KID's subsets, MIND's directions, the split of the Inception Score.
    subsets, subset_size: of KID; a subset has no more images than the smaller set.
    directions: of MIND.
    splits: of the Inception Score.
    neighbours: k of precision, recall, density and coverage.
    most: images of each set that these four, whose cost grows with the square, are made from.
    """

    seed: int = 2020
    subsets: int = 100
    subset_size: int = 1000
    directions: int = sliced.DIRECTIONS
    splits: int = 10
    neighbours: int = 3
    most: int = 5000


@dataclasses.dataclass(frozen=True)
class Found:
    """Attributes:
    values: name of COMPARED -> number, or None where `warnings` say why there is none.
    deviations: name -> standard deviation over KID's subsets, or the Inception Score's parts.
    intervals: name -> (low, high) of 95 %, see intervals.py.
    counts: name -> {"images": generated ones, "real": …} that it was made from.
    warnings: sentences.
    """

    values: Mapping[str, float | None]
    deviations: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    counts: Mapping[str, Mapping[str, int]]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            name: {
                "value": value,
                "deviation": self.deviations.get(name),
                "interval": self.intervals.get(name),
                "counts": self.counts[name],
            }
            for name, value in self.values.items()
        }

    def lines(self) -> list[str]:
        """A line for each number: "KID  0.0123 ± 0.002 [0.01, 0.015]"."""
        shown = {name: x for name, x in self.values.items() if x is not None}
        width = max((len(COMPARED[name].label) for name in shown), default=0)
        return [
            f"{COMPARED[name].label:{width}}  {COMPARED[name].format(value)}{self._beside(name)}"
            for name, value in shown.items()
        ]

    def _beside(self, name: str) -> str:
        text, show = "", COMPARED[name].format
        if name in self.deviations:
            text += f" ± {show(self.deviations[name])}"
        if name in self.intervals:
            text += f" [{', '.join(map(show, self.intervals[name]))}]"
        return text


def check_varied(what: str, seen: Seen) -> None:
    """Refuses images that a network cannot tell apart; what: for messages.

    Raises:
      UserError: fewer than two images, NaN features, or all are the same.
    """
    features = check_features(f"{what}:", seen.features, at_least=2)
    if np.ptp(features, axis=0).max() <= SAME * np.abs(features).max():
        raise UserError(
            f"{what}: all {counted(len(features), 'image')} look the same to the network, expected "
            "images that differ (are they all black?); look at the files"
        )


def compare(real: Reference, generated: Seen, settings: Settings, *, inception: bool) -> Found:
    """All numbers that the two sets allow.

    Args:
      inception: whether the features are those of FID's network.

    Raises:
      UserError: features of different dims, or values that are not finite.
    """
    return _Comparison(real, generated, settings, inception).found()


class _Comparison:
    """Collects numbers; those that cannot be had leave a warning."""

    def __init__(self, real, generated, settings, inception):
        self._real, self._generated, self._settings = real, generated, settings
        self._plain = "fid" if inception else "frechet"
        self._fid, self._sliced = COMPARED[self._plain].label, "mind" if inception else "sliced"
        self._found: dict[str, dict[str, Any]] = {
            name: {} for name in ("values", "deviations", "intervals", "counts")
        }
        self._warnings: list[str] = []

    def found(self) -> Found:
        check_same_dims(self._real.mean[None], self._generated.features)
        self._warn_of_few()
        self._distances()
        self._score()
        if self._real.seen is None:
            self._warnings.append(
                f"No KID, {COMPARED[self._sliced].label}, precision, recall, density or coverage: "
                "the real images are known by their statistics alone."
            )
        else:
            self._pairs(self._real.seen.features, self._generated.features)
        order = [name for name in COMPARED if name in self._found["values"]]
        self._found["values"] = {name: self._found["values"][name] for name in order}
        return Found(**self._found, warnings=tuple(self._warnings))

    def _put(self, name: str, value: float | None, real: int | None = None, **more) -> None:
        counts = {"images": more.pop("images", len(self._generated))}
        if real is not None:
            counts["real"] = real
        self._found["values"][name] = value
        self._found["counts"][name] = counts
        for what, x in more.items():
            self._found[what][name] = x

    def _warn_of_few(self) -> None:
        few = {"generated": len(self._generated)}
        few |= {"real": self._real.images} if self._real.images else {}
        few = {name: count for name, count in few.items() if count < SMALL}
        if few:
            counts = " and ".join(f"{count:,} {name}" for name, count in few.items())
            self._warnings.append(
                f"{counts} images are fewer than {SMALL:,}: the {self._fid} is too large; compare "
                "it only with distances of as many images, and read KID beside it."
            )

    def _distances(self) -> None:
        real, seen = self._real, self._generated
        plain = self._plain
        value = real.normal.distance(seen.features)
        more = {}
        if real.seen is not None and min(len(real.seen), len(seen)) > 2:
            interval = intervals.of_distance(
                value, frechet.deviation, real.seen.features, seen.features
            )
            more["intervals"] = interval
        self._put(plain, value, real.images, **more)
        try:
            far = real.normal.at_infinity(seen.features, self._settings.seed)
            self._put(f"{plain}_infinity", far, real.images)
        except UserError as error:
            self._put(f"{plain}_infinity", None, real.images)
            self._warnings.append(f"No {COMPARED[f'{plain}_infinity'].label}: {error}.")
        if seen.spatial is not None and real.spatial is not None:
            self._put("sfid", real.spatial_distance(seen.spatial), real.images)

    def _score(self) -> None:
        if self._generated.logits is None:
            return
        try:
            logits, splits = self._generated.logits, self._settings.splits
            value, spread = inception_score(logits, splits, self._settings.seed)
            self._put("inception_score", value, deviations=spread)
        except UserError as error:
            self._put("inception_score", None)
            self._warnings.append(f"No {COMPARED['inception_score'].label}: {error}.")

    def _pairs(self, real: np.ndarray, generated: np.ndarray) -> None:
        chosen = self._settings
        mean, spread = kid.kid(real, generated, chosen.subsets, chosen.subset_size, chosen.seed)
        distance = sliced.mind(real, generated, chosen.directions, chosen.seed)

        def again(*drawn: np.ndarray) -> dict[str, np.ndarray]:
            return {"kid": kid.resampled(*drawn), self._sliced: sliced.resampled(*drawn)}

        values = {"kid": mean, self._sliced: distance}
        found = intervals.of_two_sets(values, again, real, generated)
        self._put("kid", mean, len(real), deviations=spread, intervals=found["kid"])
        low, high = found[self._sliced]
        self._put(self._sliced, distance, len(real), intervals=(max(0.0, low), high))
        self._neighbours(_thinned(real, chosen.most), _thinned(generated, chosen.most))

    def _neighbours(self, real: np.ndarray, generated: np.ndarray) -> None:
        k, counts = self._settings.neighbours, {"real": len(real), "images": len(generated)}
        if min(len(real), len(generated)) <= k:
            for name in NEIGHBOURS:
                self._put(name, None, **counts)
            self._warnings.append(
                f"No precision, recall, density or coverage: {k + 1} images of each set are needed."
            )
            return
        values, known = neighbours(real, generated, k)
        for name in NEIGHBOURS:
            self._put(name, values[name], **counts, intervals=known[name])


def _thinned(features: np.ndarray, most: int) -> np.ndarray:
    """At most `most` rows, evenly apart: 10 rows and 4 give rows 0, 3, 6, 9; most 0: all."""
    return features[:: -(-len(features) // most)] if most else features
