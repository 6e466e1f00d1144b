"""Choosing images: a few of each class, or parts of a set in given proportions."""

from collections.abc import Sequence

import numpy as np
from absl import logging

from maskgit_prompt.counts import counted
from maskgit_prompt.data import batches
from maskgit_prompt.errors import UsageError


def _members(labels: np.ndarray, stream: int, seed: int, among: np.ndarray | None = None):
    """Yields (class, its image indices in the order drawn for (seed, class)).

    among: bool [n], the images that are drawn; None: all.
    """
    labels = np.asarray(labels)
    for label in np.unique(labels):
        members = np.flatnonzero((labels == label) & (True if among is None else among))
        drawn = batches.generator(seed, (stream, int(label))).permutation(members)
        yield int(label), drawn


def few_shot(
    labels: np.ndarray, shots: int, seed: int, classes: Sequence[str] | None = None
) -> np.ndarray:
    """Picks `shots` images of each class.

    The choice depends on (seed, class, number of images in the class) only, not on the other
    classes; two shots are among the five shots of the same seed. Labels (0, 0, 0, 1) and 2 shots
    give two of the indices 0, 1, 2, and 3: class 1 has only one image, which is warned of.

    Args:
      labels: [n] ints, 0 or more.
      shots: images per class, at least 1.
      seed: 0 or more.
      classes: names for the warning; numbers when none.

    Returns:
      indices, int64, increasing.

    Raises:
      UsageError: shots below 1.
    """
    if shots < 1:
        raise UsageError(f"shots {shots}: expected at least 1 image per class")
    chosen, short = [], []
    for label, members in _members(labels, batches.STREAM_SHOTS, seed):
        if len(members) < shots:
            short.append(f"{classes[label] if classes else label} ({len(members)})")
        chosen.append(members[:shots])
    if short:
        logging.warning(
            "fewer than %s in %s, all are used: %s%s",
            counted(shots, "image"),
            counted(len(short), "class"),
            ", ".join(short[:10]),
            ", ..." if len(short) > 10 else "",
        )
    return np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, np.int64)


def shares(total: int, fractions: np.ndarray) -> np.ndarray:
    """Shares `total` by fractions that sum to 1: whole numbers, largest remainders rounded up.

    5 by (0.5, 0.25, 0.25): quotas 2.5, 1.25, 1.25 become 3, 1, 1.
    """
    quotas = fractions * total
    counts = np.floor(quotas + 1e-9).astype(np.int64)
    # Stable: of equal remainders the earlier part gains. Rounded, or 0.1 + 0.2 decides ties.
    by_remainder = np.argsort(-np.round(quotas - counts, 9), kind="stable")
    counts[by_remainder[: total - counts.sum()]] += 1
    return counts


def split(
    labels: np.ndarray,
    fractions: dict[str, float],
    seed: int,
    copies: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Cuts a set into disjoint parts, each class in the given proportions.

    Four images of each class and {"pool": 0.5, "judge": 0.25, "test": 0.25} give two, one and
    one image of each class. Fractions that sum to less than 1 leave the rest out.

    Args:
      labels: [n] ints, 0 or more.
      fractions: part name to its share, each above 0, together at most 1.
      seed: 0 or more; the cut of a class depends on (seed, class, its number of images) only.
      copies: [n] ints, equal for images that are copies of each other, in whatever classes: the
        first of them is drawn and the others are put beside it. None: there are none.

    Returns:
      part name to indices, int64, increasing.

    Raises:
      UsageError: no parts, a share not above 0, or shares above 1 together.
    """
    wanted = np.array(list(fractions.values()), np.float64)
    if not len(wanted) or not (wanted > 0).all() or wanted.sum() > 1 + 1e-9:
        raise UsageError(
            f"config.data.fractions = {fractions}, expected shares above 0, together at most 1"
        )
    rest = max(0.0, 1.0 - wanted.sum())
    parts: dict[str, list[np.ndarray]] = {name: [] for name in fractions}
    copies = np.arange(len(labels)) if copies is None else copies
    first = np.zeros(len(labels), bool)
    first[np.unique(copies, return_index=True)[1]] = True
    for _, members in _members(labels, batches.STREAM_SPLIT, seed, first):
        ends = np.cumsum(shares(len(members), np.append(wanted, rest)))
        for name, piece in zip(fractions, np.split(members, ends), strict=False):
            parts[name].append(piece)
    drawn = {name: np.concatenate([np.zeros(0, np.int64), *p]) for name, p in parts.items()}
    return {name: np.flatnonzero(np.isin(copies, copies[rows])) for name, rows in drawn.items()}


def thin(labels: np.ndarray, most: int, seed: int, least: int = 3) -> np.ndarray:
    """At most about this many of a set, each class in proportion: indices, int64, increasing.

    A class keeps `least` images where it has them, even if that makes more in all.

    8 images of class 0 and 4 of class 1, most 6, least 1: four of class 0 and two of class 1. Where
    no more are there than that, or most is 0, all of them.
    """
    if not most or len(labels) <= most:
        return np.arange(len(labels))
    share = most / len(labels)
    kept = [
        members[: max(least, round(share * len(members)))]
        for _, members in _members(labels, batches.STREAM_SPLIT, seed)
    ]
    return np.sort(np.concatenate(kept))
