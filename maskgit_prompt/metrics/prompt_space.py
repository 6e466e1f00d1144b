"""How tuned prompts lie to each other. Shapes: n prompts, N numbers in each."""

import numpy as np

from maskgit_prompt.metrics.pairwise import squared_distances


def distances(prompts: np.ndarray) -> np.ndarray:
    """Root of the mean squared difference of two prompts' numbers, [n, n] float64; 0 to itself.

    Prompts (0, 0) and (1, 1) are 1 apart.

    Args:
      prompts: [n, N].
    """
    prompts = np.asarray(prompts, np.float64)
    found = np.sqrt(squared_distances(prompts, prompts) / prompts.shape[1])
    np.fill_diagonal(found, 0.0)
    return found


def nearest(apart: np.ndarray) -> np.ndarray:
    """The nearest other one of each, [n] int; of equally near ones the first.

    Args:
      apart: [n, n], n > 1.
    """
    return np.argmin(apart + np.diag(np.full(len(apart), np.inf)), axis=1)


def neighbours_of_class(apart: np.ndarray, classes: np.ndarray) -> tuple[float, float] | None:
    """(share of prompts whose nearest other one is of their class, the share that chance gives).

    Classes 0, 0, 1, 1 have a chance of 1/3: of three others one is of the class. None where no
    class has two, or there is only one class.

    Args:
      apart: [n, n]. classes: [n].
    """
    counts = np.bincount(classes)
    if counts.max() < 2 or (counts > 0).sum() < 2:
        return None
    chance = (counts * (counts - 1)).sum() / (len(classes) * (len(classes) - 1))
    return float(np.mean(classes[nearest(apart)] == classes)), float(chance)
