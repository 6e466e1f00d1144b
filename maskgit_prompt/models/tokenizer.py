"""The VQ tokenizer of MaskGIT (arXiv 2202.04200; VQGAN, arXiv 2012.09841).

Shapes: B batch, S image size, h = S / factor the latent size, E embedding, V codebook.
Images are NHWC floats in [0, 1], as they are; the decoder has no final activation.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class TokenizerConfig:
    """Sizes of a tokenizer.

    Attributes:
      image_size: S.
      codebook, embedding: V and E.
      filters: width of the first level; level i has filters · multipliers[i].
      multipliers: one a level; each level but the last halves the image.
      blocks: residual blocks a level.
      groups: of the group norms; divides every width.
      conv_downsample: a 4x4 convolution of stride 2 in place of 2x2 mean pooling.
      shortcut: where a block changes its width, "branch" adds a projection of the block's own
        branch, as the published MaskGIT weights need; "input" projects the block's input.
      dtype: what is computed in; the distances to the codes stay float32.
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
        """L, image codes an image."""
        return self.latent_size**2


class ResBlock(nnx.Module):
    """Norm, swish, 3x3 convolution, twice, beside a shortcut."""

    def __init__(self, cfg: TokenizerConfig, inputs: int, outputs: int, *, rngs: nnx.Rngs):
        self.norm1 = _norm(cfg, inputs, rngs)
        self.conv1 = _conv(cfg, inputs, outputs, 3, rngs, bias=False)
        self.norm2 = _norm(cfg, outputs, rngs)
        self.conv2 = _conv(cfg, outputs, outputs, 3, rngs, bias=False)
        self.from_branch = cfg.shortcut == "branch"
        self.changes_width = inputs != outputs
        if self.changes_width:
            start = outputs if self.from_branch else inputs
            self.shortcut = _conv(cfg, start, outputs, 1, rngs, bias=False)

    def __call__(self, x: Array) -> Array:  # [B, H, W, inputs] -> [B, H, W, outputs]
        y = self.conv1(jax.nn.swish(self.norm1(x)))
        y = self.conv2(jax.nn.swish(self.norm2(y)))
        if not self.changes_width:
            return x + y
        return y + self.shortcut(y if self.from_branch else x)


class Encoder(nnx.Module):
    """Images [B, S, S, 3] -> features [B, h, h, E]."""

    def __init__(self, cfg: TokenizerConfig, *, rngs: nnx.Rngs):
        widths = [cfg.filters * m for m in cfg.multipliers]
        self.conv_in = _conv(cfg, 3, cfg.filters, 3, rngs, bias=False)
        self.levels = nnx.Dict({})
        width = cfg.filters
        for i, next_width in enumerate(widths):
            level = nnx.Dict({"blocks": _blocks(cfg, width, next_width, rngs)})
            if cfg.conv_downsample and i + 1 < len(widths):
                level["down"] = _conv(cfg, next_width, next_width, 4, rngs, stride=2)
            self.levels[str(i)] = level
            width = next_width
        self.middle = _blocks(cfg, width, width, rngs)
        self.norm_out = _norm(cfg, width, rngs)
        self.conv_out = _conv(cfg, width, cfg.embedding, 1, rngs)

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
        self.conv_in = _conv(cfg, cfg.embedding, width, 3, rngs)
        self.middle = _blocks(cfg, width, width, rngs)
        self.levels = nnx.Dict({})
        for i in reversed(range(len(cfg.multipliers))):
            next_width = cfg.filters * cfg.multipliers[i]
            level = nnx.Dict({"blocks": _blocks(cfg, width, next_width, rngs)})
            if i > 0:
                level["up"] = _conv(cfg, next_width, next_width, 3, rngs)
            self.levels[str(i)] = level
            width = next_width
        self.norm_out = _norm(cfg, width, rngs)
        self.conv_out = _conv(cfg, width, 3, 3, rngs)

    def __call__(self, x: Array) -> Array:
        x = _run(self.middle, self.conv_in(x))
        for i in reversed(range(len(self.levels))):
            level = self.levels[str(i)]
            x = _run(level["blocks"], x)
            if "up" in level:
                x = jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
                x = level["up"](x)
        return self.conv_out(jax.nn.swish(self.norm_out(x)))


class Tokenizer(nnx.Module):
    """Images to codes and back."""

    def __init__(self, cfg: TokenizerConfig, *, rngs: nnx.Rngs):
        self.cfg = cfg
        self.encoder = Encoder(cfg, rngs=rngs)
        self.decoder = Decoder(cfg, rngs=rngs)
        # As spread out as the encoder's first features, or most codes would never be nearest.
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


def squared_distances(a: Array, b: Array) -> Array:
    """|a|² - 2 a·b + |b|² of rows, [..., E] and [V, E] -> [..., V].

    The sum of products runs at full precision: bfloat16 or TF32 would pick other codes.
    """
    product = jnp.einsum("...e,ve->...v", a, b, precision="highest")
    return jnp.sum(a**2, -1, keepdims=True) - 2 * product + jnp.sum(b**2, -1)


def _conv(cfg, inputs: int, outputs: int, size: int, rngs, *, stride=1, bias=True) -> nnx.Conv:
    return nnx.Conv(
        inputs,
        outputs,
        (size, size),
        strides=stride,
        padding="SAME",
        use_bias=bias,
        dtype=jnp.dtype(cfg.dtype),
        rngs=rngs,
    )


def _norm(cfg, width: int, rngs) -> nnx.GroupNorm:
    return nnx.GroupNorm(
        width, num_groups=cfg.groups, epsilon=1e-6, dtype=jnp.dtype(cfg.dtype), rngs=rngs
    )


def _blocks(cfg, inputs: int, outputs: int, rngs) -> nnx.Dict:
    widths = [inputs] + [outputs] * cfg.blocks
    return nnx.Dict(
        {str(i): ResBlock(cfg, widths[i], outputs, rngs=rngs) for i in range(cfg.blocks)}
    )


def _run(blocks: nnx.Dict, x: Array) -> Array:
    for i in range(len(blocks)):  # by number: a merged Dict is sorted by name, "10" before "2"
        x = blocks[str(i)](x)
    return x
