"""Names of published vision transformers -> our parameters.

Google's .npz files (google-research/vision_transformer and big_vision) hold flax trees: query, key
and value kernels are split into heads, convolutions are HWIO. MAE's, MoCo v3's and timm's are
PyTorch state dicts: query, key and value are one matrix [3·D, D], convolutions are OIHW.
"""

from typing import Any

from maskgit_prompt.errors import UserError
from maskgit_prompt.importers.rules import Options, Rule, Shapes
from maskgit_prompt.models.vit import ViTConfig, resize_positions, side_of

GOOGLE_LAYER = r"Transformer/encoderblock_(?P<layer>\d+)/"
# Classifiers of the pre-training, which a new head replaces.
GOOGLE_HEADS = (r"head/.*", r"pre_logits/.*")
NORMALIZATIONS = {
    "half": {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)},
    "imagenet": {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
}


def vit_config(
    shapes: Shapes,
    options: Options,
    *,
    table: int,
    patch: int,
    normalization: str = "half",
    **sizes: Any,
) -> ViTConfig:
    """Sizes of a vision transformer from the shapes of its parameters.

    Args:
      table: rows of the position table, which tell the grid where options.image_size does not.
      normalization: of the pixels it was trained on, where options say nothing.

    Raises:
      UserError: the network cannot have these sizes.
    """
    try:
        return ViTConfig(
            image_size=options.image_size or side_of(table) * patch,
            patch=patch,
            **NORMALIZATIONS[options.normalization or normalization],
            **sizes,
        )
    except ValueError as error:
        raise UserError(f"{shapes.what}: {error}") from error


def google(grid: int) -> list[Rule]:
    """For Google's .npz files; positions are resized to a grid of this many patches a side."""
    attention = r"MultiHeadDotProductAttention_1/(\w+)/(\w+)"
    return [
        Rule(r"cls", "class_token", lambda x: x.reshape(x.shape[-1])),
        Rule(r"embedding/(\w+)", r"patches/\1"),
        Rule(r"Transformer/posembed_input/pos_embedding", "positions", _positions(grid)),
        Rule(r"Transformer/encoder_norm/(\w+)", r"norm/\1"),
        Rule(GOOGLE_LAYER + r"LayerNorm_0/(\w+)", r"blocks/attention_norm/\2"),
        Rule(GOOGLE_LAYER + r"LayerNorm_2/(\w+)", r"blocks/mlp_norm/\2"),
        Rule(GOOGLE_LAYER + attention, r"blocks/attention/\2/\3"),
        Rule(GOOGLE_LAYER + r"MlpBlock_3/Dense_0/(\w+)", r"blocks/mlp/up/\2"),
        Rule(GOOGLE_LAYER + r"MlpBlock_3/Dense_1/(\w+)", r"blocks/mlp/down/\2"),
    ]


def _positions(grid: int):
    return lambda x: resize_positions(x.reshape(x.shape[-2:]), grid)


def pytorch(heads: int, grid: int, norm: str = "(?:fc_)?norm") -> list[Rule]:
    """For the state dicts of MAE, MoCo v3 and timm.

    Args:
      grid: as in `google`.
      norm: pattern of the last norm's name. MAE's classifiers have theirs behind the pooling,
        under another name.
    """
    rules = [
        Rule(r"cls_token", "class_token", lambda x: x.reshape(x.shape[-1])),
        Rule(r"pos_embed", "positions", _positions(grid)),
        Rule(r"patch_embed\.proj\.weight", "patches/kernel", lambda x: x.transpose(2, 3, 1, 0)),
        Rule(r"patch_embed\.proj\.bias", "patches/bias"),
    ]
    for theirs, ours in (("weight", "scale"), ("bias", "bias")):
        rules.append(Rule(rf"{norm}\.{theirs}", f"norm/{ours}"))
    return rules + blocks(r"blocks\.(?P<layer>\d+)\.", heads)


def blocks(layer: str, heads: int, prefix: str = "") -> list[Rule]:
    """Rules for a stack of blocks as PyTorch's vision transformers name them.

    Args:
      layer: pattern of what stands in front of a parameter, with the block's number as "layer".
      prefix: what stands in front of our "blocks/".
    """
    rules = [
        Rule(
            layer + r"attn\.proj\.weight",
            f"{prefix}blocks/attention/out/kernel",
            lambda x: x.transpose(1, 0).reshape(heads, -1, x.shape[0]),
        ),
        Rule(layer + r"attn\.proj\.bias", f"{prefix}blocks/attention/out/bias"),
    ]
    for i, name in enumerate(("query", "key", "value")):
        rules += [
            Rule(
                layer + r"attn\.qkv\.weight",
                f"{prefix}blocks/attention/{name}/kernel",
                lambda x, i=i: x.reshape(3, heads, -1, x.shape[1])[i].transpose(2, 0, 1),
            ),
            Rule(
                layer + r"attn\.qkv\.bias",
                f"{prefix}blocks/attention/{name}/bias",
                lambda x, i=i: x.reshape(3, heads, -1)[i],
            ),
        ]
    for theirs, ours in (("fc1", "up"), ("fc2", "down")):
        rules += [
            Rule(
                layer + rf"mlp\.{theirs}\.weight",
                f"{prefix}blocks/mlp/{ours}/kernel",
                lambda x: x.transpose(1, 0),
            ),
            Rule(layer + rf"mlp\.{theirs}\.bias", f"{prefix}blocks/mlp/{ours}/bias"),
        ]
    for theirs, ours in (("weight", "scale"), ("bias", "bias")):
        rules += [
            Rule(layer + rf"norm1\.{theirs}", f"{prefix}blocks/attention_norm/{ours}"),
            Rule(layer + rf"norm2\.{theirs}", f"{prefix}blocks/mlp_norm/{ours}"),
        ]
    return rules
