"""EfficientNet-Lite0: a small classifier of ImageNet whose activations make a perceptual distance.

EfficientNet (arXiv 1905.11946) without squeeze-and-excitation and with ReLU6 in place of swish, as
tensorflow/tpu's models/official/efficientnet/lite has it. Norms are folded into the convolutions:
this network is never trained here. Weights are imported by `importers.efficientnet`.

Shapes: B batch, S image size, C channels, NHWC.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

from maskgit_prompt.models.convolutional import conv

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Stage:
    """Blocks of one width.

    Attributes:
      width: C at their ends; blocks: how many.
      size: of the depthwise convolution; stride: of the first block's.
      expand: how many times wider a block is inside than at its start.
    """

    width: int
    blocks: int
    size: int
    stride: int
    expand: int = 6


STAGES = (
    Stage(16, 1, 3, 1, expand=1),
    Stage(24, 2, 3, 2),
    Stage(40, 2, 5, 2),
    Stage(80, 3, 3, 2),
    Stage(112, 3, 5, 1),
    Stage(192, 4, 5, 2),
    Stage(320, 1, 3, 1),
)


@dataclasses.dataclass(frozen=True)
class EfficientNetConfig:
    """Sizes; the default is EfficientNet-Lite0.

    Attributes:
      stem: width of the first convolution; head: of the last, in front of the classifier.
      stages: the blocks between them.
      classes: 0 for taps alone: no last convolution and no classifier.
      dtype: of activations.
    """

    stem: int = 32
    stages: tuple[Stage, ...] = STAGES
    head: int = 1280
    classes: int = 1000
    dtype: str = "float32"


# Up to stride 16. What follows sees more than 64 pixels a side at once, and has three quarters of
# the parameters.
TAPS = EfficientNetConfig(stages=STAGES[:5], classes=0)


class Depthwise(nnx.Module):
    """A size x size convolution of every channel by itself, padded as "SAME".

    Written as size² shifted products: XLA joins them into one loop. Its own grouped convolution
    took 5 to 30 times as long on a CPU, forward and backward.
    """

    def __init__(self, cfg: EfficientNetConfig, width: int, stage: Stage, stride: int, *, rngs):
        self.dtype, self.stride = jnp.dtype(cfg.dtype), stride
        shape = (stage.size, stage.size, 1, width)
        self.kernel = nnx.Param(nnx.initializers.lecun_normal()(rngs.params(), shape))
        self.bias = nnx.Param(jnp.zeros(width))

    def __call__(self, x: Array) -> Array:  # [B, H, H, C] -> [B, H / stride, H / stride, C]
        kernel = self.kernel[...].astype(jnp.float32)
        size, steps = len(kernel), -(-x.shape[1] // self.stride)
        span = (steps - 1) * self.stride + 1
        beyond = max(span + size - 1 - x.shape[1], 0)
        sides = (beyond // 2, beyond - beyond // 2)
        x = jnp.pad(x.astype(jnp.float32), ((0, 0), sides, sides, (0, 0)))
        shifted = lambda i, j: x[:, i : i + span : self.stride, j : j + span : self.stride]
        y = sum(shifted(i, j) * kernel[i, j, 0] for i in range(size) for j in range(size))
        return (y + self.bias[...]).astype(self.dtype)


class Block(nnx.Module):
    """1x1 to a larger width, depthwise, 1x1 back; added to its input where the shapes agree."""

    def __init__(
        self,
        cfg: EfficientNetConfig,
        inputs: int,
        stage: Stage,
        stride: int,
        *,
        rngs: nnx.Rngs,
    ):
        inside = inputs * stage.expand
        self.expands, self.halves = stage.expand > 1, stride == 2
        self.adds = stride == 1 and inputs == stage.width
        if self.expands:
            self.expand = conv(cfg, inputs, inside, 1, rngs)
        self.depthwise = Depthwise(cfg, inside, stage, stride, rngs=rngs)
        self.project = conv(cfg, inside, stage.width, 1, rngs)

    def __call__(self, x: Array) -> Array:  # [B, H, H, inputs] -> [B, H', H', C]
        y = jax.nn.relu6(self.expand(x)) if self.expands else x
        y = self.project(jax.nn.relu6(self.depthwise(y)))
        return x + y if self.adds else y


class EfficientNet(nnx.Module):
    """Images [B, S, S, 3] in [0, 1] -> logits [B, classes]."""

    def __init__(self, cfg: EfficientNetConfig, *, rngs: nnx.Rngs):
        self.cfg = cfg
        self.conv_in = conv(cfg, 3, cfg.stem, 3, rngs, stride=2)
        blocks, width = {}, cfg.stem
        for stage in cfg.stages:
            for i in range(stage.blocks):
                stride = 1 if i else stage.stride
                blocks[str(len(blocks))] = Block(cfg, width, stage, stride, rngs=rngs)
                width = stage.width
        self.blocks = nnx.Dict(blocks)
        if cfg.classes:
            self.conv_out = conv(cfg, width, cfg.head, 1, rngs)
            self.head = nnx.Linear(cfg.head, cfg.classes, dtype=jnp.dtype(cfg.dtype), rngs=rngs)

    def taps(self, images: Array) -> list[Array]:
        """The last activations [B, H, H, C] of every size H, from images [B, S, S, 3] in [0, 1].

        64 x 64 pixels and TAPS give 32 x 32 x 16, 16 x 16 x 24, 8 x 8 x 40 and 4 x 4 x 112.
        """
        x = (images * 255 - 127) / 128  # 127, not 127.5: the mean it was trained with
        x = jax.nn.relu6(self.conv_in(x))
        ends = []
        for i in range(len(self.blocks)):
            if self.blocks[str(i)].halves:
                ends.append(x)
            x = self.blocks[str(i)](x)
        return [*ends, x]

    def features(self, images: Array) -> Array:
        """Images [B, S, S, 3] in [0, 1] -> features [B, 1280], which the classifier reads."""
        x = jax.nn.relu6(self.conv_out(self.taps(images)[-1]))  # [B, H, H, head]
        return jnp.mean(x, (1, 2))

    def __call__(self, images: Array) -> Array:
        return self.head(self.features(images))


AXES = ((r".*(kernel|bias)", None),)
