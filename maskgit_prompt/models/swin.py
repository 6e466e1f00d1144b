"""The Swin transformer (arXiv 2103.14030) as a frozen encoder, with prompts (arXiv 2203.12119).

Shapes: B batch, S image size, R tokens a side at a stage, W windows, w tokens a side of a window,
P prompt tokens, D width at a stage, N heads. Prompt tokens stand in front of the patches, row by
row; there is no class token. Every window sees a copy of its image's prompt, and the mean of the
copies goes on. Attention between windows is shifted by half a window in every second
block.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from maskgit_prompt.models.attention import Attention, attention, check_heads
from maskgit_prompt.models.kind import Axes, Kind
from maskgit_prompt.models.layers import (
    Mlp,
    Pin,
    as_it_is,
    kernel_init,
    patch_embedding,
    replace_prompt,
)
from maskgit_prompt.models.prompts import Prompt

Array = jax.Array

EPSILON = 1e-5
HIDDEN = -100.0  # added to the logits of tokens that the shift made neighbors


@dataclasses.dataclass(frozen=True)
class SwinConfig:
    """Sizes of a Swin transformer.

    Attributes:
      image_size, patch: S and the side of a patch.
      width: D of the first stage; each further stage has twice as much, on half the side.
      layers, heads: blocks and attention heads, by stage.
      window: w; a stage with fewer tokens a side is one window.
      ratio: hidden width of the MLPs, in multiples of D.
      mean, std: as in `vit.ViTConfig`.
      dtype: of activations; parameters and softmax stay float32.
      attention_implementation: as in `attention.attention`.
      remat: recompute each block in the backward pass.
    """

    image_size: int = 224
    patch: int = 4
    width: int = 96
    layers: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (3, 6, 12, 24)
    window: int = 7
    ratio: int = 4
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    dtype: str = "float32"
    attention_implementation: str = "auto"
    remat: bool = False

    def __post_init__(self):
        # From a config file they are lists.
        for name in ("layers", "heads", "mean", "std"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if len(self.layers) != len(self.heads):
            raise ValueError(f"layers {self.layers} and heads {self.heads}: expected one per stage")
        unit = self.patch * 2 ** (len(self.layers) - 1)
        if self.image_size % unit:
            raise ValueError(f"images of {self.image_size}, expected a multiple of {unit}")
        for width, heads, side, window in zip(
            self.widths, self.heads, self.sides, self.windows, strict=True
        ):
            check_heads(width, heads)
            if side % window:
                raise ValueError(
                    f"images of {self.image_size}: {side} tokens a side do not divide into windows "
                    f"of {window}; expected a multiple of {unit * self.window}"
                )

    @property
    def widths(self) -> tuple[int, ...]:
        """D by stage."""
        return tuple(self.width * 2**stage for stage in range(len(self.layers)))

    @property
    def sides(self) -> tuple[int, ...]:
        """R by stage."""
        return tuple(self.image_size // self.patch // 2**s for s in range(len(self.layers)))

    @property
    def windows(self) -> tuple[int, ...]:
        """w by stage."""
        return tuple(min(self.window, side) for side in self.sides)

    @property
    def features(self) -> int:
        """D of the features."""
        return self.widths[-1]


def _size(width: int, middle: int, heads: int) -> SwinConfig:
    return SwinConfig(
        width=width, layers=(2, 2, middle, 2), heads=tuple(heads * 2**stage for stage in range(4))
    )


# arXiv 2103.14030, section 3.3.
CONFIGS = {
    "T": _size(96, 6, 3),
    "S": _size(96, 18, 3),
    "B": _size(128, 18, 4),
    "L": _size(192, 18, 6),
}


def relative_positions(window: int) -> np.ndarray:
    """Row of the bias table for each pair of tokens of a window, int32 [w², w²].

    Query (i, j) and key (k, l) have row (i - k + w - 1) · (2w - 1) + j - l + w - 1.
    """
    row, column = (axis.ravel() for axis in np.mgrid[:window, :window])
    down = row[:, None] - row + window - 1
    across = column[:, None] - column + window - 1
    return (down * (2 * window - 1) + across).astype(np.int32)


def split_windows(x: np.ndarray | Array, window: int) -> np.ndarray | Array:
    """[B, R, R, D] -> [B, W, w², D], windows and the tokens in them row by row."""
    batch, side, _, width = x.shape
    count = side // window
    x = x.reshape(batch, count, window, count, window, width).swapaxes(2, 3)
    return x.reshape(batch, count**2, window**2, width)


def join_windows(x: Array, side: int) -> Array:
    """[B, W, w², D] -> [B, R, R, D]."""
    batch, windows, _, width = x.shape
    count = round(windows**0.5)
    window = side // count
    x = x.reshape(batch, count, count, window, window, width).swapaxes(2, 3)
    return x.reshape(batch, side, side, width)


def shift_bias(side: int, window: int, shift: int) -> np.ndarray:
    """What hides tokens from each other that only the cyclic shift brought together, float32
    [W, w², w²]."""
    zone = np.digitize(np.arange(side), [side - window, side - shift])
    zones = (3 * zone[:, None] + zone)[None, :, :, None]
    zones = split_windows(zones, window)[0, :, :, 0]  # [W, w²]
    return np.where(zones[:, :, None] != zones[:, None], HIDDEN, 0.0).astype(np.float32)


class WindowAttention(Attention):
    """Attention within windows, with a bias for how tokens lie to each other."""

    def __init__(self, cfg: SwinConfig, stage: int, *, rngs: nnx.Rngs):
        super().__init__(
            cfg.widths[stage],
            cfg.heads[stage],
            implementation=cfg.attention_implementation,
            dtype=jnp.dtype(cfg.dtype),
            rngs=rngs,
        )
        rows = (2 * cfg.windows[stage] - 1) ** 2
        self.positions = nnx.Param(kernel_init(rngs.params(), (rows, cfg.heads[stage])))

    def __call__(self, x: Array, prompts: int, window: int, hidden: np.ndarray | None) -> Array:
        """[B, W, P + w², D] -> the same.

        Args:
          prompts: P, which every token sees and which have no position.
          hidden: as `shift_bias` gives it, [W, w², w²], or None.
        """
        bias = self.positions[...][relative_positions(window)]  # [w², w², N]
        bias = jnp.moveaxis(bias, -1, 0)[None]  # [1, N, w², w²]
        if hidden is not None:
            bias = bias + hidden[:, None]  # [W, N, w², w²]
        bias = jnp.pad(bias, [(0, 0), (0, 0), (prompts, 0), (prompts, 0)])
        one = lambda q, k, v, bias: attention(q, k, v, None, self.implementation, bias)
        q, k, v = self.project(x)
        # Each window has a bias of its own, or all have the same.
        if len(bias) == 1:
            flat = lambda x: x.reshape(-1, *x.shape[2:])
            found = one(flat(q), flat(k), flat(v), bias[0]).reshape(q.shape)
        else:
            found = jax.vmap(one, in_axes=(1, 1, 1, 0), out_axes=1)(q, k, v, bias)
        return self.out(found)


class Block(nnx.Module):
    """Pre-norm block: x += window attention(LN(x)); x += mlp(LN(x))."""

    def __init__(self, cfg: SwinConfig, stage: int, *, rngs: nnx.Rngs):
        width, dtype = cfg.widths[stage], jnp.dtype(cfg.dtype)
        self.attention_norm = nnx.LayerNorm(width, epsilon=EPSILON, dtype=dtype, rngs=rngs)
        self.attention = WindowAttention(cfg, stage, rngs=rngs)
        self.mlp_norm = nnx.LayerNorm(width, epsilon=EPSILON, dtype=dtype, rngs=rngs)
        self.mlp = Mlp(width, cfg.ratio * width, approximate=False, dtype=dtype, rngs=rngs)

    def __call__(self, x: Array, side: int, window: int, shift: int) -> Array:
        """[B, P + R², D] -> the same; shift: by how many tokens windows are moved, 0 for none."""
        x = x + self._windows(self.attention_norm(x), side, window, shift)
        return x + self.mlp(self.mlp_norm(x))

    def _windows(self, x: Array, side: int, window: int, shift: int) -> Array:
        batch, length, width = x.shape
        prompts = length - side**2
        prompt, patches = x[:, :prompts], x[:, prompts:].reshape(batch, side, side, width)
        if shift:
            patches = jnp.roll(patches, (-shift, -shift), axis=(1, 2))
        patches = split_windows(patches, window)
        copies = jnp.broadcast_to(prompt[:, None], (batch, patches.shape[1], prompts, width))
        x = jnp.concatenate([copies, patches], axis=2)
        x = self.attention(x, prompts, window, shift_bias(side, window, shift) if shift else None)
        prompt, patches = x[:, :, :prompts].mean(axis=1), join_windows(x[:, :, prompts:], side)
        if shift:
            patches = jnp.roll(patches, (shift, shift), axis=(1, 2))
        return jnp.concatenate([prompt, patches.reshape(batch, -1, width)], axis=1)


class Merge(nnx.Module):
    """Two by two patches to one of twice the width; a prompt token counts as four of itself."""

    def __init__(self, cfg: SwinConfig, stage: int, *, rngs: nnx.Rngs):
        width, dtype = cfg.widths[stage], jnp.dtype(cfg.dtype)
        self.norm = nnx.LayerNorm(4 * width, epsilon=EPSILON, dtype=dtype, rngs=rngs)
        self.reduction = nnx.Linear(
            4 * width, 2 * width, use_bias=False, dtype=dtype, kernel_init=kernel_init, rngs=rngs
        )

    def __call__(self, x: Array, side: int) -> Array:
        """[B, P + R², D] -> [B, P + R²/4, 2D]."""
        batch, length, width = x.shape
        prompts = length - side**2
        patches = x[:, prompts:].reshape(batch, side // 2, 2, side // 2, 2, width)
        # Among the four, the row varies fastest.
        patches = patches.transpose(0, 1, 3, 4, 2, 5).reshape(batch, -1, 4 * width)
        x = jnp.concatenate([jnp.tile(x[:, :prompts], 4), patches], axis=1)
        return self.reduction(self.norm(x))


class Stage(nnx.Module):
    """Blocks at one resolution, stacked, and the merge behind them in all but the last stage."""

    def __init__(self, cfg: SwinConfig, stage: int, *, rngs: nnx.Rngs):
        make = lambda rngs: Block(cfg, stage, rngs=rngs)
        self.blocks = jax.vmap(make)(rngs.split(cfg.layers[stage]))
        if stage + 1 < len(cfg.layers):
            self.merge = Merge(cfg, stage, rngs=rngs)


class Swin(nnx.Module):
    """Images [B, S, S, 3], normalized as the backbone's were, -> features [B, D]."""

    def __init__(self, cfg: SwinConfig, *, rngs: nnx.Rngs):
        self.cfg = cfg
        dtype = jnp.dtype(cfg.dtype)
        self.patches = patch_embedding(cfg.width, cfg.patch, dtype, rngs)
        self.patch_norm = nnx.LayerNorm(cfg.width, epsilon=EPSILON, dtype=dtype, rngs=rngs)
        self.stages = nnx.Dict({str(i): Stage(cfg, i, rngs=rngs) for i in range(len(cfg.layers))})
        self.norm = nnx.LayerNorm(cfg.features, epsilon=EPSILON, dtype=dtype, rngs=rngs)

    def embed(self, images: Array) -> Array:
        """[B, S, S, 3] -> [B, R², D] of the first stage, no prompt."""
        x = self.patches(images)
        return self.patch_norm(x.reshape(len(x), -1, self.cfg.width))

    def run_stage(self, x: Array, stage: int, fresh: Array | None = None) -> Array:
        """One stage's blocks, without the merge: [B, P + R², D] -> the same.

        fresh: [B, blocks, P, D], tokens that replace the prompt's before every block.
        """
        cfg = self.cfg
        side, window = cfg.sides[stage], cfg.windows[stage]

        def run(x: Array, inputs: tuple, odd: bool) -> Array:
            block, tokens = inputs
            if tokens is not None:
                x = replace_prompt(x, tokens)
            return block(x, side, window, window // 2 if odd and window < side else 0)

        if cfg.remat:
            run = jax.checkpoint(run, prevent_cse=False, static_argnums=2)
        tokens = None if fresh is None else jnp.swapaxes(fresh, 0, 1).astype(x.dtype)
        blocks = (self.stages[str(stage)].blocks, tokens)
        # Blocks of a pair differ in their shift, so a pair is what is compiled once.
        pairs = cfg.layers[stage] // 2
        by_pair = lambda leaf: leaf[: 2 * pairs].reshape(pairs, 2, *leaf.shape[1:])
        paired = jax.tree.map(by_pair, blocks)

        def pair(x: Array, inputs: tuple) -> tuple[Array, None]:
            first, second = (jax.tree.map(lambda leaf, i=i: leaf[i], inputs) for i in range(2))
            return run(run(x, first, False), second, True), None

        if pairs:
            x, _ = jax.lax.scan(pair, x, paired)
        if cfg.layers[stage] % 2:
            x = run(x, jax.tree.map(lambda leaf: leaf[-1], blocks), False)
        return x

    def __call__(
        self, images: Array, prompt: Prompt | None = None, *, pin: Pin = as_it_is
    ) -> Array:
        """[B, S, S, 3] -> features [B, D of the last stage] float32.

        Args:
          prompt: tokens come in once, before the first block; stages come in before every block,
            where they replace what the block before made of them.
          pin: called with every stage's output; fixes where it lies on a mesh.

        Raises:
          ValueError: a prompt of another place or for other stages.
        """
        cfg, x = self.cfg, self.embed(images)
        fresh = [None] * len(cfg.layers)
        if prompt is not None:
            fresh = self._checked(prompt)
            first = prompt.tokens if prompt.tokens is not None else fresh[0][:, 0]
            x = jnp.concatenate([first.astype(x.dtype), x], axis=1)
        for stage, tokens in enumerate(fresh):
            x = pin(self.run_stage(x, stage, tokens))
            if stage + 1 < len(fresh):
                x = self.stages[str(stage)].merge(x, cfg.sides[stage])
        return self.norm(x).mean(axis=1).astype(jnp.float32)

    def _checked(self, prompt: Prompt) -> list[Array | None]:
        """The prompt's tokens by stage, None for a stage without fresh ones."""
        cfg = self.cfg
        if prompt.tokens is not None:
            return [None] * len(cfg.layers)
        expected = [(n, d) for n, d in zip(cfg.layers, cfg.widths, strict=True)]
        found = [(x.shape[1], x.shape[3]) for x in prompt.stages or ()]
        if found != expected:
            raise ValueError(
                f"prompt of {prompt.place} with (blocks, width) {found}, expected tokens, or "
                f"stages with {expected}"
            )
        return list(prompt.stages)


_BLOCKS = r"stages/\d+/blocks/"
AXES: Axes = (
    (_BLOCKS + r"attention/(query|key|value)/kernel", ("layer", "embed", "heads", "head")),
    (_BLOCKS + r"attention/(query|key|value)/bias", ("layer", "heads", "head")),
    (_BLOCKS + r"attention/out/kernel", ("layer", "heads", "head", "embed")),
    (_BLOCKS + r"attention/positions", ("layer", None, "heads")),
    (_BLOCKS + r"mlp/up/kernel", ("layer", "embed", "mlp")),
    (_BLOCKS + r"mlp/up/bias", ("layer", "mlp")),
    (_BLOCKS + r"mlp/down/kernel", ("layer", "mlp", "embed")),
    (_BLOCKS + r".*/(bias|scale)", ("layer", "embed")),
    (r".*", None),
)
KIND = Kind("encoder", "swin", SwinConfig, Swin, AXES)
