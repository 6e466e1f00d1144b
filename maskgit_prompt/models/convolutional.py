"""What the convolutional tokenizers share. Shapes: B batch, H height, W width, NHWC."""

import jax
import jax.numpy as jnp
from flax import nnx

Array = jax.Array


class Pyramid:
    """Sizes that follow from a config's image_size and multipliers, one per level.

    Each level but the last halves the image: 256 pixels and 5 levels give factor 16, latent size
    16 and length 256.
    """

    image_size: int
    multipliers: tuple[int, ...]

    def __post_init__(self):
        if self.image_size % self.factor:
            raise ValueError(
                f"image_size {self.image_size} does not divide by the tokenizer's factor "
                f"{self.factor}; use a multiple of {self.factor}"
            )

    @property
    def factor(self) -> int:
        return 2 ** (len(self.multipliers) - 1)

    @property
    def latent_size(self) -> int:
        return self.image_size // self.factor

    @property
    def length(self) -> int:
        """L, codes per image."""
        return self.latent_size**2


class ResBlock(nnx.Module):
    """Norm, swish, 3x3 convolution, twice, beside a shortcut.

    cfg: has groups and dtype. shortcut: if the width changes, "branch" adds a projection of the
    block's own branch, and "input" projects the block's input. bias: of all convolutions.
    """

    def __init__(
        self,
        cfg,
        inputs: int,
        outputs: int,
        *,
        shortcut: str,
        bias: bool = False,
        rngs: nnx.Rngs,
    ):
        self.norm1 = norm(cfg, inputs, rngs)
        self.conv1 = conv(cfg, inputs, outputs, 3, rngs, bias=bias)
        self.norm2 = norm(cfg, outputs, rngs)
        self.conv2 = conv(cfg, outputs, outputs, 3, rngs, bias=bias)
        self.from_branch = shortcut == "branch"
        self.changes_width = inputs != outputs
        if self.changes_width:
            start = outputs if self.from_branch else inputs
            self.shortcut = conv(cfg, start, outputs, 1, rngs, bias=bias)

    def __call__(self, x: Array) -> Array:  # [B, H, W, inputs] -> [B, H, W, outputs]
        y = self.conv1(jax.nn.swish(self.norm1(x)))
        y = self.conv2(jax.nn.swish(self.norm2(y)))
        if not self.changes_width:
            return x + y
        return y + self.shortcut(y if self.from_branch else x)


def conv(
    cfg,
    inputs: int,
    outputs: int,
    size: int,
    rngs: nnx.Rngs,
    *,
    stride=1,
    padding="SAME",
    bias=True,
) -> nnx.Conv:
    """A size x size convolution that computes in cfg.dtype."""
    return nnx.Conv(
        inputs,
        outputs,
        (size, size),
        strides=stride,
        padding=padding,
        use_bias=bias,
        dtype=jnp.dtype(cfg.dtype),
        rngs=rngs,
    )


def norm(cfg, width: int, rngs: nnx.Rngs) -> nnx.GroupNorm:
    """The group norm of VQGAN, epsilon 1e-6, with cfg.groups groups."""
    return nnx.GroupNorm(
        width, num_groups=cfg.groups, epsilon=1e-6, dtype=jnp.dtype(cfg.dtype), rngs=rngs
    )


def double(x: Array) -> Array:
    """Every pixel four times, [B, H, W, C] -> [B, 2 H, 2 W, C]."""
    return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)


def squared_distances(a: Array, b: Array) -> Array:
    """|a|² - 2 a·b + |b|² of rows, [..., E] and [V, E] -> [..., V].

    The sum of products runs at full precision: bfloat16 or TF32 would pick other codes.
    """
    product = jnp.einsum("...e,ve->...v", a, b, precision="highest")
    return jnp.sum(a**2, -1, keepdims=True) - 2 * product + jnp.sum(b**2, -1)
