"""Orders in which the codes of a picture are unmasked if confidence does not decide.

An order is a permutation of the raster positions 0 .. L-1 (L = height * width). Halton, after
Halton-MaskGIT (arXiv 2503.17076): point i = 1, 2, ... falls in row floor(height * r2(i)) and column
floor(width * r3(i)), where rb(i) mirrors the digits of i in base b behind the point; a cell already
visited is skipped. For 2 rows and 3 columns:

    i        1         2         3         4         5         6
    r2       1/2       1/4       3/4       1/8       5/8       3/8
    r3       1/3       2/3       1/9       4/9       7/9       2/9
    cell     row 1     row 0     row 1     row 0     row 1     row 0
             col 1     col 2     col 0     col 1     col 2     col 0
    order    4         2         3         1         5         0
"""

import jax
import jax.numpy as jnp
import numpy as np

NAMES = ("confidence", "halton", "halton-rolled", "random")


def _mirrored(index: np.ndarray, base: int, cells: int) -> np.ndarray:
    """floor(cells * radical inverse of index), in integers: no rounding at cell borders."""
    numerator, denominator, rest = np.zeros_like(index), 1, index
    while rest.any():
        numerator = numerator * base + rest % base
        denominator, rest = denominator * base, rest // base
    return cells * numerator // denominator


def halton(height: int, width: int) -> np.ndarray:
    """The Halton order of a grid: int32 [L], every raster position once. See the example above."""
    # With 2**a >= 2 * height and 3**b >= 2 * width each cell holds a whole elementary box, and
    # 2**a * 3**b points hit each box once.
    count = 1
    for base, cells in ((2, height), (3, width)):
        side = 1
        while side < 2 * cells:
            side *= base
        count *= side
    index = np.arange(1, count + 1, dtype=np.int64)
    cell = _mirrored(index, 2, height) * width + _mirrored(index, 3, width)
    _, first = np.unique(cell, return_index=True)
    return cell[np.sort(first)].astype(np.int32)


def rolled(key: jax.Array, order: jax.Array | np.ndarray, batch: int) -> jax.Array:
    """The same order for each image, begun at a random place: [L] -> [B, L].

    Order 4 2 3 1 5 0 begun at its third place is 3 1 5 0 4 2, and still evenly spread.
    """
    length = len(order)
    begin = jax.random.randint(key, (batch, 1), 0, length)
    return jnp.asarray(order)[(begin + jnp.arange(length)) % length]  # [B, L]


def random(key: jax.Array, batch: int, length: int) -> jax.Array:
    """A random order for each image: int32 [B, L]."""
    return jnp.argsort(jax.random.uniform(key, (batch, length)), axis=-1)


def places(order: jax.Array | np.ndarray) -> jax.Array:
    """When each position is visited: [..., L] -> [..., L], the inverse permutation.

    Order 4 2 3 1 5 0 visits position 0 as number 5, position 1 as number 3: places 5 3 1 2 0 4.
    """
    return jnp.argsort(jnp.asarray(order), axis=-1)
