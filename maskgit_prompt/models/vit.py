"""The vision transformer (arXiv 2010.11929) as a frozen encoder, with prompts (arXiv 2203.12119).

Shapes: B batch, S image size, L patches, P prompt tokens, D width, K layers with fresh prompts.
The sequence is the class token, then the prompt tokens, then the patches, row by row. Positions are
added before prompts come in; prompt tokens have none.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from maskgit_prompt.models.attention import check_heads
from maskgit_prompt.models.blocks import PreNorm
from maskgit_prompt.models.kind import Axes, Kind
from maskgit_prompt.models.layers import (
    BLOCK_AXES,
    Pin,
    as_it_is,
    kernel_init,
    patch_embedding,
    run_blocks,
)
from maskgit_prompt.models.pixel_prompt import framed
from maskgit_prompt.models.prompts import Prompt

Array = jax.Array

EPSILON = 1e-6
POOLS = ("class", "patches", "prompt", "all")
NORMS = ("before", "after")


@dataclasses.dataclass(frozen=True)
class ViTConfig:
    """Sizes of a vision transformer.

    Attributes:
      image_size, patch: S and the side of a patch, which divides it.
      width, layers, heads, mlp: D, depth, attention heads, hidden width of the MLPs.
      pool: which tokens the features are the mean of: the class token alone, the patches, the
        prompt tokens, or all but the class token.
      norm: whether the last norm stands before the pooling, as in supervised ViT and MoCo v3, or
        after it, as in MAE.
      mean, std: of the pixels that the weights were trained on, by channel, in 0 to 1: the network
        takes (pixels / 255 - mean) / std.
      dtype: of activations; parameters and softmax stay float32.
      attention_implementation: as in `attention.attention`.
      remat: recompute in the backward pass what is cheap.
    """

    image_size: int = 224
    patch: int = 16
    width: int = 768
    layers: int = 12
    heads: int = 12
    mlp: int = 3072
    pool: str = "class"
    norm: str = "before"
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    dtype: str = "float32"
    attention_implementation: str = "auto"
    remat: bool = False

    def __post_init__(self):
        for name in ("mean", "std"):  # in a file they are lists
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check_heads(self.width, self.heads)
        if self.image_size % self.patch:
            raise ValueError(
                f"images of {self.image_size} do not divide into patches of {self.patch}"
            )
        for name, values in (("pool", POOLS), ("norm", NORMS)):
            if getattr(self, name) not in values:
                raise ValueError(
                    f"{name} = {getattr(self, name)!r}, expected one of {', '.join(values)}"
                )

    @property
    def grid(self) -> int:
        """Patches a side."""
        return self.image_size // self.patch

    @property
    def length(self) -> int:
        """L."""
        return self.grid**2

    @property
    def features(self) -> int:
        """D of the features."""
        return self.width


def _size(width: int, layers: int, heads: int, patch: int) -> ViTConfig:
    return ViTConfig(patch=patch, width=width, layers=layers, heads=heads, mlp=4 * width)


# arXiv 2010.11929, table 1; Ti and S are those of arXiv 2012.12877, table 1.
CONFIGS = {
    "Ti/16": _size(192, 12, 3, 16),
    "S/16": _size(384, 12, 6, 16),
    "B/16": _size(768, 12, 12, 16),
    "B/32": _size(768, 12, 12, 32),
    "L/16": _size(1024, 24, 16, 16),
    "H/14": _size(1280, 32, 16, 14),
}


class Block(PreNorm):
    """Pre-norm block: x += attention(LN(x)); x += mlp(LN(x))."""

    def __init__(self, cfg: ViTConfig, *, rngs: nnx.Rngs):
        super().__init__(cfg, EPSILON, rngs=rngs)

    def __call__(self, x: Array, prefix: Array | None = None, adapter: Any = None) -> Array:
        """[B, 1 + P + L, D] -> the same.

        Args:
          prefix: [B, 2, P, D], keys and values.
          adapter: maps the MLP's output [B, S, D] inside the residual (arXiv 2007.07779).
        """
        x = x + self.attention(self.attention_norm(x), prefix=prefix)
        y = self.mlp(self.mlp_norm(x))
        return x + (y if adapter is None else adapter(y))


class ViT(nnx.Module):
    """Images [B, S, S, 3], normalized as the backbone's were, -> features [B, D]."""

    def __init__(self, cfg: ViTConfig, *, rngs: nnx.Rngs):
        self.cfg = cfg
        dtype = jnp.dtype(cfg.dtype)
        self.patches = patch_embedding(cfg.width, cfg.patch, dtype, rngs)
        self.class_token = nnx.Param(kernel_init(rngs.params(), (cfg.width,)))
        self.positions = nnx.Param(kernel_init(rngs.params(), (1 + cfg.length, cfg.width)))
        # One Block whose every parameter has a leading dimension of layers.
        self.blocks = jax.vmap(lambda rngs: Block(cfg, rngs=rngs))(rngs.split(cfg.layers))
        self.norm = nnx.LayerNorm(cfg.width, epsilon=EPSILON, dtype=dtype, rngs=rngs)

    def embed(self, images: Array, frame: Array | None = None) -> Array:
        """[B, S, S, 3] -> [B, 1 + L, D], positions added, no prompt tokens.

        frame: [B, F, F, 3], pixels around the images. F makes L larger, and the position table is
        resized to it.
        """
        positions = self.positions[...]
        if frame is not None:
            grid, images = self._grid_of(frame), framed(images, frame)
            with jax.default_matmul_precision("highest"):  # positions are not activations
                positions = resize_positions(positions, grid)
        x = self.patches(images)
        x = x.reshape(len(x), -1, self.cfg.width)  # [B, L, D]
        first = jnp.broadcast_to(self.class_token[...], (len(x), 1, self.cfg.width))
        x = jnp.concatenate([first.astype(x.dtype), x], axis=1)
        return x + positions.astype(x.dtype)

    def hidden(
        self,
        images: Array,
        prompt: Prompt | None = None,
        *,
        first: int = 0,
        stay: bool = True,
        adapters: Any = None,
        keep_layers: bool = False,
        pin: Pin = as_it_is,
    ) -> tuple[Array, list[Array]]:
        """All tokens after the last block, before the last norm.

        Args:
          prompt: tokens come in once, before block `first` (VPT-shallow: 0). Layers come in at
            blocks first to first + K - 1, where they replace what the block before made of them
            (VPT-deep: 0, with K layers in all). A prefix stands beside every block. Patches come
            in once, as tokens. What is added is added before the first blocks. A frame stands
            around the images.
          stay: whether prompt tokens go on through the blocks that have no fresh ones; otherwise
            they are taken out.
          adapters: one of models/adapter.py with a leading dimension of layers, or None.
          keep_layers, pin: as in `run_blocks`.

        Returns:
          ([B, 1 + P + L, D], or [B, 1 + L, D] without prompt tokens, L growing with a frame; every
          block's output, or nothing without keep_layers).

        Raises:
          ValueError: prompts for blocks that there are not.
        """
        frame = None if prompt is None else prompt.frame
        x, outputs = self.embed(images, frame), []

        def run(
            x: Array, start: int, stop: int, prompt: Prompt | None, added: Array | None = None
        ) -> Array:
            if start == stop:
                return x
            blocks = (self.blocks, adapters, added)
            if (start, stop) != (0, self.cfg.layers):
                blocks = jax.tree.map(lambda leaf: leaf[start:stop], blocks)
            x, kept = run_blocks(
                dataclasses.replace(self.cfg, layers=stop - start),
                blocks,
                x,
                prompt,
                lambda one, x, prefix, key: one[0](
                    x if one[2] is None else x + one[2], prefix, one[1]
                ),
                front=1,
                keep_layers=keep_layers,
                pin=pin,
            )
            outputs.extend(() if kept is None else kept)
            return x

        layers = self.cfg.layers
        if frame is not None:
            return run(x, 0, layers, None), outputs
        if prompt is not None and prompt.added is not None:
            return run(x, 0, layers, None, self._added(prompt.added, x)), outputs
        if prompt is not None and prompt.patches is not None:
            shape = prompt.patches.shape
            tokens = self.patches(prompt.patches.reshape(-1, *shape[2:]))
            prompt = Prompt(tokens=tokens.reshape(*shape[:2], self.cfg.width))
        if prompt is None or (prompt.tokens is None and prompt.layers is None):
            return run(x, 0, layers, prompt), outputs
        last = first + (1 if prompt.tokens is not None else prompt.layers.shape[1])
        if not 0 <= first < last <= layers:
            raise ValueError(
                f"prompt of {prompt.place} {prompt.array.shape} for blocks {first} to {last - 1}, "
                f"expected some of blocks 0 to {layers - 1}"
            )
        x = run(x, 0, first, None)
        tokens = prompt.tokens if prompt.tokens is not None else prompt.layers[:, 0]
        x = jnp.concatenate([x[:, :1], tokens.astype(x.dtype), x[:, 1:]], axis=1)
        x = run(x, first, last, None if prompt.layers is None else prompt)
        if not stay and last < layers:
            x = jnp.concatenate([x[:, :1], x[:, 1 + tokens.shape[1] :]], axis=1)
        return run(x, last, layers, None), outputs

    def _added(self, added: Array, x: Array) -> Array:
        """What every block's input gets, [layers, B, S or 1, D]; zeros behind the first blocks.

        Raises:
          ValueError: more layers than there are blocks, or another number of tokens.
        """
        _, count, tokens, _ = added.shape
        if count > self.cfg.layers or tokens not in (1, x.shape[1]):
            raise ValueError(
                f"prompt of added {added.shape}, expected at most {self.cfg.layers} layers, of 1 "
                f"or {x.shape[1]} tokens"
            )
        behind = [(0, self.cfg.layers - count), (0, 0), (0, 0), (0, 0)]
        return jnp.pad(jnp.swapaxes(added, 0, 1).astype(x.dtype), behind)

    def _grid_of(self, frame: Array) -> int:
        """Patches a side with a frame.

        Raises:
          ValueError: a frame that is not around the images, or that the patch does not divide.
        """
        side, cfg = frame.shape[1], self.cfg
        if side < cfg.image_size or (side - cfg.image_size) % 2 or side % cfg.patch:
            raise ValueError(
                f"prompt of frame {frame.shape}, expected a multiple of the patch {cfg.patch} that "
                f"is larger than images of {cfg.image_size} by the same on both sides"
            )
        return side // cfg.patch

    def pooled(self, x: Array, prompt: Prompt | None = None) -> Array:
        """Tokens after the last block [B, 1 + P + L, D] -> features [B, D] float32.

        prompt: as `hidden` got it; only a frame changes L.
        """
        cfg = self.cfg
        if cfg.norm == "before":
            x = self.norm(x)
        larger = prompt is not None and prompt.frame is not None
        patches = x.shape[1] - (self._grid_of(prompt.frame) ** 2 if larger else cfg.length)
        rows = {
            "class": (0, 1),
            "prompt": (1, patches),
            "patches": (patches, None),
            "all": (1, None),
        }
        x = jnp.mean(x[:, slice(*rows[cfg.pool])], axis=1)
        if cfg.norm == "after":
            x = self.norm(x)
        return x.astype(jnp.float32)

    def patch_grid(self, x: Array) -> Array:
        """Tokens after the last block [B, 1 + P + L, D] -> the patches', normed, [B, g, g, D]."""
        grid = self.cfg.grid
        return self.norm(x[:, -self.cfg.length :]).reshape(len(x), grid, grid, self.cfg.width)

    def __call__(self, images: Array, prompt: Prompt | None = None, **kwargs) -> Array:
        """[B, S, S, 3] -> features [B, D] float32; arguments as in `hidden`."""
        return self.pooled(self.hidden(images, prompt, **kwargs)[0], prompt)


def side_of(rows: int) -> int:
    """Patches a side of a position table: 197 rows, with one of a class token, and 196 are 14.

    Raises:
      ValueError: neither a square nor one more.
    """
    for patches in (rows - 1, rows):
        if patches > 0 and round(patches**0.5) ** 2 == patches:
            return round(patches**0.5)
    raise ValueError(f"a position table of {rows} rows, expected a square, or one more")


def resize_positions(table: np.ndarray | Array, grid: int) -> np.ndarray | Array:
    """A position table [1 + l², D] for another grid, [1 + grid², D].

    The class token's row stays; a table [l², D] that has none gets one of zeros. The others are
    interpolated linearly, corner on corner: sample i of n reads position i · (l - 1) / (n - 1).
    """
    rows = len(table)
    side = side_of(rows)
    first = rows == side**2  # whether the row of the class token is missing
    if side == grid and not first:
        return table
    where = np.linspace(0, side - 1, grid)
    weights = np.maximum(1 - np.abs(where[:, None] - np.arange(side)), 0)  # [grid, l]
    matrix = np.zeros((1 + grid**2, rows))
    matrix[0, 0] = not first
    matrix[1:, rows - side**2 :] = np.kron(weights, weights)
    return (matrix @ table).astype(table.dtype)


def fixed_positions(grid: int, width: int) -> np.ndarray:
    """The position table that MoCo v3 never trains (arXiv 2104.02057), [1 + grid², D] float32.

    Zeros for the class token; then sine and cosine of the coordinate that varies slowest, sine and
    cosine of the other, a quarter of the width each.
    """
    rates = 10_000.0 ** -(np.arange(width // 4) / (width // 4))
    slow, fast = (axis.ravel() for axis in np.mgrid[:grid, :grid])
    waves = [wave(axis[:, None] * rates) for axis in (slow, fast) for wave in (np.sin, np.cos)]
    rows = np.concatenate(waves, axis=1)
    return np.concatenate([np.zeros((1, width)), rows]).astype(np.float32)


AXES: Axes = (*BLOCK_AXES, (r".*", None))
KIND = Kind("encoder", "vit", ViTConfig, ViT, AXES)
