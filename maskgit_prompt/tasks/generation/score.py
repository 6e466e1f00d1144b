"""Scores of generated images beside real and reconstructed ones, without any download."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from maskgit_prompt.backbones.compiled import make_features
from maskgit_prompt.data import splits
from maskgit_prompt.data.codes_writer import load_ahead
from maskgit_prompt.metrics import frechet, measures, reconstruction, scores
from maskgit_prompt.metrics.accuracy import Judge
from maskgit_prompt.metrics.measures import Evidence, Measured
from maskgit_prompt.metrics.neighbors import Looks
from maskgit_prompt.metrics.scores import Scores
from maskgit_prompt.progress import progress
from maskgit_prompt.tasks.generation.encoding import Encoded
from maskgit_prompt.tasks.generation.plan import Plan

FEATURES = 10_000  # images that KID, precision and recall are made from, at most
BLOCK = 256  # images whose features are computed while the next are read


class Scorer:
    """Holds what every score needs: the judge, the features of real images.

    Args:
      plan: near-copies are looked for among at most config.score.most of the images tuned on.
      encoded: codes of the images of tune and test.
      decode: codes [n, L] -> images.

    Attributes:
      warnings: what could not be measured, and why; what to know of what was.
      reconstruction: how well the backbone keeps the images, for results.json.
      compared: rows of the images that near-copies are looked for among.
    """

    def __init__(self, plan: Plan, encoded: Encoded, decode: Callable):
        data, backbone, mesh = plan.data, plan.backbone, plan.mesh
        self._data, self._encoded, self._decode = data, encoded, decode
        self.warnings: list[str] = []
        self._lacks: dict[str, str] = {}
        self._features, self._reference = None, None
        if "features" in backbone.parts:
            self._features = make_features(backbone.part("features"), mesh)
            self._reference = self._reference_features()
        else:
            self._lacks["features"] = (
                f"backbone {backbone.name!r} has no network to measure them with"
            )
        self._judge = self._train_judge(plan.config.score.judge)
        if not len(data.test):
            self.warnings.append("No held-out loss: no images are held out.")
        classes = len(data.images.classes)
        if missing := classes - len(np.unique(data.labels(data.tune))):
            self.warnings.append(
                f"{missing} of {classes} classes have no image to tune on: none of theirs are "
                "generated."
            )
        most, seed = plan.config.score.most, plan.config.data.seed
        self.compared = data.tune[splits.thin(data.labels(data.tune), most, seed)]
        self._tune = self._look(self.reconstruct(self.compared))
        self._test = self._look(self.reconstruct(data.test)) if len(data.test) else None
        self._split, rows = ("test", data.test) if len(data.test) else ("tune", self.compared)
        self._real = self._look(data.images.read(rows))  # features are computed once, here
        own = backbone.provenance.get("reconstruction")
        self.reconstruction = self._fit() | {"own": own}

    def _look(self, images: np.ndarray) -> Looks:
        return Looks(images, None if self._features is None else self._features(images))

    def before_and_after(self) -> tuple[str, np.ndarray, np.ndarray]:
        """Real images and what the tokenizer makes of them, uint8 [n, S, S, 3] each.

        Those of the split that is named first: "test", or "tune" where nothing is held out. The
        tokenizer has learnt of neither.
        """
        return self._split, self._real.images, self._reconstructed.images

    @property
    def _reconstructed(self) -> Looks:
        return self._test or self._tune

    def _fit(self) -> dict[str, Any]:
        real, made = self._real, self._reconstructed
        features = None if self._features is None else (real.features, made.features)
        found = reconstruction.measure(real.images, made.images, features)
        return found | {"split": self._split, "keeps": reconstruction.verdict(found)}

    def _reference_features(self) -> tuple[np.ndarray, frechet.Statistics]:
        """Features [n, F] of at most FEATURES images, and the statistics of all."""
        rows, images = self._data.reference, self._data.images
        kept = rows[splits.thin(images.labels[rows], FEATURES, 0)]
        few, whole, place = [np.zeros((0, 1))], frechet.Statistics(), 0
        with progress(len(rows), "reference", "image", delay=5.0) as bar:
            for pixels in load_ahead(images, rows, BLOCK):
                features = self._features(pixels)
                whole.add(features)
                few.append(features[np.isin(rows[place : place + len(pixels)], kept)])
                place += len(pixels)
                bar.update(len(pixels))
        return np.concatenate(few[1:] or few), whole

    def _train_judge(self, sees: str) -> Judge | None:
        """The classifier, or None where `_lacks` says why.

        sees: "pixels"; with "features" also those, where the backbone has a network of them.
        """
        data, labels = self._data, self._data.labels(self._data.judge)
        names, judge = data.images.classes, None
        if len(names) < 2:
            reason = f"the only class is {names[0]!r}, and a classifier tells classes apart"
        elif len(missing := np.setdiff1d(np.arange(len(names)), labels)):
            # Nothing could ever be read as a class that the judge has not seen.
            reason = f"no images of class {names[missing[0]]!r} are left to train a classifier on"
        else:
            images = data.images.read(data.judge)
            features = self._look(images).features if sees == "features" else None
            judge, reason = Judge.fit_or_reason(images, labels, features, names)
        if judge is None:
            self._lacks["judge"] = reason
        return judge

    def reconstruct(self, rows: np.ndarray) -> np.ndarray:
        """Images of the set through the tokenizer and back."""
        return self._decode(self._encoded.plain(rows))

    def accuracy(self, images: np.ndarray, labels: np.ndarray) -> float | None:
        """The share of generated images that are read as their labels."""
        sees_features = self._judge is not None and self._judge.sees_features
        features = self._features(images) if sees_features else None
        return self._read(images, features, labels, "generated images").value

    def _read(
        self, images: np.ndarray, features: np.ndarray | None, labels: np.ndarray, what: str
    ) -> Measured:
        why = self._lacks.get("judge", "")
        return measures.accuracy(self._judge, images, labels, features, what, why)

    def of_real(self) -> dict[str, Scores]:
        """Accuracy on held-out real images and on their reconstructions."""
        if self._test is None:
            return {name: Scores({"accuracy": None}) for name in ("real", "reconstructed")}
        labels = self._data.labels(self._data.test)
        looks = {"real": self._real, "reconstructed": self._test}
        read = lambda x: self._read(x.images, x.features, labels, "held-out images")
        return {name: self._checked({"accuracy": read(x)}) for name, x in looks.items()}

    def __call__(self, images: np.ndarray, labels: np.ndarray) -> Scores:
        """Scores of generated images, uint8 [n, S, S, 3], meant to show classes labels [n]."""
        features = some = real = statistics = None
        if self._features is not None:
            real, statistics = self._reference
            features = self._features(images)
            some = features[:: -(-len(features) // FEATURES)]
        evidence = Evidence(
            images=images,
            labels=labels,
            judge=self._judge,
            features=features,
            some=some,
            statistics=statistics,
            real=real,
            # Through the tokenizer as generated ones are, so that its blur is on every side.
            tune=self._tune,
            test=self._test,
            tune_names=[self._data.images.ids[row] for row in self.compared],
            reference_name=self._data.reference_name,
            lacks=self._lacks,
        )
        return self._checked(scores.measured(evidence))

    def _checked(self, found: Mapping[str, Measured]) -> Scores:
        """Adds to the warnings what is left out of these."""
        reasons: dict[str, list[str]] = {}
        for key, one in found.items():
            if one.reason:
                reasons.setdefault(one.reason, []).extend(scores.left_out(key))
        warnings = [f"No {_listed(labels)}: {reason}." for reason, labels in reasons.items()]
        biased = found.get("frechet")
        if biased and biased.value is not None and biased.counts["real"] < measures.SMALL:
            warnings.append(
                f"The Fréchet distance is to {biased.counts['real']} {self._data.reference_name}: "
                "compare it only with distances to as many."
            )
        self.warnings += [warning for warning in warnings if warning not in self.warnings]
        return Scores.of(found)


def _listed(words: list[str]) -> str:
    """One, two and three: "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
