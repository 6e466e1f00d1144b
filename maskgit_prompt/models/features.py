"""A small convolutional network whose features score images without any download.

It is trained to tell the classes of the synthetic images apart and ships with `mini`. Distances in
its features are called "frechet", never FID: FID uses another network.

Shapes: B batch, S image size, F feature width, C classes.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

from maskgit_prompt.models.kind import Kind

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class FeaturesConfig:
    """Sizes: images are brought to image_size; each stage halves it and doubles the width."""

    image_size: int = 32
    classes: int = 100
    width: int = 32
    stages: int = 3
    groups: int = 8

    def __post_init__(self):
        if self.image_size < 2**self.stages:
            raise ValueError(
                f"{self.stages} stages halve images of {self.image_size} pixels to nothing"
            )

    @property
    def features(self) -> int:
        """F, the width of the last stage."""
        return self.width * 2 ** (self.stages - 1)


class Stage(nnx.Module):
    """3x3 convolution of stride 2 and a residual 3x3 convolution, each with norm and ReLU."""

    def __init__(self, inputs: int, outputs: int, groups: int, *, rngs: nnx.Rngs):
        conv = lambda i, stride: nnx.Conv(i, outputs, (3, 3), stride, use_bias=False, rngs=rngs)
        self.down = conv(inputs, 2)
        self.norm1 = nnx.GroupNorm(outputs, num_groups=groups, rngs=rngs)
        self.conv = conv(outputs, 1)
        self.norm2 = nnx.GroupNorm(outputs, num_groups=groups, rngs=rngs)

    def __call__(self, x: Array) -> Array:  # [B, H, W, inputs] -> [B, H/2, W/2, outputs]
        x = jax.nn.relu(self.norm1(self.down(x)))
        return jax.nn.relu(x + self.norm2(self.conv(x)))


class FeatureNetwork(nnx.Module):
    """Stages, the mean over positions, and a linear classifier."""

    def __init__(self, cfg: FeaturesConfig, *, rngs: nnx.Rngs):
        self.cfg = cfg
        widths = [3] + [cfg.width * 2**i for i in range(cfg.stages)]
        self.stages = nnx.Dict(
            {
                str(i): Stage(widths[i], widths[i + 1], cfg.groups, rngs=rngs)
                for i in range(cfg.stages)
            }
        )
        self.head = nnx.Linear(cfg.features, cfg.classes, rngs=rngs)

    def taps(self, images: Array) -> list[Array]:
        """The activations [B, H, H, C] of each stage, from images [B, S, S, 3] in [0, 1]."""
        x, found = images * 2 - 1, []
        for i in range(self.cfg.stages):
            x = self.stages[str(i)](x)
            found.append(x)
        return found

    def features(self, images: Array) -> Array:
        """Images [B, S, S, 3] in [0, 1] -> features [B, F]."""
        size = self.cfg.image_size
        if images.shape[1:3] != (size, size):
            shape = (len(images), size, size, 3)
            images = jax.image.resize(images, shape, "linear", antialias=True)
        return jnp.mean(self.taps(images)[-1], (1, 2))

    def __call__(self, images: Array) -> Array:  # [B, S, S, 3] -> [B, C]
        return self.head(self.features(images))


AXES = ((r".*(kernel|bias|scale)", None),)
KIND = Kind("features", "convolutional", FeaturesConfig, FeatureNetwork, AXES)
