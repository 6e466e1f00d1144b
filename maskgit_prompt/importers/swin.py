"""Names of published Swin transformers -> our parameters.

Microsoft's .pth and timm's files are PyTorch state dicts: query, key and value are one matrix
[3·D, D], convolutions are OIHW. Microsoft's count a merge to the stage before it, timm's (from 0.9
on) to the stage behind it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from maskgit_prompt.backbones import Part
from maskgit_prompt.errors import UserError
from maskgit_prompt.importers import pytorch as files
from maskgit_prompt.importers import vit
from maskgit_prompt.importers.format import Format
from maskgit_prompt.importers.rules import Options, Rule, Shapes, parameters, without_sign
from maskgit_prompt.models.swin import Swin, SwinConfig

SIGN = "layers.0.blocks.0.attn.relative_position_bias_table"
# Made anew from the sizes, and the classifier of the pre-training, which a new head replaces.
IGNORED = (r".*\.(relative_position_index|attn_mask)", r"head\..*")


def pytorch(heads: Sequence[int], *, merged_behind: bool) -> list[Rule]:
    """Rules for all stages.

    Args:
      heads: by stage.
      merged_behind: whether a merge is named after the stage behind it, as in timm.
    """
    rules = [
        Rule(r"patch_embed\.proj\.weight", "patches/kernel", lambda x: x.transpose(2, 3, 1, 0)),
        Rule(r"patch_embed\.proj\.bias", "patches/bias"),
    ]
    for theirs, ours in (("weight", "scale"), ("bias", "bias")):
        rules += [
            Rule(rf"patch_embed\.norm\.{theirs}", f"patch_norm/{ours}"),
            Rule(rf"norm\.{theirs}", f"norm/{ours}"),
        ]
    for stage, count in enumerate(heads):
        layer = rf"layers\.{stage}\.blocks\.(?P<layer>\d+)\."
        own = f"stages/{stage}/"
        rules += vit.blocks(layer, count, own)
        rules.append(
            Rule(
                layer + r"attn\.relative_position_bias_table",
                f"{own}blocks/attention/positions",
            )
        )
        merge = rf"layers\.{stage + merged_behind}\.downsample\."
        rules += [
            Rule(
                merge + r"reduction\.weight",
                f"{own}merge/reduction/kernel",
                lambda x: x.transpose(1, 0),
            ),
            Rule(merge + r"norm\.weight", f"{own}merge/norm/scale"),
            Rule(merge + r"norm\.bias", f"{own}merge/norm/bias"),
        ]
    return rules


def read(source: Mapping[str, Any], what: str, options: Options) -> dict[str, Part]:
    """{"encoder": the network in a file, checked completely but not yet read}.

    Raises:
      UserError: lists everything unexpected, missing or misshapen.
    """
    if SIGN not in source:
        raise without_sign(source, what, "Swin transformer", SIGN, ".")
    shapes = Shapes({n: tuple(x.shape) for n, x in source.items()}, what, "Swin transformer")
    stages = shapes.run(r"layers\.(\d+)\.blocks\.0\.")
    width, _, patch, _ = shapes.size("patch_embed.proj.weight")
    bias = [
        shapes.size(f"layers.{i}.blocks.0.attn.relative_position_bias_table", rank=2)
        for i in range(stages)
    ]
    windows = [(round(rows**0.5) + 1) // 2 for rows, _ in bias]
    try:
        cfg = SwinConfig(
            # The last stage of the published sizes is one window.
            image_size=options.image_size or windows[-1] * patch * 2 ** (stages - 1),
            patch=patch,
            width=width,
            layers=tuple(
                len(shapes.layers(rf"layers\.{i}\.blocks\.(\d+)\.")) for i in range(stages)
            ),
            heads=tuple(heads for _, heads in bias),
            window=max(windows),
            ratio=shapes.size("layers.0.blocks.0.mlp.fc1.weight", rank=2)[0] // width,
            **vit.NORMALIZATIONS[options.normalization or "imagenet"],
        )
    except ValueError as error:
        raise UserError(f"{what}: {error}") from error
    behind = "layers.0.downsample.reduction.weight" not in source
    make = lambda rngs: Swin(cfg, rngs=rngs)
    rules = pytorch(cfg.heads, merged_behind=behind)
    tree = parameters(make, source, rules, ignored=IGNORED, what=what)
    return {"encoder": Part("swin", cfg, tree)}


FORMAT = Format(
    "swin",
    files.read_or_safetensors,
    read,
    tokenizer=(),
    licence="microsoft/Swin-Transformer: MIT; timm: Apache-2.0; see their pages",
)
