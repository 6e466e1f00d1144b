"""The Inception network of FID: a classifier whose features most published distances are taken in.

Inception-v3 (arXiv 1512.00567) as TensorFlow published it in December 2015 and as every FID tool
has run it since. It is not torchvision's Inception-v3: it has 1,008 logits, its average pools do
not count padding, the pool of the last block is a maximum, and images are not normalized by
ImageNet's mean. Norms have epsilon 1e-3. Weights are imported by `importers.inception`.

Shapes: B batch, H, W image size, C channels, NHWC.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

from maskgit_prompt.models.kind import Kind
from maskgit_prompt.models.resizing import CONVENTIONS, resized, scaled
from maskgit_prompt.models.resnet import FrozenNorm

Array = jax.Array

SIDE = 299  # of the images that the network takes
FEATURES = 2048
SPATIAL = 7  # channels of sFID's tap
SPATIAL_FEATURES = 17 * 17 * SPATIAL
EPSILON = 1e-3

# Pools, in front of a branch's convolutions or in the stem.
AVERAGE, MAX, HALVING = "average", "max", "halving"


@dataclasses.dataclass(frozen=True)
class Conv:
    """A convolution without bias, a norm and ReLU.

    Attributes:
      width: C behind it.
      size: height and width of the kernel.
      halves: a stride of 2, without padding.
      padded: whether the size stays; a convolution that halves is never padded.
    """

    width: int
    size: tuple[int, int] = (1, 1)
    halves: bool = False
    padded: bool = True


@dataclasses.dataclass(frozen=True)
class Branch:
    """Convolutions one after the other.

    Attributes:
      convs: in their order.
      pool: in front of them: AVERAGE, MAX, HALVING or none.
      forks: with more than one, these take the last activations side by side.
    """

    convs: tuple[Conv, ...] = ()
    pool: str = ""
    forks: tuple[Conv, ...] = ()


def _a(pool: int) -> dict[str, Branch]:
    """Blocks of 35 x 35 positions."""
    three = Conv(96, (3, 3))
    return {
        "1x1": Branch((Conv(64),)),
        "5x5": Branch((Conv(48), Conv(64, (5, 5)))),
        "3x3_3x3": Branch((Conv(64), three, three)),
        "pool": Branch((Conv(pool),), AVERAGE),
    }


def _c(inside: int) -> dict[str, Branch]:
    """Blocks of 17 x 17 positions."""
    row, column = Conv(inside, (1, 7)), Conv(inside, (7, 1))
    return {
        "1x1": Branch((Conv(192),)),
        "7x7": Branch((Conv(inside), row, Conv(192, (7, 1)))),
        "7x7_7x7": Branch((Conv(inside), column, row, column, Conv(192, (1, 7)))),
        "pool": Branch((Conv(192),), AVERAGE),
    }


def _e(pool: str) -> dict[str, Branch]:
    """Blocks of 8 x 8 positions."""
    forks = (Conv(384, (1, 3)), Conv(384, (3, 1)))
    return {
        "1x1": Branch((Conv(320),)),
        "3x3": Branch((Conv(384),), forks=forks),
        "3x3_3x3": Branch((Conv(448), Conv(384, (3, 3))), forks=forks),
        "pool": Branch((Conv(192),), pool),
    }


# Convolutions, and pools that halve, in front of the blocks.
STEM = (
    Conv(32, (3, 3), halves=True),
    Conv(32, (3, 3), padded=False),
    Conv(64, (3, 3)),
    HALVING,
    Conv(80),
    Conv(192, (3, 3), padded=False),
    HALVING,
)
BLOCKS = {
    "5b": _a(32),
    "5c": _a(64),
    "5d": _a(64),
    "6a": {
        "3x3": Branch((Conv(384, (3, 3), halves=True),)),
        "3x3_3x3": Branch((Conv(64), Conv(96, (3, 3)), Conv(96, (3, 3), halves=True))),
        "pool": Branch(pool=HALVING),
    },
    "6b": _c(128),
    "6c": _c(160),
    "6d": _c(160),
    "6e": _c(192),
    "7a": {
        "3x3": Branch((Conv(192), Conv(320, (3, 3), halves=True))),
        "7x7_3x3": Branch(
            (Conv(192), Conv(192, (1, 7)), Conv(192, (7, 1)), Conv(192, (3, 3), halves=True))
        ),
        "pool": Branch(pool=HALVING),
    },
    "7b": _e(AVERAGE),
    "7c": _e(MAX),
}


@dataclasses.dataclass(frozen=True)
class InceptionConfig:
    """What the network is given and gives; its sizes are published and fixed.

    Attributes:
      logits: how many.
      resize: how images are brought to 299 x 299, of `resizing.CONVENTIONS`.
    """

    logits: int = 1008
    resize: str = "legacy_pytorch"

    def __post_init__(self):
        if self.resize not in CONVENTIONS:
            raise ValueError(f"resize {self.resize!r}, expected {', '.join(CONVENTIONS)}")

    @property
    def features(self) -> int:
        """F of the features."""
        return FEATURES


class Layer(nnx.Module):
    """One Conv."""

    def __init__(self, conv: Conv, inputs: int, *, rngs: nnx.Rngs):
        self.conv = nnx.Conv(
            inputs,
            conv.width,
            conv.size,
            strides=2 if conv.halves else 1,
            padding="SAME" if conv.padded and not conv.halves else "VALID",
            use_bias=False,
            precision="highest",  # bfloat16 or TF32 would give other features
            rngs=rngs,
        )
        self.norm = FrozenNorm(conv.width, EPSILON)

    def __call__(self, x: Array) -> Array:  # [B, H, W, inputs] -> [B, H', W', width]
        return jax.nn.relu(self.norm(self.conv(x)))


class Row(nnx.Module):
    """One Branch."""

    def __init__(self, branch: Branch, inputs: int, *, rngs: nnx.Rngs):
        self.pool = branch.pool
        widths = (inputs, *(conv.width for conv in branch.convs))
        layers = lambda convs, inputs: nnx.Dict(
            {
                str(i): Layer(conv, width, rngs=rngs)
                for i, (conv, width) in enumerate(zip(convs, inputs, strict=True))
            }
        )
        self.convs = layers(branch.convs, widths[:-1])
        self.forks = layers(branch.forks, [widths[-1]] * len(branch.forks))
        self.width = sum(conv.width for conv in branch.forks) or widths[-1]

    def __call__(self, x: Array) -> Array:  # [B, H, W, inputs] -> [B, H', W', width]
        x = pooled(x, self.pool) if self.pool else x
        for i in range(len(self.convs)):
            x = self.convs[str(i)](x)
        if not self.forks:
            return x
        return jnp.concatenate([self.forks[str(i)](x) for i in range(len(self.forks))], -1)


class Block(nnx.Module):
    """Branches side by side, their channels in the order of the table."""

    def __init__(self, branches: dict[str, Branch], inputs: int, *, rngs: nnx.Rngs):
        self.order = tuple(branches)
        self.rows = nnx.Dict({k: Row(branch, inputs, rngs=rngs) for k, branch in branches.items()})
        self.width = sum(row.width for row in self.rows.values())

    def __call__(self, x: Array) -> tuple[Array, Array]:
        """[B, H, W, inputs] -> ([B, H', W', width], the first branch's part of it)."""
        found = [self.rows[name](x) for name in self.order]
        return jnp.concatenate(found, -1), found[0]


class Inception(nnx.Module):
    """Images [B, H, W, 3] in [0, 1] -> logits [B, 1008]."""

    def __init__(self, cfg: InceptionConfig, *, rngs: nnx.Rngs):
        self.cfg = cfg
        stem, width = {}, 3
        for i, step in enumerate(STEM):
            if step != HALVING:
                stem[str(i)] = Layer(step, width, rngs=rngs)
                width = step.width
        self.stem = nnx.Dict(stem)
        blocks = {}
        for name, branches in BLOCKS.items():
            blocks[name] = Block(branches, width, rngs=rngs)
            width = blocks[name].width
        self.blocks = nnx.Dict(blocks)
        self.head = nnx.Linear(width, cfg.logits, precision="highest", rngs=rngs)

    def prepared(self, images: Array) -> Array:
        """Images [B, H, W, 3] in [0, 1] -> [B, 299, 299, 3] as `taps` takes them."""
        return scaled(resized(images * 255, SIDE, self.cfg.resize), self.cfg.resize)

    def taps(self, x: Array) -> dict[str, Array]:
        """The maps that FID's tools look at, by their number of channels.

        x: prepared images [B, 299, 299, 3]. Returns "64" [B, 73, 73, 64], "192" [B, 35, 35, 192],
        "768" [B, 17, 17, 768], "2048" [B, 8, 8, 2048], and sFID's "spatial" [B, 17, 17, 7].
        """
        found = {}
        for i, step in enumerate(STEM):
            if step == HALVING:
                x = pooled(x, HALVING)
                found[str(x.shape[-1])] = x
            else:
                x = self.stem[str(i)](x)
        for name in BLOCKS:
            x, first = self.blocks[name](x)
            if name == "6d":
                found["spatial"] = first[..., :SPATIAL]
            if name in ("6e", "7c"):
                found[str(x.shape[-1])] = x
        return found

    def seen(self, images: Array) -> dict[str, Array]:
        """All that scores need of images [B, H, W, 3] in [0, 1], in one pass.

        Returns "features" [B, 2048], "spatial" [B, 2023] and "logits" [B, 1008] without the bias,
        which the Inception Score leaves out.
        """
        taps = self.taps(self.prepared(images))
        features = jnp.mean(taps["2048"], (1, 2))
        return {
            "features": features,
            "spatial": taps["spatial"].reshape(len(images), -1),
            "logits": self.logits(features, bias=False),
        }

    def features(self, images: Array) -> Array:
        """Images [B, H, W, 3] in [0, 1] -> features [B, 2048], called pool3."""
        return jnp.mean(self.taps(self.prepared(images))["2048"], (1, 2))

    def logits(self, features: Array, *, bias: bool = True) -> Array:
        """Features [B, 2048] -> logits [B, 1008]."""
        if bias:
            return self.head(features)
        return jnp.dot(features, self.head.kernel[...], precision="highest")

    def __call__(self, images: Array) -> Array:
        return self.logits(self.features(images))


def pooled(x: Array, pool: str) -> Array:
    """3 x 3 windows of [B, H, W, C]: AVERAGE and MAX keep H and W, HALVING halves them.

    AVERAGE divides by the pixels that there are: 1, 2, 6 in a row become 1.5, 3, 4.
    """
    if pool == AVERAGE:
        return nnx.avg_pool(x, (3, 3), (1, 1), "SAME", count_include_pad=False)
    if pool == MAX:
        return nnx.max_pool(x, (3, 3), (1, 1), "SAME")
    return nnx.max_pool(x, (3, 3), (2, 2))


AXES = ((r".*(kernel|bias|scale|mean|variance)", None),)
KIND = Kind("features", "inception", InceptionConfig, Inception, AXES)
