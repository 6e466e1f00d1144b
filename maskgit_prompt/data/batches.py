"""Which images make the batch of a step: pure functions of (seed, step), no iterator state."""

import functools
from collections.abc import Sequence

import numpy as np

from maskgit_prompt.errors import UsageError

# First words of the random streams drawn from one seed, so that no two uses share numbers.
(
    STREAM_EPOCH,
    STREAM_VIEW,
    STREAM_AUGMENT,
    STREAM_SHOTS,
    STREAM_SPLIT,
    STREAM_MAKE_VIEW,
    STREAM_MIXTURE,
) = range(7)


def generator(seed: int, stream: Sequence[int]) -> np.random.Generator:
    """The random generator of one use of a seed: the same words, the same numbers.

    Args:
      stream: its words: one of STREAM_…, then what the numbers belong to, such as the epoch.

    Raises:
      UsageError: the seed is negative.
    """
    if seed < 0:
        raise UsageError(f"seed {seed} is negative: expected 0 or more")
    return np.random.default_rng([seed, *stream])


def _check(step: int, batch_size: int) -> None:
    if step < 0:
        raise UsageError(f"step {step} is negative: expected 0 or more")
    if batch_size < 1:
        raise UsageError(f"batch_size {batch_size}: expected at least 1")


# A permutation of a million images takes 20 ms; consecutive steps ask for the same one.
@functools.lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, walk: int, n: int) -> np.ndarray:
    # numpy takes a last word of 0 as none, so walk 0 is that of before there were several.
    order = generator(seed, (STREAM_EPOCH, epoch, walk)).permutation(n)
    order.setflags(write=False)
    return order


def batch_indices(seed: int, step: int, n: int, batch_size: int) -> np.ndarray:
    """Image indices of the (global) batch of a step.

    Every epoch visits each of the n images once, in its own order; a batch may hold the end of
    one epoch and the start of the next. With n = 3 and batches of 2, orders 2 0 1 and 0 2 1
    give the batches (2, 0), (1, 0), (2, 1).

    Returns:
      [batch_size] int64. Equal arguments give equal indices, on any host.

    Raises:
      UsageError: no images, a batch of none, or a negative step.
    """
    _check(step, batch_size)
    return visits(seed, step * batch_size, n, batch_size)


def visits(seed: int, start: int, n: int, count: int, walk: int = 0) -> np.ndarray:
    """Images start to start + count of an endless walk that visits each of n once an epoch.

    walk: which of the seed's walks.

    Returns:
      [count] int64.

    Raises:
      UsageError: no images.
    """
    if n < 1:
        raise UsageError(f"batches from {n} images: expected at least one image")
    parts = [np.zeros(0, np.int64)]
    position, end = start, start + count
    while position < end:
        epoch, offset = divmod(position, n)
        part = _permutation(seed, epoch, walk, n)[offset : offset + end - position]
        parts.append(part)
        position += len(part)
    return np.concatenate(parts).astype(np.int64)


def views(seed: int, step: int, batch_size: int, num_views: int) -> np.ndarray:
    """Which stored view of its image each example of a step uses: [batch_size] int64 in
    0..num_views-1, drawn evenly.

    Raises:
      UsageError: no views, a batch of none, or a negative step.
    """
    _check(step, batch_size)
    if num_views < 1:
        raise UsageError(f"num_views {num_views}: expected at least 1")
    return generator(seed, (STREAM_VIEW, step)).integers(num_views, size=batch_size)
