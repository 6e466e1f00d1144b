"""Low-rank updates of a frozen network's kernels (LoRA, arXiv 2106.09685, eq. 3).

W + (α / R) · down up, for every kernel that a pattern matches. The sum is made once a step, of
parameters alone, so any network takes it without knowing of it.

Shapes: K layers of a stack, I inputs, O outputs of a kernel, R rank.
"""

import dataclasses
import math
import re

import jax
import jax.numpy as jnp

from maskgit_prompt import params
from maskgit_prompt.params import Tree

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class LoRAConfig:
    """Which kernels are updated, and how.

    Attributes:
      rank: R.
      alpha: α; the update is scaled by α / R.
      targets: pattern of whole paths of kernels.
    """

    rank: int = 8
    alpha: float = 8.0
    targets: str = r".*blocks/attention/(query|value)/kernel"

    def __post_init__(self):
        if self.rank < 1:
            raise ValueError(f"rank = {self.rank}, expected at least 1")
        if not 0 < self.alpha < math.inf:
            raise ValueError(f"alpha = {self.alpha}, expected a number above 0")


def init(cfg: LoRAConfig, network: Tree, key: Array) -> Tree:
    """{kernel's path without its name: {"down": [K, I, R], "up": [K, R, O]}}, as nested dicts.

    `up` starts at zero, so tuning starts from the network itself. `down` starts at random, with
    standard deviation 1 / √I.

    Args:
      network: parameters, or their shapes; kernels of stacked blocks have a first axis of layers.

    Raises:
      ValueError: the targets match nothing, or no kernel.
    """
    found = {
        path: x for path, x in params.flatten(network).items() if re.fullmatch(cfg.targets, path)
    }
    if not found:
        raise ValueError(f"targets = {cfg.targets!r} match no parameter")
    tree = {}
    for i, (path, kernel) in enumerate(sorted(found.items())):
        layers, inputs, outputs = sizes(path, kernel.shape)
        down = jax.random.normal(jax.random.fold_in(key, i), (*layers, inputs, cfg.rank))
        branch = path.removesuffix("/kernel")
        tree[f"{branch}/down"] = down / inputs**0.5
        tree[f"{branch}/up"] = jnp.zeros((*layers, cfg.rank, outputs))
    return params.unflatten(tree)


def sizes(path: str, shape: tuple[int, ...]) -> tuple[tuple[int, ...], int, int]:
    """(the axis of layers or none, I, O) of a kernel.

    "blocks/mlp/up/kernel" (12, 8, 32) is ((12,), 8, 32). Heads count as outputs, and in what
    follows attention as inputs: "blocks/attention/out/kernel" (12, 2, 4, 8) is ((12,), 8, 8).

    Raises:
      ValueError: not the kernel of a dense layer.
    """
    layers, rest = (shape[:1], shape[1:]) if params.is_stacked(path) else ((), shape)
    split = len(rest) - 1 if path.endswith("/out/kernel") else 1
    if not path.endswith("/kernel") or not 2 <= len(rest) <= 3:
        raise ValueError(f"{path} {shape} is not the kernel of a dense layer")
    return layers, math.prod(rest[:split]), math.prod(rest[split:])


def applied(cfg: LoRAConfig, network: Tree, tree: Tree) -> Tree:
    """The network's parameters with the updates added; tree: as `init` makes it."""
    whole, update = params.flatten(network), params.flatten(tree)
    for path in update:
        if path.endswith("/down"):
            branch = path.removesuffix("/down")
            kernel = whole[f"{branch}/kernel"]
            added = update[path] @ update[f"{branch}/up"] * (cfg.alpha / cfg.rank)
            whole[f"{branch}/kernel"] = kernel + added.reshape(kernel.shape).astype(kernel.dtype)
    return params.unflatten(whole)
