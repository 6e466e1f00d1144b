"""The optimizer and its learning rate, from a config."""

import jax
import optax
from ml_collections import ConfigDict

from maskgit_prompt.errors import UsageError
from maskgit_prompt.params import Tree


def learning_rate(config: ConfigDict, steps: int) -> optax.Schedule:
    """Linear warm-up from 0, then a half cosine down to 0 at the last step."""
    if not 0 <= config.warmup_steps < max(1, steps):
        raise UsageError(
            f"config.optimizer.warmup_steps = {config.warmup_steps}, expected 0 to {steps - 1} "
            f"for a run of {steps} steps"
        )
    cosine = optax.cosine_decay_schedule(config.learning_rate, steps - config.warmup_steps)
    if config.warmup_steps == 0:
        return cosine
    warmup = optax.linear_schedule(0.0, config.learning_rate, config.warmup_steps)
    return optax.join_schedules([warmup, cosine], [config.warmup_steps])


def make_optimizer(config: ConfigDict, steps: int) -> optax.GradientTransformation:
    """AdamW (arXiv 1711.05101) with the gradient clipped to a global norm where `clip` > 0.

    Where config has a `backbone_learning_rate` above 0, all but the prompt goes by it: a prompt
    starts from nothing and takes steps that would ruin trained weights.
    """
    adamw = optax.adamw(
        learning_rate(config, steps),
        b1=config.b1,
        b2=config.b2,
        eps=config.eps,
        weight_decay=config.weight_decay,
    )
    parts = [adamw] if config.clip <= 0 else [optax.clip_by_global_norm(config.clip), adamw]
    if rate := config.get("backbone_learning_rate", 0.0):
        # AdamW's steps are proportional to the learning rate, so scaling them is a rate of its own.
        parts.append(optax.masked(optax.scale(rate / config.learning_rate), _is_backbone))
    return parts[0] if len(parts) == 1 else optax.chain(*parts)


def _is_backbone(tree: Tree) -> Tree:
    return {part: jax.tree.map(lambda _, p=part: p != "prompt", x) for part, x in tree.items()}
