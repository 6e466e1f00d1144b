"""What stands around a frozen encoder-decoder: sizes from a config, first parameters, graphs."""

import dataclasses
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from maskgit_prompt import params
from maskgit_prompt.errors import UsageError
from maskgit_prompt.models import prefixes
from maskgit_prompt.models.adapter import AdapterConfig, Adapters
from maskgit_prompt.models.ofa import OFAConfig
from maskgit_prompt.models.prefixes import PLACES, PrefixesConfig, PrefixGenerator
from maskgit_prompt.models.prompt import PromptConfig
from maskgit_prompt.params import Tree
from maskgit_prompt.tasks.multimodal.model import STACKS, Multimodal
from maskgit_prompt.tuning import lora
from maskgit_prompt.tuning.lora import LoRAConfig

AROUND = ("prompt", "adapter", "lora")
# On every device, so that gradient traffic is only what is tuned.
AXES = ((rf"({'|'.join(AROUND)})/.*", None),)


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Sizes of the parts beside the network; None, or nothing, for a part that there is not.

    Attributes:
      adapter: stack -> sizes.
    """

    prompt: PrefixesConfig | None = None
    adapter: dict[str, AdapterConfig] = dataclasses.field(default_factory=dict)
    lora: LoRAConfig | None = None


def of_config(config: ConfigDict, cfg: OFAConfig) -> Sizes:
    """The sizes that config.method needs.

    Raises:
      UsageError: sizes that do not fit the network.
    """
    section = {"prompt": "prompt", "adapter": "adapter", "lora": "lora"}.get(config.method)
    try:
        if section == "prompt":
            return Sizes(prompt=_prefixes(config.prompt, cfg))
        if section == "adapter":
            return Sizes(
                adapter={
                    stack: AdapterConfig(
                        **cfg.adapters(stack), activation="relu", dtype=cfg.dtype, **config.adapter
                    )
                    for stack in STACKS
                }
            )
        if section == "lora":
            return Sizes(lora=LoRAConfig(**config.lora))
    except ValueError as error:
        raise UsageError(f"config.{section}: {error}") from error
    return Sizes()


def _prefixes(options: ConfigDict, cfg: OFAConfig) -> PrefixesConfig:
    found = {}
    for place in PLACES:
        layers = cfg.layers[place != "encoder"]
        if not options[place]:
            continue
        left_out = set(prefixes.without(layers, options.layers)) | set(options.left_out)
        found[place] = PromptConfig(
            kind="table",
            tokens=options[place],
            width=cfg.width,
            depth=layers,
            prefix=True,
            std=options.std,
            reparameterize=options.reparameterize,
            dropout=options.dropout,
            left_out=tuple(sorted(left_out)),
            gated=options.gated,
        )
    return PrefixesConfig(**found)


def _modules(sizes: Sizes) -> dict[str, Any]:
    """Path of a part -> what makes it."""
    makers = {
        f"adapter/{stack}": lambda rngs, own=own: Adapters(own, rngs=rngs)
        for stack, own in sizes.adapter.items()
    }
    if sizes.prompt is not None:
        makers["prompt"] = lambda rngs: PrefixGenerator(sizes.prompt, rngs=rngs)
    return makers


def outlines(sizes: Sizes, network: Tree) -> Tree:
    """Shapes of the parameters of all parts beside the network.

    Raises:
      UsageError: low-rank updates of what is not there.
    """
    flat = {}
    for name, make in _modules(sizes).items():
        own = params.flatten(params.outline(make)[1])
        flat |= {f"{name}/{path}": x for path, x in own.items()}
    found = params.unflatten(flat)
    if sizes.lora is not None:
        weights = params.abstract(network)
        try:
            make = lambda key: lora.init(sizes.lora, weights, key)
            found["lora"] = jax.eval_shape(make, jax.random.key(0))
        except ValueError as error:
            raise UsageError(f"config.lora: {error}") from error
    return found


def initial(sizes: Sizes, network: Tree, key: jax.Array) -> Tree:
    """First parameters of all parts beside the network, on the host."""
    flat = {}
    for i, (name, make) in enumerate(sorted(_modules(sizes).items())):
        own = jax.jit(params.create(make)[1])(jax.random.fold_in(key, i))
        flat |= {f"{name}/{path}": x for path, x in params.flatten(own).items()}
    found = params.unflatten(flat)
    if sizes.lora is not None:
        found["lora"] = lora.init(sizes.lora, params.abstract(network), jax.random.fold_in(key, 9))
    return jax.tree.map(np.asarray, found)


def model(sizes: Sizes, network: Any, cfg: OFAConfig) -> Multimodal:
    """The model of these sizes around a network's graph."""
    graphs = {name: params.outline(make)[0] for name, make in _modules(sizes).items()}
    return Multimodal(
        network,
        cfg.mean,
        cfg.std,
        prompt=graphs.get("prompt"),
        adapters={stack: graphs[f"adapter/{stack}"] for stack in sizes.adapter},
        lora=sizes.lora,
    )
