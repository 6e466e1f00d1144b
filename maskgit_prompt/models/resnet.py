"""The residual network (arXiv 1512.03385): three stages make a grid for OFA, all four an encoder.

As in torchvision, a bottleneck block that halves the image does so in its 3x3 convolution. Batch
norms are constants: they normalize by stored averages, which no training step renews.

Shapes: B batch, H, W image size, S of a square image, D width of the features, NHWC.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from maskgit_prompt.models.kind import Axes, Kind
from maskgit_prompt.models.layers import Pin, as_it_is
from maskgit_prompt.models.pixel_prompt import in_frame
from maskgit_prompt.models.prompts import Prompt

Array = jax.Array

EPSILON = 1e-5
EXPANSION = 4  # a block's output is that much wider than its 3x3 convolution
WIDTH = 64  # of the first stage's 3x3 convolutions, as published; it doubles with each stage
STAGES = 4  # of an encoder
# Parameters that have no gradient: training them would be weight decay alone.
STATS = r".*/(mean|variance)"


@dataclasses.dataclass(frozen=True)
class ResNetConfig:
    """Sizes of a residual network of bottleneck blocks.

    Attributes:
      image_size: S.
      layers: blocks by stage; four stages. Each but the first halves the image.
      mean, std: as in `vit.ViTConfig`.
      dtype: of activations; parameters stay float32.
      remat: recompute each block in the backward pass.
    """

    image_size: int = 224
    layers: tuple[int, ...] = (3, 4, 6, 3)
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    dtype: str = "float32"
    remat: bool = False

    def __post_init__(self):
        for name in ("layers", "mean", "std"):  # in a file they are lists
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if len(self.layers) != STAGES or min(self.layers) < 1:
            raise ValueError(f"layers = {self.layers}, expected blocks of {STAGES} stages")

    @property
    def features(self) -> int:
        """D of the features."""
        return EXPANSION * WIDTH * 2 ** (STAGES - 1)


# arXiv 1512.03385, table 1.
CONFIGS = {
    "50": ResNetConfig(),
    "101": ResNetConfig(layers=(3, 4, 23, 3)),
    "152": ResNetConfig(layers=(3, 8, 36, 3)),
}


class FrozenNorm(nnx.Module):
    """Batch normalization by stored averages, which have no gradient, [..., C] -> [..., C]."""

    def __init__(self, width: int, epsilon: float = EPSILON):
        self.epsilon = epsilon
        self.scale = nnx.Param(jnp.ones(width))
        self.bias = nnx.Param(jnp.zeros(width))
        self.mean = nnx.Param(jnp.zeros(width))
        self.variance = nnx.Param(jnp.ones(width))

    def __call__(self, x: Array) -> Array:
        mean, variance = map(jax.lax.stop_gradient, (self.mean[...], self.variance[...]))
        scale = self.scale / jnp.sqrt(variance + self.epsilon)
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


class Stages(nnx.Module):
    """Images [B, H, W, 3] -> [B, H / 2^(n+1), W / 2^(n+1), features] after n stages.

    Args:
      blocks: how many each stage has; three stages give 1024 features for 16 pixels a side.
      width: of the first stage's 3x3 convolutions.
      remat: recompute each block in the backward pass.
    """

    def __init__(
        self,
        blocks: tuple[int, ...],
        width: int,
        dtype: jnp.dtype,
        remat: bool = False,
        *,
        rngs: nnx.Rngs,
    ):
        self.conv = conv(3, width, 7, 2, dtype, rngs)
        self.norm = FrozenNorm(width)
        self.remat = remat
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
        self.features = inputs

    def __call__(
        self, images: Array, pin: Pin = as_it_is, norm: Norm = FrozenNorm.__call__
    ) -> Array:
        """The grid of features.

        Args:
          pin: called with every stage's output; fixes where it lies on a mesh.
          norm: FrozenNorm.settled stores the averages of these images in all norms.
        """
        x = jax.nn.relu(norm(self.norm, self.conv(images)))
        # A border of minus infinity: the maximum is that of the pixels that are there.
        x = nnx.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        run = lambda block, x: block(x, norm)
        if self.remat:
            run = jax.checkpoint(run, prevent_cse=False)
        for stage in range(len(self.stages)):
            blocks = self.stages[str(stage)]
            for i in range(len(blocks)):
                x = run(blocks[str(i)], x)
            x = pin(x)
        return x


class ResNet(Stages):
    """Images [B, S, S, 3], normalized as the backbone's were, -> features [B, D]."""

    def __init__(self, cfg: ResNetConfig, *, rngs: nnx.Rngs):
        super().__init__(cfg.layers, WIDTH, jnp.dtype(cfg.dtype), cfg.remat, rngs=rngs)
        self.cfg = cfg

    def __call__(
        self, images: Array, prompt: Prompt | None = None, *, pin: Pin = as_it_is
    ) -> Array:
        """[B, S, S, 3] -> features [B, D] float32.

        Args:
          prompt: a frame around the images.
          pin: called with every stage's output; fixes where it lies on a mesh.

        Raises:
          ValueError: a prompt of another place.
        """
        x = in_frame(images, prompt).astype(self.cfg.dtype)
        return super().__call__(x, pin).mean(axis=(1, 2)).astype(jnp.float32)


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


AXES: Axes = (
    (r"stages/.*/(conv\d|shortcut)/kernel", ("height", "width", "inputs", "embed")),
    (r".*", None),
)
KIND = Kind("encoder", "resnet", ResNetConfig, ResNet, AXES)
