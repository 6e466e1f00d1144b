"""The discriminator that a tokenizer is trained against: StyleGAN2's residual one.

This is the version kept beside the tokenizer of google-research/maskgit: no minibatch statistics,
equalized learning rates or norms (StyleGAN2: arXiv 1912.04958, figure 7). Its losses are
`losses.discriminator_loss`, `losses.generator_loss` and `losses.gradient_penalty`.

Shapes: B batch, S image size, C width, NHWC.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from maskgit_prompt.models.convolutional import conv

Array = jax.Array

NAMES = ("stylegan", "patch")  # this one, and that of patch.py
SMALLEST = 4  # the size at which blocks end
WIDEST = 512
SLOPE = 0.2  # of the leaky ReLU


@dataclasses.dataclass(frozen=True)
class DiscriminatorConfig:
    """Sizes of a discriminator.

    Attributes:
      image_size: S, a power of two from 8 to 1024.
      multiplier: of the widths from size 64 on: 256, 128, 64, 32, 16 times this.
      blur: halve by a [1, 3, 3, 1] blur instead of the mean of 2 x 2.
      dtype: of activations; parameters stay float32.
    """

    image_size: int = 256
    multiplier: int = 1
    blur: bool = True
    dtype: str = "float32"

    def __post_init__(self):
        if self.image_size not in [2**i for i in range(3, 11)]:
            raise ValueError(
                f"image_size {self.image_size}, expected a power of two from 8 to 1024"
            )

    def width(self, size: int) -> int:
        """C at an image size: 512 up to 32, then half for every doubling."""
        return WIDEST if size <= 32 else WIDEST * 32 // size * self.multiplier


def blur(x: Array, size: int = 4) -> Array:
    """Halves [B, H, W, C] by a binomial filter of size x size, zeros beyond the border.

    Size 4 has the outer product of 1 3 3 1 with itself, divided by 64.
    """
    row = np.array([math.comb(size - 1, i) for i in range(size)], np.float32)
    kernel = np.outer(row, row) / row.sum() ** 2
    kernel = np.broadcast_to(kernel[..., None, None], (size, size, 1, x.shape[-1]))
    return jax.lax.conv_general_dilated(
        x,
        jnp.asarray(kernel, x.dtype),
        (2, 2),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


def halve(x: Array) -> Array:
    """The mean of every 2 x 2, [B, H, W, C] -> [B, H/2, W/2, C]."""
    return nnx.avg_pool(x, (2, 2), (2, 2))


def activation(x: Array) -> Array:
    return jax.nn.leaky_relu(x, SLOPE)


class Block(nnx.Module):
    """Two convolutions that halve the image, beside a halved shortcut; the sum over √2."""

    def __init__(self, cfg: DiscriminatorConfig, inputs: int, outputs: int, *, rngs: nnx.Rngs):
        self.halve = blur if cfg.blur else halve
        self.conv1 = conv(cfg, inputs, inputs, 3, rngs)
        self.conv2 = conv(cfg, inputs, outputs, 3, rngs)
        self.shortcut = conv(cfg, inputs, outputs, 1, rngs, bias=False)

    def __call__(self, x: Array) -> Array:  # [B, H, W, inputs] -> [B, H/2, W/2, outputs]
        y = self.halve(activation(self.conv1(x)))
        y = activation(self.conv2(y))
        return (self.shortcut(self.halve(x)) + y) / math.sqrt(2)


class Discriminator(nnx.Module):
    """Images [B, S, S, 3] in [0, 1] -> logits [B, 1], high for real ones."""

    def __init__(self, cfg: DiscriminatorConfig, *, rngs: nnx.Rngs):
        self.cfg = cfg
        dense = lambda inputs, outputs: nnx.Linear(
            inputs, outputs, dtype=jnp.dtype(cfg.dtype), rngs=rngs
        )
        size, width = cfg.image_size, cfg.width(cfg.image_size)
        self.conv_in = conv(cfg, 3, width, 3, rngs)
        blocks = {}
        while size > SMALLEST:
            size //= 2
            blocks[str(len(blocks))] = Block(cfg, width, cfg.width(size), rngs=rngs)
            width = cfg.width(size)
        self.blocks = nnx.Dict(blocks)
        self.conv_out = conv(cfg, width, WIDEST, 3, rngs)
        self.dense = dense(SMALLEST * SMALLEST * WIDEST, WIDEST)
        self.head = dense(WIDEST, 1)

    def __call__(self, images: Array) -> Array:
        x = activation(self.conv_in(images))
        for i in range(len(self.blocks)):
            x = self.blocks[str(i)](x)  # [B, H, H, C]
        x = activation(self.conv_out(x))  # [B, 4, 4, 512]
        x = activation(self.dense(x.reshape(len(x), -1)))
        return self.head(x).astype(jnp.float32)
