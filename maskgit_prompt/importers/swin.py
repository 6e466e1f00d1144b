"""Names of published Swin transformers -> our parameters.

Microsoft's .pth and timm's files are PyTorch state dicts: query, key and value are one matrix
[3·D, D], convolutions are OIHW. Microsoft's count a merge to the stage before it, timm's (from 0.9
on) to the stage behind it.
"""

from collections.abc import Sequence

from maskgit_prompt.importers import vit
from maskgit_prompt.importers.rules import Rule

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
