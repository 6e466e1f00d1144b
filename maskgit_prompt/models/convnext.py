"""ConvNeXt (arXiv 2201.03545) as a frozen encoder, with a frame of pixels (arXiv 2203.12119).

Shapes: B batch, S image size, R cells a side at a stage, D width at a stage, NHWC.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

from maskgit_prompt.models.kind import Axes, Kind
from maskgit_prompt.models.layers import Mlp, Pin, as_it_is, kernel_init, patch_embedding
from maskgit_prompt.models.pixel_prompt import in_frame
from maskgit_prompt.models.prompts import Prompt

Array = jax.Array

EPSILON = 1e-6
PATCH = 4  # pixels a side that become a cell of the first stage
KERNEL = 7  # cells a side that a block sees
RATIO = 4  # hidden width of the MLPs, in multiples of D
SCALE = 1e-6  # what a block's output is multiplied by at first


@dataclasses.dataclass(frozen=True)
class ConvNeXtConfig:
    """Sizes of a ConvNeXt.

    Attributes:
      image_size: S.
      width: D of the first stage; each further stage has twice as much, on half the side.
      layers: blocks by stage.
      mean, std: as in `vit.ViTConfig`.
      dtype: of activations; parameters stay float32.
      remat: recompute each block in the backward pass.
    """

    image_size: int = 224
    width: int = 96
    layers: tuple[int, ...] = (3, 3, 9, 3)
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    dtype: str = "float32"
    remat: bool = False

    def __post_init__(self):
        for name in ("layers", "mean", "std"):  # in a file they are lists
            object.__setattr__(self, name, tuple(getattr(self, name)))
        least = PATCH * 2 ** (len(self.layers) - 1)
        if self.image_size < least:
            raise ValueError(f"images of {self.image_size}, expected at least {least}")

    @property
    def widths(self) -> tuple[int, ...]:
        """D by stage."""
        return tuple(self.width * 2**stage for stage in range(len(self.layers)))

    @property
    def features(self) -> int:
        """D of the features."""
        return self.widths[-1]


# arXiv 2201.03545, section 3.
CONFIGS = {
    "T": ConvNeXtConfig(),
    "S": ConvNeXtConfig(layers=(3, 3, 27, 3)),
    "B": ConvNeXtConfig(width=128, layers=(3, 3, 27, 3)),
    "L": ConvNeXtConfig(width=192, layers=(3, 3, 27, 3)),
}


def _norm(width: int, dtype: jnp.dtype, rngs: nnx.Rngs) -> nnx.LayerNorm:
    return nnx.LayerNorm(width, epsilon=EPSILON, dtype=dtype, rngs=rngs)


class Block(nnx.Module):
    """x += scales * mlp(LN(each channel's own 7x7 convolution of x)); the GELU is exact."""

    def __init__(self, width: int, dtype: jnp.dtype, *, rngs: nnx.Rngs):
        edge = KERNEL // 2
        self.depthwise = nnx.Conv(
            width,
            width,
            (KERNEL, KERNEL),
            padding=((edge, edge), (edge, edge)),
            feature_group_count=width,
            dtype=dtype,
            kernel_init=kernel_init,
            rngs=rngs,
        )
        self.norm = _norm(width, dtype, rngs)
        self.mlp = Mlp(width, RATIO * width, approximate=False, dtype=dtype, rngs=rngs)
        self.scales = nnx.Param(jnp.full(width, SCALE))

    def __call__(self, x: Array) -> Array:  # [B, R, R, D] -> the same
        y = self.mlp(self.norm(self.depthwise(x)))
        return x + self.scales.astype(x.dtype) * y


class Merge(nnx.Module):
    """Norm, and each 2 x 2 cells to one of twice the width; the last of odd rows is left out."""

    def __init__(self, width: int, dtype: jnp.dtype, *, rngs: nnx.Rngs):
        self.norm = _norm(width, dtype, rngs)
        self.reduction = patch_embedding(2 * width, 2, dtype, rngs, channels=width)

    def __call__(self, x: Array) -> Array:  # [B, R, R, D] -> [B, R // 2, R // 2, 2 D]
        return self.reduction(self.norm(x))


class Stage(nnx.Module):
    """Blocks, stacked along a leading dimension, and what leads to the next stage, if there is."""

    def __init__(self, width: int, blocks: int, last: bool, dtype: jnp.dtype, *, rngs: nnx.Rngs):
        self.blocks = jax.vmap(lambda rngs: Block(width, dtype, rngs=rngs))(rngs.split(blocks))
        if not last:
            self.merge = Merge(width, dtype, rngs=rngs)


class ConvNeXt(nnx.Module):
    """Images [B, S, S, 3], normalized as the backbone's were, -> features [B, D]."""

    def __init__(self, cfg: ConvNeXtConfig, *, rngs: nnx.Rngs):
        self.cfg = cfg
        dtype, last = jnp.dtype(cfg.dtype), len(cfg.layers) - 1
        self.patches = patch_embedding(cfg.width, PATCH, dtype, rngs)
        self.patch_norm = _norm(cfg.width, dtype, rngs)
        self.stages = nnx.Dict(
            {
                str(i): Stage(width, count, i == last, dtype, rngs=rngs)
                for i, (width, count) in enumerate(zip(cfg.widths, cfg.layers, strict=True))
            }
        )
        self.norm = _norm(cfg.features, dtype, rngs)

    def __call__(
        self, images: Array, prompt: Prompt | None = None, *, pin: Pin = as_it_is
    ) -> Array:
        """[B, S, S, 3] -> features [B, D of the last stage] float32.

        Args:
          prompt: a frame around the images.
          pin: called with every stage's output; fixes where it lies on a mesh.

        Raises:
          ValueError: a prompt of another place.
        """
        x = self.patch_norm(self.patches(in_frame(images, prompt)))  # [B, R, R, D]
        run = lambda x, block: (block(x), None)
        if self.cfg.remat:
            run = jax.checkpoint(run, prevent_cse=False)
        for i in range(len(self.stages)):
            stage = self.stages[str(i)]
            x = pin(jax.lax.scan(run, x, stage.blocks)[0])
            if i < len(self.stages) - 1:
                x = stage.merge(x)
        return self.norm(x.mean(axis=(1, 2))).astype(jnp.float32)


_BLOCKS = r"stages/\d+/blocks/"
AXES: Axes = (
    (_BLOCKS + r"depthwise/kernel", ("layer", "height", "width", "inputs", "embed")),
    (_BLOCKS + r"mlp/up/kernel", ("layer", "embed", "mlp")),
    (_BLOCKS + r"mlp/up/bias", ("layer", "mlp")),
    (_BLOCKS + r"mlp/down/kernel", ("layer", "mlp", "embed")),
    (_BLOCKS + r"(.*/)?(bias|scale|scales)", ("layer", "embed")),
    (r"stages/\d+/merge/reduction/kernel", ("height", "width", "inputs", "embed")),
    (r".*", None),
)
KIND = Kind("encoder", "convnext", ConvNeXtConfig, ConvNeXt, AXES)
