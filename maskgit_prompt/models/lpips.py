"""LPIPS 0.1: a perceptual distance in the activations of VGG16 or AlexNet (arXiv 1801.03924).

Convolutions are torchvision's; a linear layer that people's judgements trained weighs the channels
of five taps. Name the network beside every number: the two distances do not compare. AlexNet is
usual for scores, VGG16 for losses.

Shapes: B batch, S image size, C channels, NHWC. Weights are imported by `importers.lpips`.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from maskgit_prompt.models.convolutional import conv
from maskgit_prompt.models.perceptual import difference

Array = jax.Array

# ImageNet's mean and deviation, for images in [-1, 1].
SHIFT = np.float32([-0.030, -0.088, -0.188])
SCALE = np.float32([0.458, 0.448, 0.450])


@dataclasses.dataclass(frozen=True)
class Stage:
    """Convolutions with ReLU up to a tap.

    Attributes:
      widths: C of each convolution.
      size, stride, padding: of each convolution.
      pool: side of the max pooling in front, of stride 2 and without padding; 0: none.
    """

    widths: tuple[int, ...]
    size: int = 3
    stride: int = 1
    padding: int = 1
    pool: int = 0


NETWORKS = {
    "vgg": (
        Stage((64, 64)),
        Stage((128, 128), pool=2),
        Stage((256, 256, 256), pool=2),
        Stage((512, 512, 512), pool=2),
        Stage((512, 512, 512), pool=2),
    ),
    "alex": (
        Stage((64,), size=11, stride=4, padding=2),
        Stage((192,), size=5, padding=2, pool=3),
        Stage((384,), pool=3),
        Stage((256,)),
        Stage((256,)),
    ),
}
SMALLEST = {"vgg": 16, "alex": 31}  # S that leaves one position at the last tap


@dataclasses.dataclass(frozen=True)
class LpipsConfig:
    """Which LPIPS.

    Attributes:
      network: "vgg" or "alex".
      dtype: of activations; distances are float32.
    """

    network: str = "vgg"
    dtype: str = "float32"

    def __post_init__(self):
        if self.network not in NETWORKS:
            raise ValueError(f"network {self.network!r}, expected {' or '.join(NETWORKS)}")

    @property
    def stages(self) -> tuple[Stage, ...]:
        return NETWORKS[self.network]


class Convolutions(nnx.Module):
    """One stage: max pooling where there is one, then convolutions with ReLU."""

    def __init__(self, cfg: LpipsConfig, stage: Stage, inputs: int, *, rngs: nnx.Rngs):
        self.pool = stage.pool
        widths = (inputs, *stage.widths)
        self.convs = nnx.Dict(
            {
                str(i): conv(
                    cfg,
                    widths[i],
                    widths[i + 1],
                    stage.size,
                    rngs,
                    stride=stage.stride,
                    padding=stage.padding,
                )
                for i in range(len(stage.widths))
            }
        )

    def __call__(self, x: Array) -> Array:  # [B, H, H, inputs] -> [B, H', H', C]
        if self.pool:
            x = nnx.max_pool(x, (self.pool, self.pool), (2, 2))
        for i in range(len(self.convs)):
            x = jax.nn.relu(self.convs[str(i)](x))
        return x


class Lpips(nnx.Module):
    """Two batches of images [B, S, S, 3] in [-1, 1] -> distances [B], as LPIPS publishes them."""

    def __init__(self, cfg: LpipsConfig, *, rngs: nnx.Rngs):
        inputs = [3, *(stage.widths[-1] for stage in cfg.stages)]
        self.stages = nnx.Dict(
            {
                str(i): Convolutions(cfg, stage, inputs[i], rngs=rngs)
                for i, stage in enumerate(cfg.stages)
            }
        )
        self.weights = nnx.Dict(
            {str(i): nnx.Param(jnp.ones(width)) for i, width in enumerate(inputs[1:])}
        )

    def taps(self, images: Array) -> list[Array]:
        """Images [B, S, S, 3] in [-1, 1] -> the activations [B, H, H, C] of each stage."""
        x, found = (images - SHIFT) / SCALE, []
        for i in range(len(self.stages)):
            x = self.stages[str(i)](x)
            found.append(x)
        return found

    def maps(self, x: Array, y: Array, guard: float = 0.0) -> list[Array]:
        """The weighted differences [B, H, H] at each tap of images [B, S, S, 3] in [-1, 1].

        guard: see `perceptual.difference`: 0 for scores, GUARD for losses.
        """
        pairs = zip(self.taps(x), self.taps(y), strict=True)
        return [
            difference(a, b, self.weights[str(i)][...], guard) for i, (a, b) in enumerate(pairs)
        ]

    def __call__(self, x: Array, y: Array) -> Array:
        return sum(jnp.mean(differences, (1, 2)) for differences in self.maps(x, y))


AXES = ((r"stages/\d/convs/\d/(kernel|bias)", None), (r"weights/\d", None))
