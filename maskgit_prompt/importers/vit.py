"""Names of published vision transformers -> our parameters.

Google's .npz files (google-research/vision_transformer and big_vision) hold flax trees: query, key
and value kernels are split into heads, convolutions are HWIO. MAE's, MoCo v3's and timm's are
PyTorch state dicts: query, key and value are one matrix [3·D, D], convolutions are OIHW.
"""

from maskgit_prompt.importers.rules import Rule

GOOGLE_LAYER = r"Transformer/encoderblock_(?P<layer>\d+)/"
GOOGLE = (
    Rule(r"cls", "class_token", lambda x: x.reshape(x.shape[-1])),
    Rule(r"embedding/(\w+)", r"patches/\1"),
    Rule(
        r"Transformer/posembed_input/pos_embedding",
        "positions",
        lambda x: x.reshape(x.shape[-2:]),
    ),
    Rule(r"Transformer/encoder_norm/(\w+)", r"norm/\1"),
    Rule(GOOGLE_LAYER + r"LayerNorm_0/(\w+)", r"blocks/attention_norm/\2"),
    Rule(GOOGLE_LAYER + r"LayerNorm_2/(\w+)", r"blocks/mlp_norm/\2"),
    Rule(GOOGLE_LAYER + r"MultiHeadDotProductAttention_1/(\w+)/(\w+)", r"blocks/attention/\2/\3"),
    Rule(GOOGLE_LAYER + r"MlpBlock_3/Dense_0/(\w+)", r"blocks/mlp/up/\2"),
    Rule(GOOGLE_LAYER + r"MlpBlock_3/Dense_1/(\w+)", r"blocks/mlp/down/\2"),
)
# Classifiers of the pre-training, which a new head replaces.
GOOGLE_HEADS = (r"head/.*", r"pre_logits/.*")


def pytorch(heads: int) -> list[Rule]:
    """For the state dicts of MAE, MoCo v3 and timm."""
    rules = [
        Rule(r"cls_token", "class_token", lambda x: x.reshape(x.shape[-1])),
        Rule(r"pos_embed", "positions", lambda x: x.reshape(x.shape[-2:])),
        Rule(r"patch_embed\.proj\.weight", "patches/kernel", lambda x: x.transpose(2, 3, 1, 0)),
        Rule(r"patch_embed\.proj\.bias", "patches/bias"),
    ]
    for theirs, ours in (("weight", "scale"), ("bias", "bias")):
        # MAE's classifiers have their last norm behind the pooling, under another name.
        rules.append(Rule(rf"(?:fc_)?norm\.{theirs}", f"norm/{ours}"))
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
