"""A codebook that follows the features it stands for, without a gradient.

Each code is the moving average of the features that chose it (arXiv 1711.00937, appendix A.1).
Codes that hardly any feature chooses are given a feature of the batch to start again from.
"""

import dataclasses

import jax
import jax.numpy as jnp

from maskgit_prompt.params import Tree

Array = jax.Array
# Paths of what the loss renews, see tuning.tune.Examples.stats.
STATS = ("tokenizer/codebook", "usage/.*")


@dataclasses.dataclass(frozen=True)
class MovingAverage:
    """How the codebook is averaged.

    Attributes:
      decay: of the averages, below 1.
      revive: a code that fewer features than this choose, on average in a step, starts again from a
        random feature; 0: none does.
    """

    decay: float
    revive: float = 0.0

    def usage(self, codebook: Array) -> Tree:
        """The averages before the first step: each code chosen once, by itself."""
        return {"count": jnp.ones(len(codebook)), "sum": jnp.asarray(codebook)}

    def renewed(
        self, codebook: Array, usage: Tree, features: Array, chosen: Array, key: Array
    ) -> tuple[Array, Tree]:
        """(codebook [V, E], usage) after a batch.

        With a decay of 0.5, a code 2 that was chosen once and is now chosen by 4 and by 6: count
        0.5 · 1 + 0.5 · 2 = 1.5, sum 0.5 · 2 + 0.5 · 10 = 6, the code becomes 6 / 1.5 = 4.

        Args:
          features: [n, E], of the whole batch; chosen: [n] the code of each.
        """
        taken = jax.nn.one_hot(chosen, len(codebook), dtype=jnp.float32)  # [n, V]
        mix = lambda old, new: self.decay * old + (1 - self.decay) * new
        count = mix(usage["count"], jnp.sum(taken, 0))
        total = mix(usage["sum"], taken.T @ features)
        if self.revive:
            rows = jax.random.randint(key, (len(codebook),), 0, len(features))
            dead = count < self.revive
            total = jnp.where(dead[:, None], features[rows], total)
            count = jnp.where(dead, 1.0, count)
        # A code that nothing chooses any more stays where it is: both averages fade alike.
        renewed = total / jnp.maximum(count, 1e-12)[:, None]
        return renewed, {"count": count, "sum": total}
