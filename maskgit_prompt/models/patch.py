"""The patch discriminator: it judges overlapping patches of an image, one logit each.

Convolutions of 4 x 4 that halve the image, as in pix2pix (arXiv 1611.07004, section 6.1.2) and
VQGAN (arXiv 2012.09841). Normalized by groups of channels, not by the batch: the same image has
the same logits in any batch and on any number of devices.

Shapes: B batch, S image size, h = S / 2^layers - 2 patches a side, C width, NHWC.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

from maskgit_prompt.models.convolutional import conv, norm
from maskgit_prompt.models.discriminator import activation

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class PatchConfig:
    """Sizes of a patch discriminator.

    Attributes:
      image_size: S.
      width: C of the first layer; each further one has twice as many, 8 · width at most.
      layers: that halve the image; with 3 a patch has 70 pixels a side, with 2 it has 34.
      groups: of the group norms; divides the width.
      dtype: of activations; parameters stay float32.
    """

    image_size: int = 256
    width: int = 64
    layers: int = 3
    groups: int = 32
    dtype: str = "float32"

    def __post_init__(self):
        if self.width % self.groups:
            raise ValueError(f"width {self.width} does not divide into {self.groups} groups")
        if self.image_size // 2**self.layers < 3:
            raise ValueError(
                f"{self.layers} layers leave no patch of images of {self.image_size} pixels; use "
                "fewer"
            )


class PatchDiscriminator(nnx.Module):
    """Images [B, S, S, 3] in [0, 1] -> logits [B, h, h, 1], high for real ones."""

    def __init__(self, cfg: PatchConfig, *, rngs: nnx.Rngs):
        self.cfg = cfg
        widths = [cfg.width * min(2**i, 8) for i in range(cfg.layers + 1)]
        edge = ((1, 1), (1, 1))
        layer = lambda inputs, outputs, stride: conv(
            cfg, inputs, outputs, 4, rngs, stride=stride, padding=edge
        )
        self.conv_in = layer(3, widths[0], 2)
        strides = [2] * (cfg.layers - 1) + [1]
        pairs = list(zip(widths[:-1], widths[1:], strides, strict=True))
        self.convs = nnx.Dict({str(i): layer(*pair) for i, pair in enumerate(pairs)})
        self.norms = nnx.Dict({str(i): norm(cfg, pair[1], rngs) for i, pair in enumerate(pairs)})
        self.conv_out = layer(widths[-1], 1, 1)

    def __call__(self, images: Array) -> Array:
        x = activation(self.conv_in(images * 2 - 1))
        for i in range(len(self.convs)):
            x = activation(self.norms[str(i)](self.convs[str(i)](x)))
        return self.conv_out(x).astype(jnp.float32)
