"""Cross entropy of an image's codes, of a whole parameter tree, a batch and a key."""

import jax
import jax.numpy as jnp
from flax import nnx

from maskgit_prompt.devices import sharding
from maskgit_prompt.models.prompt import NONE
from maskgit_prompt.params import Tree
from maskgit_prompt.tasks import losses
from maskgit_prompt.tasks.generation.objectives import Objective
from maskgit_prompt.tuning.train import Batch, LossFn

Array = jax.Array


def prompt_loss(transformer: nnx.GraphDef, generator: nnx.GraphDef, objective: Objective) -> LossFn:
    """Cross entropy of the codes under the prompt (arXiv 2210.00990, eq. 3).

    The batch has codes [B, L], and class_ids and instance_ids [B] (NONE for none).
    """

    def loss_fn(tree: Tree, batch: Batch, key: Array):
        keys = jax.random.split(key, 4)
        inputs, weights = objective.inputs(keys[:2], batch["codes"])
        generate = nnx.merge(generator, tree["prompt"])
        prompt = generate(batch["class_ids"], batch["instance_ids"], keys[2])
        model = nnx.merge(transformer, tree["transformer"])
        logits = model.code_logits(inputs, prompt, key=keys[3], pin=sharding.split_batch)
        loss = losses.masked_cross_entropy(logits, batch["codes"], weights, objective.smoothing)
        return loss, {}

    return loss_fn


def class_loss(transformer: nnx.GraphDef, objective: Objective) -> LossFn:
    """Cross entropy of the codes under the backbone's own classes: pretraining."""

    def loss_fn(tree: Tree, batch: Batch, key: Array):
        keys = jax.random.split(key, 4)
        inputs, weights = objective.inputs(keys[:2], batch["codes"])
        drop = jax.random.bernoulli(keys[2], objective.drop_class, batch["class_ids"].shape)
        class_ids = jnp.where(drop, NONE, batch["class_ids"])
        model = nnx.merge(transformer, tree["transformer"])
        logits = model.code_logits(
            inputs, class_ids=class_ids, key=keys[3], pin=sharding.split_batch
        )
        loss = losses.masked_cross_entropy(logits, batch["codes"], weights, objective.smoothing)
        return loss, {}

    return loss_fn
