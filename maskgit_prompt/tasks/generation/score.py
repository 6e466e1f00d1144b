"""Scores of generated images beside real and reconstructed ones, without any download."""

from collections.abc import Callable

import numpy as np

from maskgit_prompt.backbones.compiled import make_features
from maskgit_prompt.data import splits
from maskgit_prompt.data.codes_writer import load_ahead
from maskgit_prompt.metrics import frechet, scores
from maskgit_prompt.metrics.accuracy import Judge
from maskgit_prompt.metrics.scores import Scores
from maskgit_prompt.progress import progress
from maskgit_prompt.tasks.generation.encoding import Encoded
from maskgit_prompt.tasks.generation.plan import Plan

SMALL = 2048  # fewer images than this make distances noisy and biased
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
    """

    def __init__(self, plan: Plan, encoded: Encoded, decode: Callable):
        data, backbone, mesh = plan.data, plan.backbone, plan.mesh
        self._data, self._encoded, self._decode = data, encoded, decode
        self.warnings: list[str] = []
        self._judge = self._train_judge()
        self._features, self._reference = None, None
        self._test = data.images.read(data.test) if len(data.test) else None
        if "features" not in backbone.parts:
            self.warnings.append(
                f"No distances: backbone {backbone.name!r} has no network to measure them with."
            )
        elif len(data.reference) < 2:
            self.warnings.append(
                f"No distances: {len(data.reference)} {data.reference_name}, at least 2 are needed."
            )
        else:
            self._features = make_features(backbone.part("features"), mesh)
            self._reference = self._reference_features()
            if len(data.reference) < SMALL:
                self.warnings.append(
                    f"Distances are to {len(data.reference)} {data.reference_name}: compare them "
                    "only with distances made from as many."
                )
        if self._test is None:
            self.warnings.append(
                "No held-out loss and no count of near-copies: no images are held out."
            )
        classes = len(data.images.classes)
        if missing := classes - len(np.unique(data.labels(data.tune))):
            self.warnings.append(
                f"{missing} of {classes} classes have no image to tune on: none of theirs are "
                "generated."
            )
        most, seed = plan.config.score.most, plan.config.data.seed
        few = splits.thin(data.labels(data.tune), most, seed)
        self._tune_reconstructed = self.reconstruct(data.tune[few])
        self._test_reconstructed = self.reconstruct(data.test) if len(data.test) else None

    def _reference_features(self) -> tuple[np.ndarray, frechet.Statistics]:
        """Features [n, F] of at most FEATURES images, and the statistics of all."""
        rows, images = self._data.reference, self._data.images
        kept = rows[splits.thin(images.labels[rows], FEATURES, 0)]
        few, whole, place = [], frechet.Statistics(), 0
        with progress(len(rows), "reference", "image", delay=5.0) as bar:
            for pixels in load_ahead(images, rows, BLOCK):
                features = self._features(pixels)
                whole.add(features)
                few.append(features[np.isin(rows[place : place + len(pixels)], kept)])
                place += len(pixels)
                bar.update(len(pixels))
        return np.concatenate(few), whole

    def _train_judge(self) -> Judge | None:
        """The classifier, or a warning that says why there is none."""
        data, labels = self._data, self._data.labels(self._data.judge)
        missing = np.setdiff1d(np.arange(len(data.images.classes)), labels)
        if len(missing):
            # Nothing could ever be read as a class that the judge has not seen.
            judge, reason = (
                None,
                (
                    f"no images of class {data.images.classes[missing[0]]!r} are left to train a "
                    "classifier on"
                ),
            )
        else:
            judge, reason = Judge.fit_or_reason(
                data.images.read(data.judge), labels, names=data.images.classes
            )
        if judge is None:
            self.warnings.append(f"No accuracy: {reason}.")
        return judge

    def reconstruct(self, rows: np.ndarray) -> np.ndarray:
        """Images of the set through the tokenizer and back."""
        return self._decode(self._encoded.plain(rows))

    def accuracy(self, images: np.ndarray, labels: np.ndarray) -> float | None:
        return None if self._judge is None else self._judge.accuracy(images, labels)

    def of_real(self) -> dict[str, float | None]:
        """Accuracy on held-out real images and on their reconstructions."""
        if self._test is None:
            return {"real": None, "reconstructed": None}
        labels = self._data.labels(self._data.test)
        return {
            "real": self.accuracy(self._test, labels),
            "reconstructed": self.accuracy(self._test_reconstructed, labels),
        }

    def __call__(self, images: np.ndarray, labels: np.ndarray) -> Scores:
        """Scores of generated images, uint8 [n, S, S, 3], meant to show classes labels [n]."""
        features = some = real = statistics = None
        if self._reference is not None and len(images) >= 2:
            real, statistics = self._reference
            features = self._features(images)
            some = features[:: -(-len(features) // FEATURES)]
        evidence = scores.Evidence(
            images=images,
            labels=labels,
            judge=self._judge,
            features=features,
            some=some,
            statistics=statistics,
            real=real,
            # Through the tokenizer as generated ones are, so that its blur is on every side.
            tune=self._tune_reconstructed,
            test=self._test_reconstructed,
        )
        return scores.measure(evidence)
