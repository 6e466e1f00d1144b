"""Names of google-research/maskgit and generative_transfer checkpoints -> our parameter trees.

Both store flax trees, so no array is transposed. A table is a list of (pattern of a whole source
name, our name); a group named `layer` is stacked over.
"""

import collections
import re
from collections.abc import Iterable, Mapping

import numpy as np

from maskgit_prompt.errors import UserError
from maskgit_prompt.models.tokenizer import TokenizerConfig

Table = Iterable[tuple[str, str]]

LAYER = r"params/TransformerLayer_(?P<layer>\d+)/"
TRANSFORMER: Table = (
    (r"params/Embed_0/word_embeddings/embedding", "words"),
    (r"params/Embed_0/position_embeddings/embedding", "positions"),
    (r"params/Embed_0/embeddings_ln/(\w+)", r"embedding_norm/\1"),
    (LAYER + r"Attention_0/self_attention/(\w+)/(\w+)", r"blocks/attention/\2/\3"),
    (LAYER + r"Attention_0/attention_output_ln/(\w+)", r"blocks/attention_norm/\2"),
    (LAYER + r"Mlp_0/intermediate_output/(\w+)", r"blocks/mlp/up/\2"),
    (LAYER + r"Mlp_0/layer_output/(\w+)", r"blocks/mlp/down/\2"),
    (LAYER + r"Mlp_0/layer_output_ln/(\w+)", r"blocks/mlp_norm/\2"),
    (r"params/MlmLayer_0/mlm_dense/(\w+)", r"head/dense/\1"),
    (r"params/MlmLayer_0/mlm_ln/(\w+)", r"head/norm/\1"),
    (r"params/MlmLayer_0/mlm_bias/bias", r"head/bias"),
)

PROMPT: Table = (
    (r"params/prompt_embeddings/embedding", "classes"),
    (r"params/prompt_position_embeddings/embedding", "positions"),
    (r"params/prompt_embeddings_ln/(\w+)", r"norm/\1"),
    (r"params/prompt_embedding_hidden_mapping/(\w+)", r"dense/\1"),
)


def tokenizer_table(cfg: TokenizerConfig) -> Table:
    """The tokenizer's names; modules there are numbered per class in order of creation."""
    table = [(r"params/quantizer/codebook", "codebook")]
    levels = range(len(cfg.multipliers))
    inner = range(len(cfg.multipliers) - 1)

    def part(name: str, blocks: list[str], convs: list[str]) -> None:
        table.append((rf"params/{name}/GroupNorm_0/(\w+)", rf"{name}/norm_out/\1"))
        for i, conv in enumerate(convs):
            table.append((rf"params/{name}/Conv_{i}/(\w+)", rf"{name}/{conv}/\1"))
        for i, block in enumerate(blocks):
            source, ours = rf"params/{name}/ResBlock_{i}", f"{name}/{block}"
            for j in (1, 2):
                table.append((rf"{source}/GroupNorm_{j - 1}/(\w+)", rf"{ours}/norm{j}/\1"))
                table.append((rf"{source}/Conv_{j - 1}/(\w+)", rf"{ours}/conv{j}/\1"))
            table.append((rf"{source}/Conv_2/(\w+)", rf"{ours}/shortcut/\1"))

    named = lambda group: [f"{group}/{i}" for i in range(cfg.blocks)]
    level_blocks = lambda order: [b for i in order for b in named(f"levels/{i}/blocks")]
    downs = [f"levels/{i}/down" for i in inner] if cfg.conv_downsample else []
    part("encoder", level_blocks(levels) + named("middle"), ["conv_in", *downs, "conv_out"])
    ups = [f"levels/{i + 1}/up" for i in reversed(inner)]
    part("decoder", named("middle") + level_blocks(reversed(levels)), ["conv_in", *ups, "conv_out"])
    return table


def convert(source: Mapping[str, np.ndarray], table: Table) -> dict[str, np.ndarray]:
    """Flat {source name: array} -> flat {our name: array}; layers are stacked.

    Raises:
      UserError: names that no pattern matches, or layers that are not 0, 1, 2, …
    """
    found, layers, unknown = {}, collections.defaultdict(dict), []
    for name, array in source.items():
        match = next((m for p, _ in table if (m := re.fullmatch(p, name))), None)
        if match is None:
            unknown.append(f"{name} {array.shape}")
            continue
        ours = match.expand(next(t for p, t in table if p == match.re.pattern))
        layer = match.groupdict().get("layer")
        if layer is None:
            found[ours] = array
        else:
            layers[ours][int(layer)] = array
    if unknown:
        raise UserError(f"unexpected parameters in the checkpoint: {'; '.join(sorted(unknown))}")
    for name, arrays in layers.items():
        if sorted(arrays) != list(range(len(arrays))):
            raise UserError(f"{name}: layers {sorted(arrays)}, expected 0 to {len(arrays) - 1}")
        found[name] = np.stack([arrays[i] for i in range(len(arrays))])
    return found
