"""The VQ tokenizer of MaskGIT (arXiv 2202.04200; VQGAN, arXiv 2012.09841).

Shapes: B batch, S image size, h = S / factor the latent size, E embedding, V codebook.
Images are NHWC floats in [0, 1], not rescaled; the decoder has no final activation.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

from maskgit_prompt.models.convolutional import (
    Pyramid,
    ResBlock,
    conv,
    double,
    norm,
    squared_distances,
)
from maskgit_prompt.models.kind import Kind

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class TokenizerConfig(Pyramid):
    """Sizes of a tokenizer.

    Attributes:
      image_size: S.
      codebook, embedding: V and E.
      filters: width of the first level; level i has filters · multipliers[i].
      multipliers: one per level; each level but the last halves the image.
      blocks: residual blocks per level.
      groups: of the group norms; divides every width.
      conv_downsample: a 4x4 convolution of stride 2 instead of 2x2 mean pooling.
      shortcut: if a block changes its width, "branch" adds a projection of the block's own
        branch, as the published MaskGIT weights need; "input" projects the block's input.
      dtype: of the computation; the distances to the codes stay float32.
    """

    image_size: int = 256
    codebook: int = 1024
    embedding: int = 256
    filters: int = 128
    multipliers: tuple[int, ...] = (1, 1, 2, 2, 4)
    blocks: int = 2
    groups: int = 32
    conv_downsample: bool = False
    shortcut: str = "branch"
    dtype: str = "float32"


# The tokenizers of google-research/maskgit.
CONFIGS = {
    "imagenet256": TokenizerConfig(image_size=256),
    "imagenet512": TokenizerConfig(image_size=512),
}


class Encoder(nnx.Module):
    """Images [B, S, S, 3] -> features [B, h, h, E]."""

    def __init__(self, cfg: TokenizerConfig, *, rngs: nnx.Rngs):
        widths = [cfg.filters * m for m in cfg.multipliers]
        self.conv_in = conv(cfg, 3, cfg.filters, 3, rngs, bias=False)
        self.levels = nnx.Dict({})
        width = cfg.filters
        for i, next_width in enumerate(widths):
            level = nnx.Dict({"blocks": _blocks(cfg, width, next_width, rngs)})
            if cfg.conv_downsample and i + 1 < len(widths):
                level["down"] = conv(cfg, next_width, next_width, 4, rngs, stride=2)
            self.levels[str(i)] = level
            width = next_width
        self.middle = _blocks(cfg, width, width, rngs)
        self.norm_out = norm(cfg, width, rngs)
        self.conv_out = conv(cfg, width, cfg.embedding, 1, rngs)

    def __call__(self, x: Array) -> Array:
        x = self.conv_in(x)
        for i in range(len(self.levels)):
            level = self.levels[str(i)]
            x = _run(level["blocks"], x)
            if "down" in level:
                x = level["down"](x)
            elif i + 1 < len(self.levels):
                x = nnx.avg_pool(x, (2, 2), (2, 2))
        x = _run(self.middle, x)
        return self.conv_out(jax.nn.swish(self.norm_out(x)))


class Decoder(nnx.Module):
    """Features [B, h, h, E] -> images [B, S, S, 3]."""

    def __init__(self, cfg: TokenizerConfig, *, rngs: nnx.Rngs):
        width = cfg.filters * cfg.multipliers[-1]
        self.conv_in = conv(cfg, cfg.embedding, width, 3, rngs)
        self.middle = _blocks(cfg, width, width, rngs)
        self.levels = nnx.Dict({})
        for i in reversed(range(len(cfg.multipliers))):
            next_width = cfg.filters * cfg.multipliers[i]
            level = nnx.Dict({"blocks": _blocks(cfg, width, next_width, rngs)})
            if i > 0:
                level["up"] = conv(cfg, next_width, next_width, 3, rngs)
            self.levels[str(i)] = level
            width = next_width
        self.norm_out = norm(cfg, width, rngs)
        self.conv_out = conv(cfg, width, 3, 3, rngs)

    def __call__(self, x: Array) -> Array:
        x = _run(self.middle, self.conv_in(x))
        for i in reversed(range(len(self.levels))):
            level = self.levels[str(i)]
            x = _run(level["blocks"], x)
            if "up" in level:
                x = level["up"](double(x))
        return self.conv_out(jax.nn.swish(self.norm_out(x)))


class Tokenizer(nnx.Module):
    """Images to codes and back."""

    def __init__(self, cfg: TokenizerConfig, *, rngs: nnx.Rngs):
        self.cfg = cfg
        self.encoder = Encoder(cfg, rngs=rngs)
        self.decoder = Decoder(cfg, rngs=rngs)
        # As spread out as the encoder's first features; otherwise most codes are never the nearest.
        self.codebook = nnx.Param(
            jax.random.normal(rngs.params(), (cfg.codebook, cfg.embedding)) / cfg.embedding**0.5
        )

    def features(self, images: Array) -> Array:  # [B, S, S, 3] -> [B, h, h, E]
        return self.encoder(images).astype(jnp.float32)

    def distances(self, features: Array) -> Array:
        """Squared distances to all codes, [B, h, h, E] -> [B, h, h, V]."""
        return squared_distances(features, self.codebook[...])

    def nearest(self, features: Array) -> Array:
        """Index of the nearest code, the first among equals, [B, h, h, E] -> [B, h, h] int32."""
        return jnp.argmin(self.distances(features), axis=-1).astype(jnp.int32)

    def encode(self, images: Array) -> Array:
        """Images [B, S, S, 3] -> codes [B, L] int32 in raster order."""
        return self.nearest(self.features(images)).reshape(len(images), -1)

    def decode_features(self, features: Array) -> Array:  # [B, h, h, E] -> [B, S, S, 3]
        return self.decoder(features).astype(jnp.float32)

    def decode(self, codes: Array) -> Array:
        """Codes [B, L] -> images [B, S, S, 3], unclipped."""
        side = round(codes.shape[1] ** 0.5)
        return self.decode_features(self.codebook[...][codes.reshape(-1, side, side)])


def _blocks(cfg, inputs: int, outputs: int, rngs) -> nnx.Dict:
    widths = [inputs] + [outputs] * cfg.blocks
    block = lambda i: ResBlock(cfg, widths[i], outputs, shortcut=cfg.shortcut, rngs=rngs)
    return nnx.Dict({str(i): block(i) for i in range(cfg.blocks)})


def _run(blocks: nnx.Dict, x: Array) -> Array:
    for i in range(len(blocks)):  # by number: a merged Dict is sorted by name, "10" before "2"
        x = blocks[str(i)](x)
    return x


# Convolutions are small compared to their images, so every device holds them whole.
AXES = (
    (r"codebook", ("codes", "latent")),
    (r".*(kernel|bias|scale)", None),
)
KIND = Kind("tokenizer", "vq", TokenizerConfig, Tokenizer, AXES, project="MaskGIT")
