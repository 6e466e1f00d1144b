"""The optimizer and its learning rate from a config, with rates and decays by parameter path."""

import math
import re
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from maskgit_prompt import params
from maskgit_prompt.errors import UsageError
from maskgit_prompt.params import Tree

NAMES = ("adamw", "sgd", "adamw-vpt")
SCHEDULES = ("cosine", "constant")
BACKBONE = re.compile("(?!prompt/).*")  # all but the prompt, which starts from random
# vectors and takes steps that would ruin trained weights


def learning_rate(
    config: ConfigDict, steps: int, highest: float | jax.Array | None = None
) -> optax.Schedule:
    """Linear warm-up from 0, then half a cosine down to 0 at the last step, or always the same.

    With config.hold = 5 the rate of step 0 is also that of steps 1 to 4, and so on.

    Args:
      highest: in place of config.learning_rate; it may be traced.

    Raises:
      UsageError: an unknown schedule; a warm-up that does not end before the run.
    """
    schedule = config.get("schedule", "cosine")
    if schedule not in SCHEDULES:
        raise UsageError(
            f"config.optimizer.schedule = {schedule!r}, expected {' or '.join(SCHEDULES)}"
        )
    if not 0 <= config.warmup_steps < max(1, steps):
        raise UsageError(
            f"config.optimizer.warmup_steps = {config.warmup_steps}, expected 0 to {steps - 1} "
            f"for a run of {steps} steps"
        )
    highest = config.learning_rate if highest is None else highest
    if schedule == "cosine":
        after = optax.cosine_decay_schedule(highest, steps - config.warmup_steps)
    else:
        after = optax.constant_schedule(highest)
    if config.warmup_steps:
        warmup = optax.linear_schedule(0.0, highest, config.warmup_steps)
        after = optax.join_schedules([warmup, after], [config.warmup_steps])
    hold = config.get("hold", 1)
    if hold < 1:
        raise UsageError(f"config.optimizer.hold = {hold}, expected at least 1")
    return after if hold == 1 else lambda step: after(step // hold * hold)


def make_optimizer(
    config: ConfigDict,
    steps: int,
    highest: float | jax.Array | None = None,
    weight_decay: float | jax.Array | None = None,
) -> optax.GradientTransformation:
    """AdamW (arXiv 1711.05101) or SGD, with the gradient clipped to a global norm where `clip` > 0.

    AdamW adds the decay to its step. SGD adds it to the gradient, so that momentum sees it, as in
    PyTorch. "adamw-vpt" is the AdamW of VPT's code (KMnP/vpt) and of early Transformers libraries:
    eps joins the root of the second moment before its bias is corrected, and what decays is the
    parameter after the step.

    Args:
      highest, weight_decay: in place of the config's learning rate and decay; they may be traced.

    Raises:
      UsageError: an unknown name; a rate or a decay that is not PATTERN=VALUE.
    """
    name = config.get("name", "adamw")
    if name not in NAMES:
        raise UsageError(f"config.optimizer.name = {name!r}, expected {' or '.join(NAMES)}")
    highest = config.learning_rate if highest is None else highest
    decay, rate = _decay(config, weight_decay), learning_rate(config, steps, highest)
    falling = optax.scale_by_learning_rate(rate)
    if name == "adamw":
        parts = [optax.scale_by_adam(b1=config.b1, b2=config.b2, eps=config.eps), decay, falling]
    elif name == "sgd":
        parts = [decay, optax.trace(config.momentum, config.nesterov), falling]
    else:
        moments = _scale_by_adam_early(config.b1, config.b2, config.eps)
        parts = [moments, falling, _decay_after(decay, rate)]
    # All optimizers' steps are proportional to the rate, so scaling a step scales its rate.
    step = optax.chain(*parts)
    clip = [] if config.clip <= 0 else [optax.clip_by_global_norm(config.clip)]
    scales = [
        optax.masked(optax.scale(rate / highest), mask)
        for rate, mask in _groups(_rates(config), None)
    ]
    return optax.chain(*clip, step, *scales) if clip or scales else step


def _scale_by_adam_early(b1: float, b2: float, eps: float) -> optax.GradientTransformation:
    """m / (√v + eps) · √(1 - b2^t) / (1 - b1^t): Adam whose eps is not corrected for bias."""
    plain = optax.scale_by_adam(b1=b1, b2=b2, eps=eps)

    def update(grads, state, params=None):
        _, state = plain.update(grads, state, params)
        count = state.count.astype(jnp.float32)
        scale = jnp.sqrt(1 - b2**count) / (1 - b1**count)
        step = lambda m, v: scale * m / (jnp.sqrt(v) + eps)
        return jax.tree.map(step, state.mu, state.nu), state

    return optax.GradientTransformation(plain.init, update)


def _decay_after(
    decay: optax.GradientTransformation, rate: optax.Schedule
) -> optax.GradientTransformation:
    """Shrinks what the update makes of the parameters: p + u -> (p + u) · (1 - rate · decay)."""

    def init(params):
        return jnp.zeros((), jnp.int32), decay.init(params)

    def update(updates, state, params):
        count, inner = state
        after = optax.apply_updates(params, updates)
        zeros = jax.tree.map(jnp.zeros_like, after)
        decayed, inner = decay.update(zeros, inner, after)
        shrink = lambda u, d: u - rate(count) * d
        return jax.tree.map(shrink, updates, decayed), (count + 1, inner)

    return optax.GradientTransformation(init, update)


def check_paths(config: ConfigDict, tree: Tree) -> None:
    """Raises UsageError for a rate or a decay that matches no parameter of the whole tree."""
    paths = [params.whole_path(path) for path in params.flatten(tree)]
    for key in ("rates", "decays"):
        for pattern, _ in _parse(config, key):
            if not any(pattern.fullmatch(path) for path in paths):
                tops = sorted({"/".join(path.split("/")[:2]) for path in paths})
                raise UsageError(
                    f"config.optimizer.{key}: {pattern.pattern!r} matches no parameter; they begin "
                    f"with {', '.join(tops)}"
                )


Rules = list[tuple[re.Pattern, float]]  # the first that matches a whole path wins


def _rates(config: ConfigDict) -> Rules:
    """config.rates; where it is above 0, backbone_learning_rate is the last of them."""
    rate = config.get("backbone_learning_rate", 0.0)
    return _parse(config, "rates") + ([(BACKBONE, rate)] if rate else [])


def _decay(
    config: ConfigDict, weight_decay: float | jax.Array | None = None
) -> optax.GradientTransformation:
    decays = _parse(config, "decays")
    weight_decay = config.weight_decay if weight_decay is None else weight_decay
    if not decays:
        return optax.add_decayed_weights(weight_decay)
    return optax.chain(
        *(
            optax.masked(optax.add_decayed_weights(decay), mask)
            for decay, mask in _groups(decays, weight_decay)
        )
    )


def _groups(
    rules: Rules, default: float | jax.Array | None
) -> list[tuple[float | jax.Array, Callable[[Tree], Tree]]]:
    """(value, tree -> whether each of its parameters has it) of every rule and of the default."""

    def rule_of(path: str) -> int:
        path = params.whole_path(path)
        found = (i for i, (pattern, _) in enumerate(rules) if pattern.fullmatch(path))
        return next(found, len(rules))

    def mask(rule: int) -> Callable[[Tree], Tree]:
        return lambda tree: params.unflatten(
            {path: rule_of(path) == rule for path in params.flatten(tree)}
        )

    values = [*(value for _, value in rules), default]
    return [(value, mask(i)) for i, value in enumerate(values) if value is not None]


def _parse(config: ConfigDict, key: str) -> Rules:
    """("PATTERN=VALUE", …) of a config."""
    rules = []
    for text in config.get(key, ()):
        pattern, _, value = str(text).rpartition("=")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not pattern or not 0 <= number < math.inf:
            raise UsageError(
                f"config.optimizer.{key} has {text!r}, expected PATTERN=VALUE as "
                "'transformer/.*=1e-4', with a value of 0 or more"
            )
        rules.append((params.compile_pattern(pattern, f"config.optimizer.{key}"), number))
    return rules
