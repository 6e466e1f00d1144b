"""What stands around a frozen encoder: sizes from a config, first parameters, graphs."""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from maskgit_prompt import params
from maskgit_prompt.errors import UsageError
from maskgit_prompt.models.adapter import AdapterConfig, Adapters
from maskgit_prompt.models.head import Head, HeadConfig
from maskgit_prompt.models.pixel_prompt import FRAMED, PLACES, PixelPrompt, PixelPromptConfig
from maskgit_prompt.models.prompt import PromptConfig, PromptGenerator
from maskgit_prompt.models.prompts import LOCATIONS
from maskgit_prompt.models.segmentation_head import SegmentationHead, SegmentationHeadConfig
from maskgit_prompt.params import Tree
from maskgit_prompt.tasks.classification.model import Classifier, Placing
from maskgit_prompt.tasks.classification.protocols import Normalization
from maskgit_prompt.tuning import lora
from maskgit_prompt.tuning.lora import LoRAConfig

ENDS = ("bottom", "top")
# The network of each kind of sizes.
MODULES: dict[type, Any] = {
    HeadConfig: Head,
    SegmentationHeadConfig: SegmentationHead,
    PromptConfig: PromptGenerator,
    PixelPromptConfig: PixelPrompt,
    AdapterConfig: Adapters,
}


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Sizes of the parts beside the encoder; None for a part that there is not.

    Attributes:
      placing: of the prompt.
    """

    head: HeadConfig | SegmentationHeadConfig
    prompt: PromptConfig | PixelPromptConfig | None = None
    adapter: AdapterConfig | None = None
    lora: LoRAConfig | None = None
    placing: Placing = Placing()


def of_config(config: ConfigDict, encoder: Any, classes: int, kind: str = "vit") -> Sizes:
    """The sizes that config.method needs, for an encoder with a config of this kind.

    Raises:
      UsageError: sizes that do not fit the encoder.
    """
    with named("head"):
        head = HeadConfig(encoder.features, classes, **config.head)
    return Sizes(head, **around(config, encoder, kind))


def around(config: ConfigDict, encoder: Any, kind: str) -> dict[str, Any]:
    """The sizes of what config.method needs besides a head, by their names in Sizes.

    Raises:
      UsageError: sizes that do not fit the encoder.
    """
    method = config.method
    if method == "adapter" and kind != "vit":
        raise UsageError(f"config.method = 'adapter' is for encoders of one width, not {kind}")
    made: dict[str, Any] = {}
    if method.startswith("prompt"):
        with named("prompt"):
            make = _frame if kind in FRAMED else _staged if kind == "swin" else _prompt
            made |= make(config.prompt, encoder)
    if method == "adapter":
        narrow = encoder.width // config.adapter.reduction
        with named("adapter"):
            made["adapter"] = AdapterConfig(encoder.width, encoder.layers, narrow, encoder.dtype)
    if method == "lora":
        with named("lora"):
            made["lora"] = LoRAConfig(**config.lora)
    return made


@contextlib.contextmanager
def named(section: str) -> Iterator[None]:
    """Turns what is wrong with sizes into an error of config.SECTION."""
    try:
        yield
    except ValueError as error:
        raise UsageError(f"config.{section}.{error}") from error


def _frame(options: ConfigDict, encoder: Any) -> dict[str, Any]:
    """A frame of pixels: all that a convolutional network takes, which has no tokens."""
    if options.location != "pad":
        raise ValueError(
            f"location = {options.location!r}, expected pad: a convolutional network has no tokens"
        )
    pixels = PixelPromptConfig("pad", options.tokens, encoder.image_size, 1, encoder.features)
    return {"prompt": pixels, "placing": Placing("pad")}


def _common(options: ConfigDict, encoder: Any) -> dict[str, Any]:
    return {
        "kind": "table",
        "tokens": options.tokens,
        "width": encoder.width,
        "dropout": options.dropout,
        "uniform": bound(encoder.patch, options.project or encoder.width),
    }


def _staged(options: ConfigDict, encoder: Any) -> dict[str, Any]:
    stages = encoder.layers if options.deep else ()
    return {"prompt": PromptConfig(stages=stages, **_common(options, encoder))}


def _prompt(options: ConfigDict, encoder: Any) -> dict[str, Any]:
    common, location = _common(options, encoder), options.location
    if location not in LOCATIONS:
        raise ValueError(f"location = {location!r}, expected one of {', '.join(LOCATIONS)}")
    if location in PLACES:
        pixels = PixelPromptConfig(
            location,
            options.tokens,
            encoder.image_size,
            encoder.patch,
            encoder.width,
            common["uniform"] if location == "below" else 0.0,
        )
        return {"prompt": pixels, "placing": Placing(location)}
    if location == "pixel":
        pixels = common | {"width": 3 * encoder.patch**2}
        return {"prompt": PromptConfig(**pixels), "placing": Placing(location)}
    if location != "prepend":
        common["tokens"] = 1 + encoder.length if location == "add" else 1
    blocks = (options.blocks or encoder.layers) if options.deep else 1
    if not 1 <= blocks <= encoder.layers:
        raise ValueError(f"blocks = {blocks}, expected 0 to the {encoder.layers} that there are")
    if options.end not in ENDS:
        raise ValueError(f"end = {options.end!r}, expected {' or '.join(ENDS)}")
    cfg = PromptConfig(
        depth=blocks,
        shared=options.shared,
        embedding=options.project,
        dense=options.project > 0,
        **common,
    )
    first = encoder.layers - blocks if options.end == "top" else 0
    return {"prompt": cfg, "placing": Placing(location, first, options.stay)}


def bound(patch: int, width: int) -> float:
    """Prompt tokens start uniformly within ± this: √(6 / (3 · patch² + width)), as VPT's code does.

    Patches of 16 and a width of 768: 0.0625.
    """
    return math.sqrt(6 / (3 * patch**2 + width))


def _modules(sizes: Sizes) -> dict[str, Any]:
    parts = {name: getattr(sizes, name) for name in ("head", "prompt", "adapter")}
    return {name: functools.partial(_make, cfg) for name, cfg in parts.items() if cfg is not None}


def _make(cfg: Any, rngs: nnx.Rngs) -> nnx.Module:
    return MODULES[type(cfg)](cfg, rngs=rngs)


def outlines(sizes: Sizes, encoder: Tree) -> Tree:
    """Shapes of the parameters of all parts beside the encoder."""
    found = {name: params.outline(make)[1] for name, make in _modules(sizes).items()}
    if sizes.lora is not None:
        weights = params.abstract(encoder)
        make = lambda key: lora.init(sizes.lora, weights, key)
        with named("lora"):
            found["lora"] = jax.eval_shape(make, jax.random.key(0))
    return found


def initial(sizes: Sizes, encoder: Tree, key: jax.Array) -> Tree:
    """First parameters of all parts beside the encoder, on the host."""
    found = {}
    for i, (name, make) in enumerate(_modules(sizes).items()):
        found[name] = jax.jit(params.create(make)[1])(jax.random.fold_in(key, i))
    if sizes.lora is not None:
        found["lora"] = lora.init(sizes.lora, params.abstract(encoder), jax.random.fold_in(key, 9))
    return jax.tree.map(np.asarray, found)


def classifier(
    sizes: Sizes,
    encoder: nnx.GraphDef,
    normalization: Normalization,
    model: type[Classifier] = Classifier,
) -> Classifier:
    """The model of these sizes around an encoder's graph; model: what kind of one."""
    graphs = {name: params.outline(make)[0] for name, make in _modules(sizes).items()}
    return model(
        encoder,
        lora=sizes.lora,
        placing=sizes.placing,
        normalization=normalization,
        **graphs,
    )
