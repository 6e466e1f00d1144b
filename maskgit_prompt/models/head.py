"""The classifier that stands on a frozen encoder's features.

Shapes: B batch, D width of the features, C classes.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
from flax import nnx

from maskgit_prompt.models.layers import dropout

Array = jax.Array

RARE = 0.01  # the probability of each class that the biases start at
EPSILON = 1e-5  # of the hidden layers' norms


@dataclasses.dataclass(frozen=True)
class HeadConfig:
    """Sizes of a classifier.

    Attributes:
      width: D.
      classes: C.
      hidden: how many hidden layers of width D come first, each followed by ReLU, a norm of the
        batch and dropout. arXiv 2203.12119 calls a head with two of them Mlp-3.
      dropout: rate behind each hidden layer, in training only.
    """

    width: int
    classes: int
    hidden: int = 0
    dropout: float = 0.1

    def __post_init__(self):
        for name, least in (("width", 1), ("classes", 1), ("hidden", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} = {getattr(self, name)}, expected at least {least}")


class Norm(nnx.Module):
    """Batch normalization, [B, D] -> [B, D].

    Training normalizes by the batch's own mean and variance; afterwards stored averages of them do,
    which have no gradient.
    """

    def __init__(self, width: int):
        self.scale = nnx.Param(jnp.ones(width))
        self.bias = nnx.Param(jnp.zeros(width))
        self.mean = nnx.Param(jnp.zeros(width))
        self.variance = nnx.Param(jnp.ones(width))

    def __call__(self, x: Array, training: bool) -> Array:
        if training:
            mean, variance = jnp.mean(x, axis=0), jnp.var(x, axis=0)
        else:
            mean = jax.lax.stop_gradient(self.mean[...])
            variance = jax.lax.stop_gradient(self.variance[...])
        return (x - mean) / jnp.sqrt(variance + EPSILON) * self.scale + self.bias


class Head(nnx.Module):
    """Features [B, D] -> logits [B, C] float32."""

    def __init__(self, cfg: HeadConfig, *, rngs: nnx.Rngs):
        self.cfg = cfg
        # Kaiming's normal initializer by outputs, as the reference implementation has it.
        init = nnx.initializers.variance_scaling(2.0, "fan_out", "normal")
        dense = lambda outputs: nnx.Linear(cfg.width, outputs, kernel_init=init, rngs=rngs)
        self.hidden = nnx.Dict({str(i): dense(cfg.width) for i in range(cfg.hidden)})
        self.norms = nnx.Dict({str(i): Norm(cfg.width) for i in range(cfg.hidden)})
        self.out = dense(cfg.classes)
        self.out.bias[...] = jnp.full(cfg.classes, math.log(RARE / (1 - RARE)))

    def __call__(self, x: Array, key: Array | None = None) -> Array:
        """A key means training: hidden layers drop values and normalize by the batch."""
        keys = [None] * self.cfg.hidden
        if key is not None:
            keys = list(jax.random.split(key, self.cfg.hidden))
        for i, one in enumerate(keys):
            x = jax.nn.relu(self.hidden[str(i)](x))
            x = self.norms[str(i)](x, training=key is not None)
            x = dropout(x, self.cfg.dropout, one)
        return self.out(x.astype(jnp.float32))
