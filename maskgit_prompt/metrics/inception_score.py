"""The Inception Score (arXiv 1606.03498) of logits: how sure and how various the classes are.

The network is meant to be FID's, its logits without the bias, and its classes those of ImageNet:
of images of anything else the score says little.

Shapes: n images, C classes.
"""

import numpy as np

from maskgit_prompt.counts import counted
from maskgit_prompt.errors import UsageError, UserError
from maskgit_prompt.metrics.pairwise import check_features


def inception_score(
    logits: np.ndarray, splits: int = 10, seed: int | None = 2020
) -> tuple[float, float]:
    """Mean and population deviation of the scores of `splits` parts of logits [n, C].

    Part i begins at row i n // splits. As torch-fidelity, which shuffles the rows first by
    RandomState(seed).permutation; seed None: in their order.

    Raises:
      UserError: fewer images than parts, or values that are not finite. UsageError: no parts.
    """
    logits = check_features("logits as", logits)
    if splits < 1:
        raise UsageError(f"{splits} parts to score, expected 1 or more")
    if len(logits) < splits:
        raise UserError(
            f"{counted(len(logits), 'image')} for an Inception Score of {splits} parts: at least "
            f"{splits} are needed; give more images"
        )
    if seed is not None:
        logits = logits[np.random.RandomState(seed).permutation(len(logits))]
    borders = np.arange(1, splits) * len(logits) // splits
    scores = [of_all(part) for part in np.split(logits, borders)]
    return float(np.mean(scores)), float(np.std(scores))


def in_chunks(logits: np.ndarray, size: int = 5000) -> float:
    """The mean score of consecutive `size` rows of logits [n, C], of which the last may be fewer.

    As guided-diffusion's evaluator, which gives no deviation.

    Raises:
      UserError: no images, or values that are not finite. UsageError: empty chunks.
    """
    if size < 1:
        raise UsageError(f"chunks of {size} images to score, expected 1 or more")
    logits = check_features("logits as", logits, at_least=1)
    return float(np.mean([of_all(logits[i : i + size]) for i in range(0, len(logits), size)]))


def of_all(logits: np.ndarray) -> float:
    """exp of the mean KL divergence of each row's classes from the mean row's, logits [n, C].

    Two images that are each surely of another class: 2. Two of one class, or that say nothing: 1.
    """
    logits = np.asarray(logits, np.float64)
    logits = logits - logits.max(axis=1, keepdims=True)
    log = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))  # [n, C]
    shares = np.exp(log)
    # A class that no image has adds nothing.
    mean = np.log(np.maximum(shares.mean(axis=0), np.finfo(np.float64).tiny))  # [C]
    return float(np.exp(np.mean(np.sum(shares * (log - mean), axis=1))))
