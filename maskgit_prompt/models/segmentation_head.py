"""The head that makes a class for each pixel of a vision transformer's patches.

Its stages follow SETR's progressive upsampling (arXiv 2012.15840, section 3.2): a 3x3 convolution,
a norm, ReLU, and twice the side; at the end a 1x1 convolution and one resize to the image. Norms
are of groups of channels, not of the batch: an image's answer does not depend on the others.

Shapes: B batch, g patches a side, D width of the patches, S image size, C classes.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

Array = jax.Array

GROUPS = 8


@dataclasses.dataclass(frozen=True)
class SegmentationHeadConfig:
    """Sizes of the head.

    Attributes:
      width: D.
      classes: C.
      image_size: S.
      hidden: width behind the convolutions.
      doublings: stages that double the side; 0: one linear layer and the resize, as SETR's naive
        head without its hidden layer.
    """

    width: int
    classes: int
    image_size: int
    hidden: int = 64
    doublings: int = 2

    def __post_init__(self):
        if self.doublings < 0:
            raise ValueError(f"doublings = {self.doublings}, expected 0 or more")
        if self.hidden < 1 or self.hidden % GROUPS:
            raise ValueError(f"hidden = {self.hidden}, expected a multiple of {GROUPS}")


class Stage(nnx.Module):
    """[B, g, g, D] -> [B, 2g, 2g, hidden]."""

    def __init__(self, inputs: int, hidden: int, *, rngs: nnx.Rngs):
        self.conv = nnx.Conv(inputs, hidden, (3, 3), rngs=rngs)
        self.norm = nnx.GroupNorm(hidden, num_groups=GROUPS, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        x = jax.nn.relu(self.norm(self.conv(x)))
        return enlarged(x, 2 * x.shape[1])


class SegmentationHead(nnx.Module):
    """Patches [B, g, g, D] -> logits [B, S, S, C] float32."""

    def __init__(self, cfg: SegmentationHeadConfig, *, rngs: nnx.Rngs):
        self.cfg = cfg
        widths = [cfg.width] + [cfg.hidden] * cfg.doublings
        self.stages = nnx.Dict(
            {str(i): Stage(widths[i], cfg.hidden, rngs=rngs) for i in range(cfg.doublings)}
        )
        self.out = nnx.Linear(widths[-1], cfg.classes, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        x = x.astype(jnp.float32)
        for i in range(self.cfg.doublings):
            x = self.stages[str(i)](x)
        return enlarged(self.out(x), self.cfg.image_size)


def enlarged(x: Array, side: int) -> Array:
    """[B, g, g, C] -> [B, side, side, C], linear between the middles of cells.

    A row 0, 4 of twice as many: 0, 1, 3, 4.
    """
    return jax.image.resize(x, (len(x), side, side, x.shape[-1]), "linear")
