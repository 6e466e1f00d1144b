"""Positions of an encoder-decoder of text and images, all of them as biases of its attention.

OFA (arXiv 2202.03052) adds no position to an embedding. A logit gets two biases instead:

  q(p_t) · k(p_s) / √(2 H)   of the tokens' position vectors p, the same in all layers of a stack
  table[bucket(t, s)]        of their distance, with a table in every layer: for text along a line,
                             for images on a square of `side` x `side` cells, none between the two

Cell (y, x) of an image has number y · side + x + 1, whatever the image's own size, and number 0 is
what stands in front of an image's codes.

Shapes: B batch, T queries, S keys, D width, N heads, H width of a head.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from maskgit_prompt.models.layers import kernel_init

Array = jax.Array

EPSILON = 1e-5
FARTHEST = 1024  # distances from here on share the last bucket
UNUSED = 2  # rows of a table of text positions that no text reaches


@functools.cache
def text_buckets(length: int, buckets: int) -> np.ndarray:
    """The row of the table for query t (row) and key s (column), int [length, length].

    Up to buckets / 2 each distance has a bucket of its own; farther ones share, by logarithm. With
    16 buckets, from key 0 on, query 0 reads rows 15 14 13 … and query 20 row 15 + 10. Rows above 15
    are of keys before the query.

    Raises:
      ValueError: longer texts than there are distances.
    """
    if length > FARTHEST:
        raise ValueError(f"a text of {length} tokens, expected at most {FARTHEST}")
    middle = buckets // 2
    distance = np.arange(length)[:, None] - np.arange(length)[None]  # [T, S]
    far = np.maximum(np.abs(distance), middle).astype(np.float32)
    # In float32, as published tables are: float64 has another bucket at distance 1023.
    share = np.log(far / np.float32(middle)) / np.log(np.float32((FARTHEST - 1) / middle))
    shared = np.ceil(share * np.float32(middle - 1)).astype(int) + middle
    near = np.abs(distance) <= middle
    return np.where(near, distance, np.sign(distance) * shared) + buckets - 1


@functools.cache
def _image_rows(side: int) -> np.ndarray:
    """`image_buckets` of all cell numbers 0 to side², [side² + 1, side² + 1]."""
    y, x = (axis.ravel() for axis in np.mgrid[:side, :side])
    span = 2 * side - 1
    steps = lambda axis: axis[:, None] - axis[None] + side - 1
    rows = np.empty((side**2 + 1, side**2 + 1), np.int32)
    rows[1:, 1:] = steps(y) * span + steps(x)
    rows[0], rows[:, 0], rows[0, 0] = span**2, span**2 + 1, span**2 + 2
    return rows


def image_buckets(cells: np.ndarray, side: int) -> np.ndarray:
    """The row of the table for cells [S] as queries (rows) and keys (columns), int [S, S].

    With dy and dx the steps from the key to the query it is (dy + side - 1) · (2 side - 1) + dx +
    side - 1; the last three rows are number 0 as the query, as the key, and both. On a side of 2
    cell 1 reads row 4 of itself and row 3 of cell 2, its neighbour to the right.
    """
    return _image_rows(side)[np.ix_(cells, cells)]


def grid_cells(height: int, width: int, side: int) -> np.ndarray:
    """Numbers of an image's cells, row by row, int [height · width]; 1 x 2: 1 2.

    Raises:
      ValueError: a larger image than the square.
    """
    if max(height, width) > side:
        raise ValueError(
            f"an image of {height} x {width} cells, expected at most {side} a side; use smaller "
            "images"
        )
    return (np.arange(height)[:, None] * side + np.arange(width) + 1).ravel()


def code_cells(length: int, window: int, side: int) -> np.ndarray:
    """Numbers for a sequence of image codes on a square window, what stands in front first.

    For 4 tokens, a window of 2 and a side of 7: 0 1 2 8.

    Raises:
      ValueError: more codes than the window has.
    """
    if length > window**2 + 1:
        raise ValueError(
            f"{length - 1} image codes, expected at most {window**2}, a window of {window}"
        )
    return np.concatenate([[0], grid_cells(window, window, side)])[:length]


class Positions(nnx.Module):
    """Position vectors of a stack, normalized: of texts and of cells."""

    def __init__(self, cfg, dtype: jnp.dtype, *, rngs: nnx.Rngs):
        norm = lambda: nnx.LayerNorm(cfg.width, epsilon=EPSILON, dtype=dtype, rngs=rngs)
        table = lambda rows: nnx.Param(kernel_init(rngs.params(), (rows, cfg.width)))
        self.text = table(cfg.positions + UNUSED)
        self.image = table(cfg.side**2 + 1)
        self.text_norm = norm()
        self.image_norm = norm()

    def of_text(self, length: int) -> Array:
        """[length, D].

        Raises:
          ValueError: more tokens than positions.
        """
        most = self.text.shape[0] - UNUSED
        if length > most:
            raise ValueError(f"a text of {length} tokens, expected at most {most}; shorten it")
        return self.text_norm(self.text[:length])

    def of_cells(self, cells: np.ndarray) -> Array:  # [S] -> [S, D]
        return self.image_norm(self.image[...][cells])


class PositionBias(nnx.Module):
    """q(p) · k(p) of position vectors."""

    def __init__(self, width: int, heads: int, dtype: jnp.dtype, *, rngs: nnx.Rngs):
        def project():
            return nnx.LinearGeneral(
                width, (heads, width // heads), dtype=dtype, kernel_init=kernel_init, rngs=rngs
            )

        self.query = project()
        self.key = project()

    def __call__(self, queries: Array, keys: Array) -> Array:
        """Position vectors [..., T, D] and [..., S, D] -> [..., N, T, S] float32."""
        return self.between(queries, self.key(keys))

    def between(self, queries: Array, keys: Array) -> Array:
        """The same of keys [..., S, N, H] that are projected already."""
        q = self.query(queries)
        scale = (2 * q.shape[-1]) ** -0.5
        return jnp.einsum(
            "...tnh,...snh->...nts", q * scale, keys, preferred_element_type=jnp.float32
        )


def looked_up(table: Array, buckets: Array | np.ndarray) -> Array:
    """Biases of a layer's table [rows, N] by bucket [T, S] -> [N, T, S]."""
    return jnp.moveaxis(table[buckets], -1, 0)
