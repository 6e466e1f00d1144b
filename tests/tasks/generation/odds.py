"""A transformer, a prompt's parameters and objectives whose losses can be worked out by hand.

There are two codes. A prompt is one token of two numbers, the log odds of code 0 against code 1:
classes, instances and the prompt without condition each bring a factor. Under odds 3 a hidden
code 0 has the probability 3/4 and the loss ln 4/3, a hidden code 1 the loss ln 4.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from maskgit_prompt import params
from maskgit_prompt.models.masked import MASK
from maskgit_prompt.models.prompt import PromptConfig, PromptGenerator
from maskgit_prompt.params import Tree

Array = jax.Array


class Odds(nnx.Module):
    """A transformer that says of hidden codes what the prompt says, and knows the others.

    Without a prompt the odds are class id + 2, so 1 for no class. With dropout and a key, nothing
    is left of its logits: every loss is ln 2.
    """

    def __init__(self, *, dropout: bool = False, rngs: nnx.Rngs):
        self.dropout = dropout
        self.factor = nnx.Param(jnp.ones(()))

    def code_logits(self, codes, prompt=None, class_ids=None, key=None, pin=None) -> Array:
        if prompt is None:
            log_odds = jnp.log(class_ids + 2.0)
            said = jnp.stack([log_odds, jnp.zeros_like(log_odds)], -1)  # [B, V]
        else:
            said = prompt.tokens[:, 0]  # [B, P, D] -> [B, V]
        known = 50.0 * jax.nn.one_hot(codes, 2)  # [B, L, V]
        logits = jnp.where((codes == MASK)[..., None], said[:, None], known)
        return 0 * logits if self.dropout and key is not None else self.factor * logits


def transformer(**options) -> nnx.GraphDef:
    return params.create(lambda rngs: Odds(rngs=rngs, **options))[0]


def generator(classes: int = 2, instances: int = 3, **changes) -> nnx.GraphDef:
    cfg = PromptConfig(
        kind="table", tokens=1, width=2, classes=classes, instances=instances, **changes
    )
    return params.create(lambda rngs: PromptGenerator(cfg, rngs=rngs))[0]


def parameters(classes=(1, 3), instances=(1, 5, 7), without: float = 1) -> Tree:
    """Of transformer and prompt, by the odds of each class, each instance and the bare prompt."""
    row = lambda odds: [[np.log(odds), 0.0]]  # [P, D]
    table = lambda odds: jnp.array([row(x) for x in odds])
    prompt = {"positions": jnp.array(row(without)), "classes": table(classes)}
    return {
        "transformer": {"factor": jnp.ones(())},
        "prompt": {**prompt, "instances": table(instances)},
    }


@dataclasses.dataclass(frozen=True)
class Hide:
    """Hides the same places of all images: places[r] in round r, places[0] in training."""

    places: tuple[tuple[int, ...], ...] = ((0,),)
    smoothing: float = 0.0
    drop_class: float = 0.0

    def inputs(self, keys: Array, codes: Array) -> tuple[Array, Array]:
        return self.evaluated(keys[0], codes, 0, 1)

    def rounds(self, asked: int) -> int:
        return asked

    def evaluated(self, key: Array, codes: Array, r: Array, rounds: int) -> tuple[Array, Array]:
        chosen = np.array(
            [[place in hidden for place in range(codes.shape[1])] for hidden in self.places]
        )
        weights = jnp.broadcast_to(jnp.asarray(chosen)[r], codes.shape)
        return jnp.where(weights, MASK, codes), weights.astype(jnp.float32)


class HideDrawn(Hide):
    """Hides one place, drawn, the same of all images of a batch."""

    def evaluated(self, key: Array, codes: Array, r: Array, rounds: int) -> tuple[Array, Array]:
        place = jax.random.randint(jax.random.fold_in(key, r), (), 0, codes.shape[1])
        weights = jnp.broadcast_to(jnp.arange(codes.shape[1]) == place, codes.shape)
        return jnp.where(weights, MASK, codes), weights.astype(jnp.float32)
