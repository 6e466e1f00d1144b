"""The residual network (arXiv 1512.03385) whose first three stages turn images into a grid.

As in torchvision, a bottleneck block that halves the image does so in its 3x3 convolution. Batch
norms are constants: they normalize by stored averages, which no training step renews.

Shapes: B batch, H, W image size, multiples of 16, NHWC.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

Array = jax.Array

EPSILON = 1e-5
EXPANSION = 4  # a block's output is that much wider than its 3x3 convolution
STAGES = 3
WIDTH = 64  # of the first stage's 3x3 convolutions, as published; it doubles with each stage
STRIDE = 16  # pixels per cell of the grid


class FrozenNorm(nnx.Module):
    """Batch normalization by stored averages, which have no gradient, [..., C] -> [..., C]."""

    def __init__(self, width: int):
        self.scale = nnx.Param(jnp.ones(width))
        self.bias = nnx.Param(jnp.zeros(width))
        self.mean = nnx.Param(jnp.zeros(width))
        self.variance = nnx.Param(jnp.ones(width))

    def __call__(self, x: Array) -> Array:
        mean, variance = map(jax.lax.stop_gradient, (self.mean[...], self.variance[...]))
        scale = self.scale / jnp.sqrt(variance + EPSILON)
        return x * scale.astype(x.dtype) + (self.bias - mean * scale).astype(x.dtype)

    def settled(self, x: Array) -> Array:
        """The same, by the averages of x, which are stored: how a network from scratch begins."""
        axes = tuple(range(x.ndim - 1))
        self.mean[...] = jnp.mean(x, axes, jnp.float32)
        self.variance[...] = jnp.var(x, axes, jnp.float32)
        return self(x)


Norm = Callable[[FrozenNorm, Array], Array]  # how a norm is computed


class Bottleneck(nnx.Module):
    """1x1, 3x3 and 1x1 convolution, each with a norm, beside a shortcut."""

    def __init__(self, inputs: int, width: int, stride: int, dtype: jnp.dtype, *, rngs: nnx.Rngs):
        outputs = EXPANSION * width
        self.conv1 = conv(inputs, width, 1, 1, dtype, rngs)
        self.norm1 = FrozenNorm(width)
        self.conv2 = conv(width, width, 3, stride, dtype, rngs)
        self.norm2 = FrozenNorm(width)
        self.conv3 = conv(width, outputs, 1, 1, dtype, rngs)
        self.norm3 = FrozenNorm(outputs)
        self.changes = inputs != outputs or stride > 1
        if self.changes:
            self.shortcut = conv(inputs, outputs, 1, stride, dtype, rngs)
            self.shortcut_norm = FrozenNorm(outputs)

    def __call__(self, x: Array, norm: Norm = FrozenNorm.__call__) -> Array:
        """[B, H, W, inputs] -> [B, H / stride, W / stride, outputs]."""
        y = jax.nn.relu(norm(self.norm1, self.conv1(x)))
        y = jax.nn.relu(norm(self.norm2, self.conv2(y)))
        y = norm(self.norm3, self.conv3(y))
        return jax.nn.relu(y + (norm(self.shortcut_norm, self.shortcut(x)) if self.changes else x))


def features(width: int) -> int:
    """Channels of the grid of a network whose first stage has this width: 64 gives 1024."""
    return EXPANSION * width * 2 ** (STAGES - 1)


class ResNet(nnx.Module):
    """Images [B, H, W, 3] -> [B, H / 16, W / 16, features(width)].

    blocks: how many each stage has; width: of the first.
    """

    def __init__(self, blocks: tuple[int, ...], width: int, dtype: jnp.dtype, *, rngs: nnx.Rngs):
        self.conv = conv(3, width, 7, 2, dtype, rngs)
        self.norm = FrozenNorm(width)
        inputs, stages = width, {}
        for stage, count in enumerate(blocks):
            made = {}
            for i in range(count):
                stride = 2 if stage > 0 and i == 0 else 1
                made[str(i)] = Bottleneck(inputs, width, stride, dtype, rngs=rngs)
                inputs = EXPANSION * width
            stages[str(stage)] = nnx.Dict(made)
            width *= 2
        self.stages = nnx.Dict(stages)

    def __call__(self, images: Array, norm: Norm = FrozenNorm.__call__) -> Array:
        """norm: FrozenNorm.settled stores the averages of these images in all norms."""
        x = jax.nn.relu(norm(self.norm, self.conv(images)))
        # A border of minus infinity: the maximum is that of the pixels that are there.
        x = nnx.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        for stage in range(len(self.stages)):
            blocks = self.stages[str(stage)]
            for i in range(len(blocks)):
                x = blocks[str(i)](x, norm)
        return x


def conv(
    inputs: int, outputs: int, size: int, stride: int, dtype: jnp.dtype, rngs: nnx.Rngs
) -> nnx.Conv:
    """A size x size convolution without bias, with a border of size // 2 zeros on all sides."""
    edge = (size // 2, size // 2)
    return nnx.Conv(
        inputs,
        outputs,
        (size, size),
        strides=stride,
        padding=(edge, edge),
        use_bias=False,
        dtype=dtype,
        kernel_init=nnx.initializers.variance_scaling(2.0, "fan_out", "normal"),
        rngs=rngs,
    )
