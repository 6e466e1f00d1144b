"""Images with texts: what is asked of each and what is right."""

import dataclasses
import hashlib
from collections.abc import Callable

import numpy as np

BETWEEN, WEIGHTED = "&&", "|!+"


@dataclasses.dataclass(frozen=True)
class Examples:
    """n images of size S x S, each with its texts and the answers that are right.

    Attributes:
      name: for messages and reports.
      texts: [n] tuples of what comes with an image, such as a question; one for each text column.
      targets: [n] tuples of at least one right answer.
      weights: [n] tuples of how much each of them is worth, 1.0 where nothing else is told.
      rows: [n] where each stands, for messages: "train.csv, line 3".
      sizes: int [n, 2], width and height of the upright images in their files.
      fingerprint: hex digest of images, texts, targets, weights and preprocessing.
      read: indices [k] -> uint8 pixels [k, S, S, C]. A pure function of the indices.
    """

    name: str
    texts: tuple[tuple[str, ...], ...]
    targets: tuple[tuple[str, ...], ...]
    weights: tuple[tuple[float, ...], ...]
    rows: tuple[str, ...]
    sizes: np.ndarray
    fingerprint: str
    read: Callable[[np.ndarray], np.ndarray]

    def __len__(self) -> int:
        return len(self.rows)

    def subset(self, indices: np.ndarray) -> "Examples":
        """The examples with these numbers [k], in this order."""
        chosen = np.asarray(indices)
        pick = lambda values: tuple(values[i] for i in chosen)
        text = f"{self.fingerprint}|{chosen.tolist()}"
        return dataclasses.replace(
            self,
            texts=pick(self.texts),
            targets=pick(self.targets),
            weights=pick(self.weights),
            rows=pick(self.rows),
            sizes=self.sizes[chosen],
            fingerprint=hashlib.sha256(text.encode()).hexdigest(),
            read=lambda rows: self.read(chosen[rows]),
        )


@dataclasses.dataclass(frozen=True)
class Columns:
    """The columns of a table that are read, by heading, or by number from 0 if it has none.

    Attributes:
      image: file names, or base64 of the files themselves.
      texts: none, one or several.
      target: right answers; see `split_targets`.
    """

    image: str | int = "image"
    texts: tuple[str | int, ...] = ("text",)
    target: str | int = "target"

    @property
    def all(self) -> tuple[str | int, ...]:
        return self.image, *self.texts, self.target


def split_targets(cell: str) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """(targets, weights) of a cell, written as the reference's files have them.

    "yes" is ("yes",) and (1.0,); "a dog&&one dog" two targets of weight 1;
    "0.6|!+yes&&1|!+no" is ("yes", "no") and (0.6, 1.0). Empty ones are left out.

    Raises:
      ValueError: a weight that is not a number above 0.
    """
    targets, weights = [], []
    for part in cell.split(BETWEEN):
        weight, bar, target = part.rpartition(WEIGHTED)
        if not target.strip():
            continue
        value = float(weight) if bar else 1.0
        if not 0 < value < float("inf"):
            raise ValueError(f"weight {weight}")
        targets.append(target.strip())
        weights.append(value)
    return tuple(targets), tuple(weights)
