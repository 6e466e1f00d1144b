"""Points of many dimensions on a plane, to look at."""

import numpy as np

LEAST = 10  # points; fewer are not worth a t-SNE


def principal(points: np.ndarray) -> np.ndarray:
    """Points [n, D] on their two principal axes, [n, 2] float64.

    An axis points to where the dimension that it follows most grows.
    """
    centred = np.asarray(points, np.float64) - np.mean(points, 0, dtype=np.float64)
    # n points spread along n axes at most, however many dimensions there are.
    sizes, places = np.linalg.eigh(centred @ centred.T)
    found = (places * np.sqrt(np.maximum(sizes, 0)))[:, :-3:-1]
    axes = found.T @ centred  # each as long as its points are spread
    largest = axes[np.arange(len(axes)), np.abs(axes).argmax(1)]
    found = found * np.where(largest < 0, -1, 1)
    return np.pad(found, [(0, 0), (0, 2 - found.shape[1])])


def neighbour_embedding(points: np.ndarray, seed: int) -> np.ndarray | None:
    """Points [n, D] where their nearest neighbours stay near: t-SNE (van der Maaten and Hinton,
    JMLR 2008) as scikit-learn has it, started from the principal axes, [n, 2].

    None for fewer than LEAST points. Distances between groups mean nothing there.
    """
    if len(points) < LEAST:
        return None
    from sklearn.manifold import TSNE

    # A perplexity is about how many neighbours count; scikit-learn wants less than there are.
    perplexity = min(30.0, (len(points) - 1) / 3)
    start = principal(points)
    start *= 1e-4 / max(start.std(0).max(), 1e-30)
    return TSNE(perplexity=perplexity, init=start, random_state=seed).fit_transform(points)
