"""Residual networks of bottleneck blocks with the names of torchvision, which timm has, too.

They are PyTorch state dicts: convolutions are OIHW, norms hold running averages. Networks whose
blocks halve the image in their first convolution have the same names and shapes, so a file cannot
tell; torchvision's and timm's do it in the second.
"""

from collections.abc import Mapping
from typing import Any

from maskgit_prompt.backbones import Part
from maskgit_prompt.errors import UserError
from maskgit_prompt.importers import pytorch as files
from maskgit_prompt.importers import vit
from maskgit_prompt.importers.format import Format
from maskgit_prompt.importers.rules import Options, Rule, Shapes, parameters, without_sign
from maskgit_prompt.models.resnet import ResNet, ResNetConfig

SIGN = "layer4.0.conv3.weight"
NORM = (("weight", "scale"), ("bias", "bias"))
AVERAGED = (*NORM, ("running_mean", "mean"), ("running_var", "variance"))
COUNTED = r".*\.num_batches_tracked"
STAGES = 4


def stages(theirs: str, ours: str, count: int) -> list[Rule]:
    """Rules for the first convolution and the stages behind it.

    Args:
      theirs: pattern of what stands in front of their names; ours: in front of our paths.
      count: of stages.
    """
    found = [conv(rf"{theirs}conv1", f"{ours}conv")]
    found += norm(rf"{theirs}bn1", f"{ours}norm", AVERAGED)
    for stage in range(count):
        block, own = rf"{theirs}layer{stage + 1}\.(\d+)\.", rf"{ours}stages/{stage}/\1/"
        found.append(conv(block + r"conv(\d)", own + r"conv\2"))
        found += norm(block + r"bn(\d)", own + r"norm\2", AVERAGED)
        found.append(conv(block + r"downsample\.0", own + "shortcut"))
        found += norm(block + r"downsample\.1", own + "shortcut_norm", AVERAGED)
    return found


def conv(theirs: str, ours: str) -> Rule:
    """A convolution's kernel, OIHW -> HWIO."""
    return Rule(theirs + r"\.weight", f"{ours}/kernel", lambda x: x.transpose(2, 3, 1, 0))


def norm(theirs: str, ours: str, parts: tuple = NORM) -> list[Rule]:
    """A norm's parameters; parts: (theirs, ours) of each."""
    return [Rule(rf"{theirs}\.{part}", f"{ours}/{name}") for part, name in parts]


def read(source: Mapping[str, Any], what: str, options: Options) -> dict[str, Part]:
    """{"encoder": the network in a file, checked completely but not yet read}.

    Raises:
      UserError: lists everything unexpected, missing or misshapen.
    """
    if SIGN not in source:
        raise without_sign(source, what, "residual network of bottlenecks", SIGN, ".")
    shapes = Shapes({n: tuple(x.shape) for n, x in source.items()}, what, "residual network")
    try:
        cfg = ResNetConfig(
            image_size=options.image_size or 224,
            layers=tuple(len(shapes.layers(rf"layer{i + 1}\.(\d+)\.")) for i in range(STAGES)),
            **vit.NORMALIZATIONS[options.normalization or "imagenet"],
        )
    except ValueError as error:
        raise UserError(f"{what}: {error}") from error
    make = lambda rngs: ResNet(cfg, rngs=rngs)
    # The classifier of the pre-training, which a new head replaces, is called fc.
    ignored = (r"fc\..*", COUNTED)
    tree = parameters(make, source, stages("", "", STAGES), ignored=ignored, what=what)
    return {"encoder": Part("resnet", cfg, tree)}


FORMAT = Format(
    "resnet",
    files.read_or_safetensors,
    read,
    tokenizer=(),
    licence="torchvision: BSD-3-Clause; timm: Apache-2.0; see their pages",
)
