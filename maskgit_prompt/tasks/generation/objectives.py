"""What a transformer learns to predict: hidden codes (masked) or the code that comes next (causal).

An objective makes a transformer's inputs of an image's codes and says which codes' predictions
count: (codes [B, L]) -> (inputs [B, L], weights [B, L] float32 of 0 and 1).
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from maskgit_prompt.decoding import schedules
from maskgit_prompt.tasks.generation import masking

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Masking:
    """Hidden codes are predicted from those that are left (arXiv 2202.04200, eq. 3).

    Attributes:
      schedule: maps (u [...], L) for u uniform in [0, 1) to the share of codes to hide.
      shared: one share for the whole batch, as the reference draws it.
      smoothing: label smoothing of the cross entropy.
      drop_class: pretraining: share of examples whose class is hidden.
    """

    schedule: Callable[[Array, int], Array]
    shared: bool = False
    smoothing: float = 0.0
    drop_class: float = 0.0

    def inputs(self, keys: Array, codes: Array) -> tuple[Array, Array]:
        """In training; keys: two."""
        rates = masking.draw_rates(keys[0], len(codes), self.schedule, codes.shape[1], self.shared)
        return masking.mask_codes(keys[1], codes, rates)

    def rounds(self, asked: int) -> int:
        """How many inputs of an image are scored in an evaluation."""
        return asked

    def evaluated(self, key: Array, codes: Array, r: Array, rounds: int) -> tuple[Array, Array]:
        """Round r of an evaluation.

        Shares are spread evenly: round r hides schedule((r + u) / rounds), u an image's own, the
        same in all rounds.
        """
        start = jax.random.uniform(jax.random.fold_in(key, rounds), (len(codes),))
        rates = self.schedule((r + start) / rounds, codes.shape[1])
        return masking.mask_codes(jax.random.fold_in(key, r), codes, rates)


@dataclasses.dataclass(frozen=True)
class NextCode:
    """Every code is predicted from those before it (arXiv 2012.09841, eq. 9).

    Attributes:
      codebook: how many image codes there are.
      keep: share of input codes that stay; the others become random codes, in the input alone
        (the reference's pkeep), so that a model learns to go on after a mistake of its own.
      smoothing: label smoothing of the cross entropy.
      drop_class: pretraining: share of examples whose class is hidden.
    """

    codebook: int
    keep: float = 1.0
    smoothing: float = 0.0
    drop_class: float = 0.0

    def inputs(self, keys: Array, codes: Array) -> tuple[Array, Array]:
        """In training; keys: two."""
        weights = jnp.ones(codes.shape)
        if self.keep == 1.0:
            return codes, weights
        kept = jax.random.bernoulli(keys[0], self.keep, codes.shape)
        noise = jax.random.randint(keys[1], codes.shape, 0, self.codebook)
        return jnp.where(kept, codes, noise), weights

    def rounds(self, asked: int) -> int:
        """Nothing is drawn, so all rounds would be the same."""
        return 1

    def evaluated(self, key: Array, codes: Array, r: Array, rounds: int) -> tuple[Array, Array]:
        return codes, jnp.ones(codes.shape)


Objective = Masking | NextCode


def make_objective(config: ConfigDict, decoding: str, codebook: int) -> Objective:
    """What a transformer of a way of decoding (models.kind.Kind) learns, by the config's `masking`
    or `next_code`."""
    if decoding == "autoregressive":
        return NextCode(codebook, **config.next_code)
    options = dict(config.masking)
    return Masking(schedules.schedule(options.pop("schedule")), **options)
