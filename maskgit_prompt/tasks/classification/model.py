"""A frozen encoder with what is tuned around it: prompt, adapters, low-rank updates and a head.

Shapes: B batch, S image size, D width of the features, C classes. The parameter tree has "encoder",
"head" and, where they are used, "prompt", "adapter" and "lora".
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from maskgit_prompt.devices import sharding
from maskgit_prompt.models import head
from maskgit_prompt.models.prompt import NONE
from maskgit_prompt.models.prompts import Prompt
from maskgit_prompt.params import Tree
from maskgit_prompt.tasks.classification.protocols import Normalization
from maskgit_prompt.tuning import lora
from maskgit_prompt.tuning.lora import LoRAConfig
from maskgit_prompt.tuning.train import STATS, Batch, LossFn

Array = jax.Array

HEAD_STATS = f"head/{head.STATS}"


@dataclasses.dataclass(frozen=True)
class Placing:
    """Where a prompt's vectors go.

    Attributes:
      location: one of LOCATIONS.
      first: the block that the first layer of prompt tokens stands before.
      stay: whether they go on through the blocks behind those with fresh ones.
    """

    location: str = "prepend"
    first: int = 0
    stay: bool = True

    def placed(self, prompt: Prompt, normalization: Normalization) -> tuple[Prompt, dict[str, Any]]:
        """(the generator's vectors as the prompt of this place, further arguments of the encoder's
        call).

        normalization: of the images, and of a frame around them.
        """
        if self.location == "pad":
            return Prompt(frame=normalization(255 * prompt.frame)), {}
        if self.location == "below":
            return prompt, {}
        if self.location == "pixel":
            batch, number, values = prompt.tokens.shape
            side = round((values / 3) ** 0.5)
            return Prompt(patches=prompt.tokens.reshape(batch, number, side, side, 3)), {}
        if self.location != "prepend":
            layers = prompt.tokens[:, None] if prompt.layers is None else prompt.layers
            return Prompt(added=layers), {}
        # Only a vision transformer's prompts can be placed otherwise than from the first block on.
        usual = (self.first, self.stay) == (0, True)
        return prompt, {} if usual else {"first": self.first, "stay": self.stay}


@dataclasses.dataclass(frozen=True)
class Classifier:
    """What computes logits of images; parameters are given at every call.

    Attributes:
      encoder, head: graphs.
      prompt, adapter: graphs, or None.
      lora: None: no low-rank updates.
      placing: of the prompt.
      normalization: of uint8 pixels; images of floats are taken as they are.
    """

    encoder: nnx.GraphDef
    head: nnx.GraphDef
    prompt: nnx.GraphDef | None = None
    adapter: nnx.GraphDef | None = None
    lora: LoRAConfig | None = None
    placing: Placing = Placing()
    normalization: Normalization = Normalization()

    def features(self, tree: Tree, images: Array, key: Array | None = None) -> Array:
        """[B, S, S, 3] -> [B, D] float32; a key means training: prompt tokens are dropped."""
        encoder, images, prompt, how = self.prepared(tree, images, key)
        return encoder(images, prompt, pin=sharding.split_batch, **how)

    def prepared(
        self, tree: Tree, images: Array, key: Array | None
    ) -> tuple[nnx.Module, Array, Prompt | None, dict[str, Any]]:
        """(the encoder, normalized images, the prompt in its place, further arguments)."""
        if images.dtype == jnp.uint8:
            images = self.normalization(images)
        weights = tree["encoder"]
        if self.lora is not None:
            weights = lora.applied(self.lora, weights, tree["lora"])
        encoder, how = nnx.merge(self.encoder, weights), {}
        prompt = None
        if self.prompt is not None:
            nobody = jnp.full(len(images), NONE)
            made = nnx.merge(self.prompt, tree["prompt"])(nobody, None, key)
            prompt, how = self.placing.placed(made, self.normalization)
        if self.adapter is not None:
            how["adapters"] = nnx.merge(self.adapter, tree["adapter"]).layers
        return encoder, images, prompt, how

    def seen(self, tree: Tree, inputs: Batch, key: Array | None = None) -> Array:
        """Features [B, D] of "images" [B, S, S, 3], or "features" that were computed before."""
        if "features" in inputs:
            return inputs["features"]
        return self.features(tree, inputs["images"], key)

    def logits(self, tree: Tree, inputs: Batch, key: Array | None = None) -> Array:
        """[B, C] float32 of inputs as `seen` takes them."""
        return nnx.merge(self.head, tree["head"])(self.seen(tree, inputs, key))


def classification_loss(model: Classifier, class_weights: Array | None = None) -> LossFn:
    """Cross entropy of the labels, mean over the batch (arXiv 2203.12119, section 3.2).

    The batch has images [B, S, S, 3], or their features [B, D], and labels [B].

    Args:
      class_weights: [C]; the sum of weight[label] · cross entropy is divided by B, not by the sum
        of the weights.
    """

    def loss_fn(tree: Tree, batch: Batch, key: Array):
        keys = jax.random.split(key)
        features = model.seen(tree, batch, keys[0])
        found, stats = nnx.merge(model.head, tree["head"]).train(features, keys[1])
        loss = cross_entropy(found, batch["labels"], class_weights)
        right = jnp.mean(jnp.argmax(found, -1) == batch["labels"])
        metrics = {"accuracy": right}
        return loss, metrics | ({STATS: {"head": stats}} if stats else {})

    return loss_fn


def cross_entropy(logits: Array, labels: Array, class_weights: Array | None = None) -> Array:
    """Mean over the batch; class_weights: as in `classification_loss`."""
    losses = optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels)
    return jnp.mean(losses if class_weights is None else class_weights[labels] * losses)
