"""The VQGAN of Taming Transformers (arXiv 2012.09841), with the interface of `tokenizer.Tokenizer`.

Shapes: B batch, S image size, h = S / factor the latent size, E embedding, V codebook, C width.
Images are NHWC floats in [0, 1]; inside they lie in [-1, 1]. Height and width need only be
multiples of the factor, but `decode` takes codes of square images.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

from maskgit_prompt.models.attention import attention
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
class VQGANConfig(Pyramid):
    """Sizes of a VQGAN.

    Attributes:
      image_size: S.
      codebook, embedding: V and E.
      latent: channels between encoder or decoder and the 1x1 convolutions from and to E
        (the reference's z_channels).
      filters: width of the first level; level i has filters · multipliers[i].
      multipliers: one per level; each level but the last halves the image.
      blocks: residual blocks per level on the way down; one more on the way up.
      attention: the levels with attention after each residual block. The reference names sizes
        instead: its resolution 256 with attn_resolutions [16] is level 4.
      quantizer: "nearest", the nearest code, or "gumbel", the code of the largest logit.
      groups: of the group norms; divides every width.
      dtype: of the computation; distances and logits stay float32.
    """

    image_size: int = 256
    codebook: int = 1024
    embedding: int = 256
    latent: int = 256
    filters: int = 128
    multipliers: tuple[int, ...] = (1, 1, 2, 2, 4)
    blocks: int = 2
    attention: tuple[int, ...] = (4,)
    quantizer: str = "nearest"
    groups: int = 32
    dtype: str = "float32"

    def __post_init__(self):
        super().__post_init__()
        if self.quantizer not in ("nearest", "gumbel"):
            raise ValueError(f"quantizer {self.quantizer!r}, expected 'nearest' or 'gumbel'")
        if not set(self.attention) <= set(range(len(self.multipliers))):
            raise ValueError(
                f"attention at levels {self.attention}, expected some of 0 to "
                f"{len(self.multipliers) - 1}"
            )
        odd = [self.filters * m for m in self.multipliers if self.filters * m % self.groups]
        if odd:
            raise ValueError(f"levels are {odd} wide, expected multiples of groups {self.groups}")
        if self.quantizer == "gumbel" and self.latent != self.embedding:
            # The reference applies a convolution made for z_channels to E channels.
            raise ValueError(
                f"the gumbel quantizer needs latent {self.latent} equal to embedding "
                f"{self.embedding}"
            )


# Sizes of published models. A checkpoint's own shapes (importers.taming.vqgan_config) decide, never
# this table. The published config files were not at hand; these sizes come from:
# f16 1024: configs/imagenet_vqgan.yaml of CompVis/taming-transformers.
# f16 16384: a copy of its config on huggingface.co, eminorhan/gpt_saycam.
# f8 16384: first stage of configs/latent-diffusion/cin-ldm-vq-f8.yaml of CompVis/latent-diffusion,
# whose f8 weights are those of taming's table (CompVis/taming-transformers#174).
# f8 256: NOT ESTABLISHED beyond its codes and E = 4: a copy of unknown origin, equal to f8 16384
# except for the codes.
# f8 gumbel: the published config as quoted in CompVis/taming-transformers#67.
_F8 = {"multipliers": (1, 2, 2, 4), "attention": (3,), "latent": 4, "embedding": 4}
CONFIGS = {
    "taming_f16_1024": VQGANConfig(codebook=1024),
    "taming_f16_16384": VQGANConfig(codebook=16384),
    "taming_f8_256": VQGANConfig(codebook=256, **_F8),
    "taming_f8_16384": VQGANConfig(codebook=16384, **_F8),
    "taming_f8_gumbel_8192": VQGANConfig(
        codebook=8192, multipliers=(1, 1, 2, 4), attention=(3,), quantizer="gumbel"
    ),
}


class Attention(nnx.Module):
    """Single-head self-attention over all positions, added to its input."""

    def __init__(self, cfg: VQGANConfig, width: int, *, rngs: nnx.Rngs):
        project = lambda: nnx.Linear(width, width, dtype=jnp.dtype(cfg.dtype), rngs=rngs)
        self.norm = norm(cfg, width, rngs)
        self.query, self.key, self.value, self.out = project(), project(), project(), project()

    def __call__(self, x: Array) -> Array:  # [B, H, W, C] -> [B, H, W, C]
        y = self.norm(x).reshape(len(x), -1, 1, x.shape[-1])  # [B, H·W, 1, C]: one head
        # A head of 512 at the published sizes: wider than fused kernels support.
        y = attention(self.query(y), self.key(y), self.value(y), implementation="xla")
        return x + self.out(y.reshape(x.shape))


class Blocks(nnx.Module):
    """Residual blocks of one width; block i is followed by attention if i is in `attention`."""

    def __init__(
        self,
        cfg: VQGANConfig,
        inputs: int,
        outputs: int,
        count: int,
        *,
        attention: range = range(0),
        rngs: nnx.Rngs,
    ):
        widths = [inputs] + [outputs] * count
        block = lambda i: ResBlock(cfg, widths[i], outputs, shortcut="input", bias=True, rngs=rngs)
        self.blocks = nnx.Dict({str(i): block(i) for i in range(count)})
        self.attention = nnx.Dict({str(i): Attention(cfg, outputs, rngs=rngs) for i in attention})

    def __call__(self, x: Array) -> Array:  # [B, H, W, inputs] -> [B, H, W, outputs]
        for i in range(len(self.blocks)):
            x = self.blocks[str(i)](x)
            if str(i) in self.attention:
                x = self.attention[str(i)](x)
        return x


class DownLevel(Blocks):
    """A level's blocks; then, except for the last level, half the size."""

    def __init__(self, cfg: VQGANConfig, level: int, inputs: int, *, rngs: nnx.Rngs):
        outputs = cfg.filters * cfg.multipliers[level]
        attention = range(cfg.blocks if level in cfg.attention else 0)
        super().__init__(cfg, inputs, outputs, cfg.blocks, attention=attention, rngs=rngs)
        if level + 1 < len(cfg.multipliers):
            # Zeros at the bottom and right only, unlike SAME.
            pads = ((0, 1), (0, 1))
            self.down = conv(cfg, outputs, outputs, 3, rngs, stride=2, padding=pads)

    def __call__(self, x: Array) -> Array:  # [B, H, W, inputs] -> [B, H/2, W/2, outputs]
        x = super().__call__(x)
        return self.down(x) if hasattr(self, "down") else x


class UpLevel(Blocks):
    """A level's blocks, one more than on the way down; then, except for level 0, twice the size."""

    def __init__(self, cfg: VQGANConfig, level: int, inputs: int, *, rngs: nnx.Rngs):
        outputs, count = cfg.filters * cfg.multipliers[level], cfg.blocks + 1
        attention = range(count if level in cfg.attention else 0)
        super().__init__(cfg, inputs, outputs, count, attention=attention, rngs=rngs)
        if level > 0:
            self.up = conv(cfg, outputs, outputs, 3, rngs)

    def __call__(self, x: Array) -> Array:  # [B, H, W, inputs] -> [B, 2 H, 2 W, outputs]
        x = super().__call__(x)
        return self.up(double(x)) if hasattr(self, "up") else x


class Encoder(nnx.Module):
    """Images [B, S, S, 3] in [-1, 1] -> [B, h, h, latent]."""

    def __init__(self, cfg: VQGANConfig, *, rngs: nnx.Rngs):
        self.conv_in = conv(cfg, 3, cfg.filters, 3, rngs)
        self.levels = nnx.Dict({})
        width = cfg.filters
        for i, multiplier in enumerate(cfg.multipliers):
            self.levels[str(i)] = DownLevel(cfg, i, width, rngs=rngs)
            width = cfg.filters * multiplier
        self.middle = Blocks(cfg, width, width, 2, attention=range(1), rngs=rngs)
        self.norm_out = norm(cfg, width, rngs)
        self.conv_out = conv(cfg, width, cfg.latent, 3, rngs)

    def __call__(self, x: Array) -> Array:
        x = self.conv_in(x)
        for i in range(len(self.levels)):  # by number: a merged Dict is sorted by name
            x = self.levels[str(i)](x)
        x = self.middle(x)
        return self.conv_out(jax.nn.swish(self.norm_out(x)))


class Decoder(nnx.Module):
    """[B, h, h, latent] -> images [B, S, S, 3] in [-1, 1], unclipped."""

    def __init__(self, cfg: VQGANConfig, *, rngs: nnx.Rngs):
        width = cfg.filters * cfg.multipliers[-1]
        self.conv_in = conv(cfg, cfg.latent, width, 3, rngs)
        self.middle = Blocks(cfg, width, width, 2, attention=range(1), rngs=rngs)
        self.levels = nnx.Dict({})
        for i in reversed(range(len(cfg.multipliers))):
            self.levels[str(i)] = UpLevel(cfg, i, width, rngs=rngs)
            width = cfg.filters * cfg.multipliers[i]
        self.norm_out = norm(cfg, width, rngs)
        self.conv_out = conv(cfg, width, 3, 3, rngs)

    def __call__(self, x: Array) -> Array:
        x = self.middle(self.conv_in(x))
        for i in reversed(range(len(self.levels))):
            x = self.levels[str(i)](x)
        return self.conv_out(jax.nn.swish(self.norm_out(x)))


class VQGAN(nnx.Module):
    """Images to codes and back.

    The nearest quantizer is tested against the reference's outputs. The gumbel one (GumbelVQ) was
    written from the reference's code: logits by a 1x1 convolution of the features, a table of
    codes, and the same encoder and decoder. Its outputs were not compared. In the reference every
    forward pass adds Gumbel noise to the logits, in evaluation too, so its codes are draws from
    softmax(logits); here they are the most probable ones.
    """

    def __init__(self, cfg: VQGANConfig, *, rngs: nnx.Rngs):
        self.cfg = cfg
        self.encoder = Encoder(cfg, rngs=rngs)
        self.before = conv(cfg, cfg.latent, cfg.embedding, 1, rngs)  # quant_conv
        self.after = conv(cfg, cfg.embedding, cfg.latent, 1, rngs)  # post_quant_conv
        self.decoder = Decoder(cfg, rngs=rngs)
        shape = (cfg.codebook, cfg.embedding)
        if cfg.quantizer == "gumbel":
            self.logits = nnx.Linear(*reversed(shape), precision="highest", rngs=rngs)
            self.codebook = nnx.Param(jax.random.normal(rngs.params(), shape))
        else:
            start = jax.random.uniform(rngs.params(), shape, minval=-1, maxval=1)
            self.codebook = nnx.Param(start / cfg.codebook)

    def features(self, images: Array) -> Array:
        """What is quantized, float32: [B, S, S, 3] -> [B, h, h, E]."""
        return self.before(self.encoder(2 * images - 1)).astype(jnp.float32)

    def distances(self, features: Array) -> Array:
        """Squared distances to all codes, or minus their logits, [B, h, h, E] -> [B, h, h, V]."""
        if self.cfg.quantizer == "gumbel":
            return -self.logits(features)
        return squared_distances(features, self.codebook[...])

    def nearest(self, features: Array) -> Array:
        """Index of the code of least distance, the first among equals, -> [B, h, h] int32."""
        return jnp.argmin(self.distances(features), axis=-1).astype(jnp.int32)

    def encode(self, images: Array) -> Array:
        """Images [B, S, S, 3] -> codes [B, L] int32 in raster order."""
        return self.nearest(self.features(images)).reshape(len(images), -1)

    def decode_features(self, features: Array) -> Array:
        """Codes' embeddings [B, h, h, E] -> images [B, S, S, 3], unclipped."""
        return (self.decoder(self.after(features)).astype(jnp.float32) + 1) / 2

    def decode(self, codes: Array) -> Array:
        """Codes [B, L] of square images -> images [B, S, S, 3], unclipped."""
        side = round(codes.shape[1] ** 0.5)
        return self.decode_features(self.codebook[...][codes.reshape(-1, side, side)])


# Convolutions are small compared to their images, so every device holds them whole.
AXES = (
    (r"codebook", ("codes", "latent")),
    (r".*(kernel|bias|scale)", None),
)
KIND = Kind("tokenizer", "vqgan", VQGANConfig, VQGAN, AXES, project="Taming Transformers")
