"""Names in OFA's PyTorch files -> our parameters.

Linear layers are [out, in], convolutions OIHW. The stacks have different names for the same norms.
"""

from maskgit_prompt.importers import resnet
from maskgit_prompt.importers.resnet import norm
from maskgit_prompt.importers.rules import Rule
from maskgit_prompt.models.ofa import OFAConfig

# Their stack, their name of the norm behind self-attention.
STACKS = (("encoder", "attn_ln"), ("decoder", "self_attn_ln"))
# Made anew from the sizes; the decoder's table is the encoder's.
BUFFERS = (
    r"(encoder|decoder)\.(version|token_rp_bucket|image_rp_bucket|image_position_idx)",
    resnet.COUNTED,
)
TIED = ("decoder.embed_tokens.weight", "decoder.output_projection.weight")


def rules(cfg: OFAConfig) -> list[Rule]:
    """For the whole network."""
    found = [Rule(r"encoder\.embed_tokens\.weight", "words")]
    found += [Rule(r"encoder\.type_embedding\.weight", "encoder/types")]
    found += linear(r"encoder\.image_proj", "encoder/image_projection")
    found += norm(r"encoder\.patch_layernorm_embedding", "encoder/image_norm")
    found += norm(r"decoder\.code_layernorm_embedding", "decoder/code_norm")
    found += resnet.stages(r"encoder\.embed_images\.", "encoder/stem/", 3)
    biases = (("encoder", "pos", "bias"), ("decoder", "self_pos", "bias"))
    for stack, theirs, ours in (*biases, ("decoder", "cross_pos", "cross_bias")):
        heads = cfg.heads[stack == "decoder"]
        for letter, name in (("q", "query"), ("k", "key")):
            found += _heads(rf"{stack}\.{theirs}_{letter}_linear", f"{stack}/{ours}/{name}", heads)
    for (stack, behind), heads in zip(STACKS, cfg.heads, strict=True):
        found += norm(rf"{stack}\.layernorm_embedding", f"{stack}/text_norm")
        found += norm(rf"{stack}\.layer_norm", f"{stack}/norm")
        for theirs, ours in (("embed", "text"), ("embed_image", "image")):
            found.append(Rule(rf"{stack}\.{theirs}_positions\.weight", f"{stack}/positions/{ours}"))
        for theirs, ours in (("pos_ln", "text_norm"), ("image_pos_ln", "image_norm")):
            found += norm(rf"{stack}\.{theirs}", f"{stack}/positions/{ours}")
        for theirs, ours in (("token", "text"), ("image", "image")):
            name = rf"{stack}\.{theirs}_rel_pos_table_list\.(?P<layer>\d+)\.weight"
            found.append(Rule(name, f"{stack}/blocks/{ours}_table"))
        layer, own = rf"{stack}\.layers\.(?P<layer>\d+)\.", f"{stack}/blocks/"
        found += _attention(layer + "self_attn", own + "attention", heads)
        found += norm(layer + behind, own + "attention/norm")
        found += norm(layer + "self_attn_layer_norm", own + "attention_norm")
        found += norm(layer + "final_layer_norm", own + "mlp_norm")
        found += norm(layer + "ffn_layernorm", own + "mlp/norm")
        found += linear(layer + "fc1", own + "mlp/up")
        found += linear(layer + "fc2", own + "mlp/down")
    found += _attention(layer + "encoder_attn", own + "cross", heads)
    found += norm(layer + "cross_attn_ln", own + "cross/norm")
    return found + norm(layer + "encoder_attn_layer_norm", own + "cross_norm")


def _attention(theirs: str, ours: str, heads: int) -> list[Rule]:
    found = [
        Rule(theirs + r"\.c_attn", f"{ours}/scales"),
        Rule(
            theirs + r"\.out_proj\.weight",
            f"{ours}/out/kernel",
            lambda x: x.transpose(1, 0).reshape(heads, -1, x.shape[0]),
        ),
        Rule(theirs + r"\.out_proj\.bias", f"{ours}/out/bias"),
    ]
    for name in ("query", "key", "value"):
        found += _heads(rf"{theirs}\.{name[0]}_proj", f"{ours}/{name}", heads)
    return found


def _heads(theirs: str, ours: str, heads: int) -> list[Rule]:
    """A linear layer whose outputs are those of heads."""
    kernel = lambda x: x.transpose(1, 0).reshape(x.shape[1], heads, -1)
    return [
        Rule(theirs + r"\.weight", f"{ours}/kernel", kernel),
        Rule(theirs + r"\.bias", f"{ours}/bias", lambda x: x.reshape(heads, -1)),
    ]


def linear(theirs: str, ours: str) -> list[Rule]:
    """A dense layer, whose kernel is [I, O] here."""
    return [
        Rule(theirs + r"\.weight", f"{ours}/kernel", lambda x: x.transpose(1, 0)),
        Rule(theirs + r"\.bias", f"{ours}/bias"),
    ]
