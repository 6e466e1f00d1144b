"""A frozen encoder-decoder with what is tuned around it: prefixes, adapters or low-rank updates.

Shapes: B batch, S image size, L tokens of a source, T tokens of a target with </s>, V vocabulary.
The parameter tree has "multimodal" and, where they are used, "prompt", "adapter" and "lora".
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx, struct

from maskgit_prompt.decoding.constraints import Constraint, along
from maskgit_prompt.devices import sharding
from maskgit_prompt.models.prefixes import Prefixes
from maskgit_prompt.models.specials import PAD, START
from maskgit_prompt.params import Tree
from maskgit_prompt.tasks.sequence_losses import Sums, sequence_sums
from maskgit_prompt.tuning import lora
from maskgit_prompt.tuning.lora import LoRAConfig
from maskgit_prompt.tuning.train import Batch, LossFn

Array = jax.Array
STACKS = ("encoder", "decoder")


@struct.dataclass
class Opened:
    """A network with its weights, and what stands around it for B examples."""

    network: Any
    prefixes: Prefixes | None
    adapters: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Multimodal:
    """What computes logits of answers; parameters are given at every call.

    Attributes:
      network: the graph of an `ofa.OFA`.
      mean, std: of pixels / 255 by channel, see `ofa.OFAConfig`.
      prompt: the graph of a PrefixGenerator, or None.
      adapters: stack -> the graph of its Adapters; none: {}.
      lora: None: no low-rank updates.
    """

    network: nnx.GraphDef
    mean: tuple[float, ...]
    std: tuple[float, ...]
    prompt: nnx.GraphDef | None = None
    adapters: Mapping[str, nnx.GraphDef] = dataclasses.field(default_factory=dict)
    lora: LoRAConfig | None = None

    def opened(self, tree: Tree, batch: int, key: Array | None = None) -> Opened:
        """The parts, for a batch of B examples; a key means training: prompt tokens are dropped."""
        weights = tree["multimodal"]
        if self.lora is not None:
            weights = lora.applied(self.lora, weights, tree["lora"])
        prefixes = None
        if self.prompt is not None:
            prefixes = nnx.merge(self.prompt, tree["prompt"]).of_batch(batch, key)
        adapters = {
            stack: nnx.merge(graph, tree["adapter"][stack]).layers
            for stack, graph in self.adapters.items()
        }
        return Opened(nnx.merge(self.network, weights), prefixes, adapters)

    def normalized(self, images: Array) -> Array:
        """uint8 or floats of 0 to 255 [B, S, S, 3] as the network takes them."""
        return (images.astype(jnp.float32) / 255 - jnp.array(self.mean)) / jnp.array(self.std)

    def memory(self, parts: Opened, batch: Batch, key: Array | None = None) -> Any:
        """What the encoder makes of "images" [B, S, S, 3] and "source" [B, L].

        "there", bool [B], says which examples have an image; without it all do.
        """
        return parts.network.encode(
            self.normalized(batch["images"]),
            batch["source"],
            parts.prefixes,
            valid=batch.get("there"),
            adapters=parts.adapters.get("encoder"),
            key=key,
            pin=sharding.split_batch,
        )

    def logits(self, tree: Tree, batch: Batch, key: Array | None = None) -> Array:
        """[B, T, V] float32 of every token of "target" [B, T], each from those before it."""
        return self.read(tree, batch, key)[1]

    def read(self, tree: Tree, batch: Batch, key: Array | None = None) -> tuple[Any, Array]:
        """(what the encoder makes of the batch, the logits)."""
        keys = (None,) * 3 if key is None else jax.random.split(key, 3)
        target = batch["target"]
        parts = self.opened(tree, len(target), keys[0])
        memory = self.memory(parts, batch, keys[1])
        before = jnp.pad(target[:, :-1], [(0, 0), (1, 0)], constant_values=START)
        logits = parts.network.decode(
            memory,
            before,
            parts.prefixes,
            adapters=parts.adapters.get("decoder"),
            key=keys[2],
            pin=sharding.split_batch,
        )
        return memory, logits


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """How answers are learned; see `sequence_losses.sequence_sums`.

    Attributes:
      smoothing: the share of a target's weight that other tokens get.
      drop_worst: the share of tokens with the largest losses to leave out.
      r_drop: the factor of R-Drop; the batch then has each example twice.
    """

    smoothing: float = 0.0
    drop_worst: float = 0.0
    r_drop: float = 0.0


def answer_loss(model: Multimodal, cfg: LossConfig, constraint: Constraint | None = None) -> LossFn:
    """Cross entropy of targets, mean over their tokens.

    Args:
      constraint: probabilities are shared among what it allows; None: all tokens.
    """

    def loss_fn(tree: Tree, batch: Batch, key: Array):
        return means(answer_sums(model, cfg, tree, batch, constraint, key))

    return loss_fn


def means(found: Sums) -> tuple[Array, dict[str, Array]]:
    """(the loss of a token, "nll" of a token)."""
    count = jnp.maximum(found.count, 1)
    return found.loss / count, {"nll": found.nll / count}


def answer_sums(
    model: Multimodal,
    cfg: LossConfig,
    tree: Tree,
    batch: Batch,
    constraint: Constraint | None = None,
    key: Array | None = None,
) -> Sums:
    """The loss of a batch as sums; without a key nothing is dropped."""
    return target_sums(model.logits(tree, batch, key), cfg, batch["target"], constraint)


def target_sums(
    logits: Array, cfg: LossConfig, target: Array, constraint: Constraint | None = None
) -> Sums:
    """The same of logits [B, T, V] of targets [B, T]."""
    allowed = None if constraint is None else along(constraint, target, logits.shape[-1])
    return sequence_sums(
        logits,
        target,
        (target != PAD).astype(jnp.float32),
        allowed=allowed,
        **dataclasses.asdict(cfg),
    )


def right_tokens(logits: Array, target: Array) -> Array:
    """Which examples have every token likeliest at its place, bool [B], of [B, T, V] and [B, T].

    Each is judged behind the right ones before it.
    """
    return jnp.all((jnp.argmax(logits, -1) == target) | (target == PAD), axis=1)
