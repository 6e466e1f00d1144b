"""What was tuned of an encoder-decoder, read from its file and put around its backbone again."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

from jax.sharding import Mesh

from maskgit_prompt import params
from maskgit_prompt.backbones import Backbone
from maskgit_prompt.backbones.compute import Compute
from maskgit_prompt.devices import sharding
from maskgit_prompt.errors import UsageError, UserError
from maskgit_prompt.models.adapter import AdapterConfig
from maskgit_prompt.params import Tree
from maskgit_prompt.tasks.multimodal import sizes
from maskgit_prompt.tasks.multimodal.model import Multimodal
from maskgit_prompt.tasks.multimodal.sizes import Sizes
from maskgit_prompt.tuning import tuned_answerer, tuned_file, tuned_prefix
from maskgit_prompt.tuning.lora import LoRAConfig
from maskgit_prompt.tuning.tuned_file import TunedOn


@dataclasses.dataclass(frozen=True)
class Stored:
    """A file of tuned parameters.

    Attributes:
      path: for messages.
      sizes, tree: of what stands around the network, and what of it was tuned.
      method, backbone, task: how, on what, for what.
    """

    path: str
    sizes: Sizes
    tree: Tree
    method: str
    backbone: TunedOn
    task: dict[str, Any]


def load(path: str) -> Stored:
    """Reads a prefix.safetensors, or a tuned.safetensors of another method.

    Raises:
      UsageError: no such file. UserError: truncated, damaged, or another kind of file.
    """
    if pathlib.Path(path).name != tuned_answerer.FILE.name:
        prefix = tuned_prefix.load(path)
        tree = {"prompt": prefix.tree}
        return Stored(path, Sizes(prefix.config), tree, "prompt", prefix.backbone, prefix.task)
    found = tuned_answerer.load(path)
    try:
        own = found.sizes
        made = Sizes(
            adapter={stack: AdapterConfig(**one) for stack, one in own["adapter"].items()},
            lora=LoRAConfig(**own["lora"]) if own["lora"] else None,
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} has a damaged header ({error!r}); copy it again") from error
    return Stored(path, made, found.tree, found.method, found.backbone, found.task)


def load_all(files: Sequence[str], key: str) -> list[Stored]:
    """The files that config.KEY names.

    Raises:
      UsageError: none, or one that is not there. UserError: as `load`.
    """
    if not files:
        raise UsageError(
            f"config.{key} is empty: give --config.{key}=DIR/prefix.safetensors of a run; several "
            "by repeating the flag"
        )
    return [load(file) for file in files]


def around(
    stored: Stored, backbone: Backbone, compute: Compute, mesh: Mesh
) -> tuple[Multimodal, Tree]:
    """(what computes logits, all parameters on the mesh).

    Raises:
      UserError: parameters that do not fit the network.
    """
    part = backbone.part("multimodal")
    cfg = dataclasses.replace(compute.applied(part.cfg), dropout=0.0)
    own = {name: x for name, x in stored.tree.items() if name != "multimodal"}
    params.check(own, sizes.outlines(stored.sizes, part.tree), stored.path)
    weights = tuned_file.overlaid(part.placed(mesh), stored.tree, "multimodal", stored.path)
    model = sizes.model(stored.sizes, part.graphdef(cfg), cfg)
    return model, {"multimodal": weights, **sharding.place(own, mesh, sizes.AXES)}
