"""Adapters: small bottlenecks behind each block's MLP (arXiv 2007.07779, Pfeiffer's place).

Shapes: B batch, S sequence, D width, R width of the bottleneck.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from flax import nnx

from maskgit_prompt.models.layers import kernel_init

Array = jax.Array

ACTIVATIONS = {"gelu": functools.partial(jax.nn.gelu, approximate=False), "relu": jax.nn.relu}


@dataclasses.dataclass(frozen=True)
class AdapterConfig:
    """Sizes of the adapters of a transformer.

    Attributes:
      width, layers: the transformer's D and depth.
      bottleneck: R.
      activation: "gelu", as in VPT's comparisons, or "relu", as in OFA's.
      dtype: of activations; parameters stay float32.
    """

    width: int
    layers: int
    bottleneck: int
    dtype: str = "float32"
    activation: str = "gelu"

    def __post_init__(self):
        if self.activation not in ACTIVATIONS:
            raise ValueError(
                f"activation = {self.activation!r}, expected one of {', '.join(ACTIVATIONS)}"
            )
        if not 1 <= self.bottleneck <= self.width:
            raise ValueError(f"bottleneck = {self.bottleneck}, expected 1 to the {self.width} wide")


class Adapter(nnx.Module):
    """x + up(activation(down(x))), [B, S, D] -> [B, S, D].

    `up` starts at zero, so tuning starts from the backbone itself. `down` starts at random: with
    both at zero no gradient but that of `up`'s bias would ever leave zero.
    """

    def __init__(self, cfg: AdapterConfig, *, rngs: nnx.Rngs):
        dtype = jnp.dtype(cfg.dtype)
        self.activation = cfg.activation
        self.down = nnx.Linear(
            cfg.width, cfg.bottleneck, dtype=dtype, kernel_init=kernel_init, rngs=rngs
        )
        self.up = nnx.Linear(
            cfg.bottleneck, cfg.width, dtype=dtype, kernel_init=nnx.initializers.zeros, rngs=rngs
        )

    def __call__(self, x: Array) -> Array:
        return x + self.up(ACTIVATIONS[self.activation](self.down(x)))


class Adapters(nnx.Module):
    """One adapter per layer, stacked: every parameter has a leading dimension of layers."""

    def __init__(self, cfg: AdapterConfig, *, rngs: nnx.Rngs):
        self.cfg = cfg
        self.layers = jax.vmap(lambda rngs: Adapter(cfg, rngs=rngs))(rngs.split(cfg.layers))
