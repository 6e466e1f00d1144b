"""ConvNeXt with the names of torchvision, of timm, or of its authors (facebookresearch/ConvNeXt).

They are PyTorch state dicts: convolutions are OIHW, linear layers [out, in]. The layers between
two stages belong to the second of them there, and to the first here.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from maskgit_prompt.backbones import Part
from maskgit_prompt.errors import UserError
from maskgit_prompt.importers import pytorch as files
from maskgit_prompt.importers import vit
from maskgit_prompt.importers.format import Format
from maskgit_prompt.importers.resnet import conv, norm
from maskgit_prompt.importers.rules import Options, Rule, Shapes, parameters, without_sign
from maskgit_prompt.models.convnext import ConvNeXt, ConvNeXtConfig


@dataclasses.dataclass(frozen=True)
class Names:
    """Patterns of a project's names for the parts of a ConvNeXt; {} is a number.

    Attributes:
      block: the beginning of a block's names, with its number as "layer"; depthwise, norm, up, down
        and scales follow it.
      merge_norm, merge: the layers between two stages.
      ignored: the classifier of the pre-training.
      numbers: the number in the names of the first stage's blocks, the number in the names of the
        layers between the first two stages, and how much both grow with each stage.
    """

    patches: str
    patch_norm: str
    last_norm: str
    block: str
    depthwise: str
    norm: str
    up: str
    down: str
    scales: str
    merge_norm: str
    merge: str
    ignored: str
    numbers: tuple[int, int, int]


TORCHVISION = Names(
    patches=r"features\.0\.0",
    patch_norm=r"features\.0\.1",
    last_norm=r"classifier\.0",
    block=r"features\.{}\.(?P<layer>\d+)\.",
    depthwise=r"block\.0",
    norm=r"block\.2",
    up=r"block\.3",
    down=r"block\.5",
    scales=r"layer_scale",
    merge_norm=r"features\.{}\.0",
    merge=r"features\.{}\.1",
    ignored=r"classifier\.2\..*",
    numbers=(1, 2, 2),
)
TIMM = Names(
    patches=r"stem\.0",
    patch_norm=r"stem\.1",
    last_norm=r"head\.norm",
    block=r"stages\.{}\.blocks\.(?P<layer>\d+)\.",
    depthwise=r"conv_dw",
    norm=r"norm",
    up=r"mlp\.fc1",
    down=r"mlp\.fc2",
    scales=r"gamma",
    merge_norm=r"stages\.{}\.downsample\.0",
    merge=r"stages\.{}\.downsample\.1",
    ignored=r"head\.fc\..*",
    numbers=(0, 1, 1),
)
AUTHORS = Names(
    patches=r"downsample_layers\.0\.0",
    patch_norm=r"downsample_layers\.0\.1",
    last_norm=r"norm",
    block=r"stages\.{}\.(?P<layer>\d+)\.",
    depthwise=r"dwconv",
    norm=r"norm",
    up=r"pwconv1",
    down=r"pwconv2",
    scales=r"gamma",
    merge_norm=r"downsample_layers\.{}\.0",
    merge=r"downsample_layers\.{}\.1",
    ignored=r"head\..*",
    numbers=(0, 1, 1),
)
# A name that only one project has -> its names.
SIGNS = {
    "features.0.0.weight": TORCHVISION,
    "stem.0.weight": TIMM,
    "downsample_layers.0.0.weight": AUTHORS,
}


def rules(names: Names, stages: int) -> list[Rule]:
    """The rules for the whole network, with this many stages."""
    found = [conv(names.patches, "patches"), Rule(names.patches + r"\.bias", "patches/bias")]
    found += norm(names.patch_norm, "patch_norm") + norm(names.last_norm, "norm")
    first, merge, step = names.numbers
    for stage in range(stages):
        block, own = names.block.format(first + step * stage), f"stages/{stage}/blocks/"
        found += [
            conv(block + names.depthwise, own + "depthwise"),
            Rule(block + names.depthwise + r"\.bias", own + "depthwise/bias"),
            Rule(block + names.scales, own + "scales", lambda x: x.reshape(-1)),
        ]
        found += norm(block + names.norm, own + "norm")
        for theirs, ours in ((names.up, "up"), (names.down, "down")):
            kernel = f"{own}mlp/{ours}/kernel"
            found.append(Rule(block + theirs + r"\.weight", kernel, lambda x: x.transpose(1, 0)))
            found.append(Rule(block + theirs + r"\.bias", f"{own}mlp/{ours}/bias"))
        if stage < stages - 1:
            own, number = f"stages/{stage}/merge/", merge + step * stage
            found += norm(names.merge_norm.format(number), own + "norm")
            reduction = names.merge.format(number)
            found.append(conv(reduction, own + "reduction"))
            found.append(Rule(reduction + r"\.bias", own + "reduction/bias"))
    return found


def read(source: Mapping[str, Any], what: str, options: Options) -> dict[str, Part]:
    """{"encoder": the network in a file, checked completely but not yet read}.

    Raises:
      UserError: lists everything unexpected, missing or misshapen.
    """
    sign = next((name for name in SIGNS if name in source), None)
    if sign is None:
        raise without_sign(source, what, "ConvNeXt", " or ".join(SIGNS), ".")
    names = SIGNS[sign]
    shapes = Shapes({n: tuple(x.shape) for n, x in source.items()}, what, "ConvNeXt")
    first, _, step = names.numbers
    counts = []
    while found := _blocks(shapes, names, first + step * len(counts)):
        counts.append(found)
    if not counts:
        raise UserError(
            f"{what} is not a whole ConvNeXt: the blocks of its first stage are missing"
        )
    try:
        cfg = ConvNeXtConfig(
            image_size=options.image_size or 224,
            width=shapes.size(sign)[0],
            layers=tuple(counts),
            **vit.NORMALIZATIONS[options.normalization or "imagenet"],
        )
    except ValueError as error:
        raise UserError(f"{what}: {error}") from error
    make = lambda rngs: ConvNeXt(cfg, rngs=rngs)
    table = rules(names, len(counts))
    tree = parameters(make, source, table, ignored=(names.ignored,), what=what)
    return {"encoder": Part("convnext", cfg, tree)}


def _blocks(shapes: Shapes, names: Names, number: int) -> int:
    """How many blocks a stage has; 0 if there is no such stage.

    number: what stands for the stage in the project's names; see Names.numbers.
    """
    block = names.block.format(number) + names.depthwise
    block = block.replace("(?P<layer>", "(")
    return len({m[1] for n in shapes.shapes if (m := re.match(block, n))})


FORMAT = Format(
    "convnext",
    files.read_or_safetensors,
    read,
    tokenizer=(),
    licence="torchvision: BSD-3-Clause; timm: Apache-2.0; ConvNeXt's authors: MIT; see their pages",
)
