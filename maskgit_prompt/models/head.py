"""The classifier that stands on a frozen encoder's features.

Shapes: B batch, D width of the features, C classes.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
from flax import nnx

from maskgit_prompt.models.kind import Axes
from maskgit_prompt.models.layers import dropout

Array = jax.Array

RARE = 0.01  # the probability of each class that the biases start at
EPSILON = 1e-5  # of the hidden layers' norms
MOMENTUM = 0.1  # share of a batch in the norms' averages
# Parameters that training renews without a gradient.
STATS = r"norms/.*/(mean|variance)"


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

    def __call__(self, x: Array) -> Array:
        return self._normalized(
            x, *map(jax.lax.stop_gradient, (self.mean[...], self.variance[...]))
        )

    def train(self, x: Array) -> tuple[Array, dict[str, Array]]:
        """(by the batch's own mean and variance, the averages renewed).

        As in PyTorch the average is of the variance with n - 1, and the norm takes that with n.
        """
        mean, variance = jnp.mean(x, axis=0), jnp.var(x, axis=0)
        batch = {"mean": mean, "variance": variance * len(x) / max(1, len(x) - 1)}
        renewed = lambda old, new: (1 - MOMENTUM) * old + MOMENTUM * jax.lax.stop_gradient(new)
        stats = {name: renewed(getattr(self, name)[...], x) for name, x in batch.items()}
        return self._normalized(x, mean, variance), stats

    def _normalized(self, x: Array, mean: Array, variance: Array) -> Array:
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

    def __call__(self, x: Array) -> Array:
        for i in map(str, range(self.cfg.hidden)):
            x = self.norms[i](jax.nn.relu(self.hidden[i](x)))
        return self.out(x.astype(jnp.float32))

    def train(self, x: Array, key: Array) -> tuple[Array, dict]:
        """(logits, new values of the parameters that STATS matches), as training sees them.

        Hidden layers drop values, and normalize by the batch.
        """
        stats = {}
        for i in range(self.cfg.hidden):
            x, stats[str(i)] = self.norms[str(i)].train(jax.nn.relu(self.hidden[str(i)](x)))
            x = dropout(x, self.cfg.dropout, jax.random.fold_in(key, i))
        return self.out(x.astype(jnp.float32)), {"norms": stats} if stats else {}


# On every device, as the prompt is.
AXES: Axes = ((r".*", None),)
