"""Names in google-research/maskgit and generative_transfer checkpoints -> our parameters.

Both store flax trees in msgpack files, one a network, so no array is transposed. The published
files hold {"params": …}; the prompt trainer's own checkpoints hold {"model_state": {"params": …}}
beside its optimizer's state. What is not in the file is the number of image codes an image of a
tokenizer, and where the codes end and the classes begin among a transformer's words.
"""

import re
from collections.abc import Mapping
from typing import Any

from maskgit_prompt.errors import UserError
from maskgit_prompt.importers.rules import Options, Rule, make_part
from maskgit_prompt.models.masked import MaskedConfig, MaskedTransformer
from maskgit_prompt.models.prompt import PromptConfig, PromptGenerator
from maskgit_prompt.models.tokenizer import Tokenizer, TokenizerConfig
from maskgit_prompt.source import Part

Shapes = Mapping[str, tuple[int, ...]]

LAYER = r"TransformerLayer_(?P<layer>\d+)/"
TRANSFORMER = (
    Rule(r"Embed_0/word_embeddings/embedding", "words"),
    Rule(r"Embed_0/position_embeddings/embedding", "positions"),
    Rule(r"Embed_0/embeddings_ln/(\w+)", r"embedding_norm/\1"),
    Rule(LAYER + r"Attention_0/self_attention/(\w+)/(\w+)", r"blocks/attention/\2/\3"),
    Rule(LAYER + r"Attention_0/attention_output_ln/(\w+)", r"blocks/attention_norm/\2"),
    Rule(LAYER + r"Mlp_0/intermediate_output/(\w+)", r"blocks/mlp/up/\2"),
    Rule(LAYER + r"Mlp_0/layer_output/(\w+)", r"blocks/mlp/down/\2"),
    Rule(LAYER + r"Mlp_0/layer_output_ln/(\w+)", r"blocks/mlp_norm/\2"),
    Rule(r"MlmLayer_0/mlm_dense/(\w+)", r"head/dense/\1"),
    Rule(r"MlmLayer_0/mlm_ln/(\w+)", r"head/norm/\1"),
    Rule(r"MlmLayer_0/mlm_bias/bias", r"head/bias"),
)
PROMPT = (
    Rule(r"prompt_embeddings/embedding", "classes"),
    Rule(r"prompt_position_embeddings/embedding", "positions"),
    Rule(r"prompt_embeddings_ln/(\w+)", r"norm/\1"),
    Rule(r"prompt_embedding_hidden_mapping/(\w+)", r"dense/\1"),
)
# A name that one part has and no other.
SIGNS = {
    "tokenizer": "quantizer/codebook",
    "transformer": "Embed_0/word_embeddings/embedding",
    "prompt": "prompt_embeddings/embedding",
}
CODEBOOK, IMAGE_SIZE = 1024, 256  # of the published models, where nothing tells
COLLECTIONS = ("params/", "model_state/params/")
# What a training checkpoint holds beside the parameters.
IGNORED = (r"(step|global_step|opt_state|optimizer|optimizer_state|ema_params|rng)(/.*)?",)


def parts(source: Mapping[str, Any], what: str) -> dict[str, dict[str, Any]]:
    """The networks in a file: part -> {name without its collection: array}.

    Raises:
      UserError: none that is known.
    """
    for collection in COLLECTIONS:
        inside = {
            n.removeprefix(collection): x for n, x in source.items() if n.startswith(collection)
        }
        found = [part for part, sign in SIGNS.items() if sign in inside]
        if not found:
            continue
        other = [n for n in source if not n.startswith(collection)]
        odd = [n for n in other if not any(re.fullmatch(p, n) for p in IGNORED)]
        if odd:
            raise UserError(f"{what} does not fit the model: {', '.join(odd)} unexpected")
        return {
            part: {n: x for n, x in inside.items() if _belongs(n, part, found)} for part in found
        }
    tops = sorted({name.split("/")[0] for name in source})
    raise UserError(
        f"{what} holds no network of MaskGIT, expected params/ with {' or '.join(SIGNS.values())}; "
        f"it holds {', '.join(tops[:8]) or 'nothing'}"
    )


def _belongs(name: str, part: str, found: list[str]) -> bool:
    """Whether a name is this part's, where a file holds several."""
    if len(found) == 1:
        return True
    owner = "prompt" if name.startswith("prompt_") else "transformer"
    if re.match(r"(encoder|decoder|quantizer)/", name):
        owner = "tokenizer"
    return part == owner


def tokenizer_rules(cfg: TokenizerConfig) -> list[Rule]:
    """The tokenizer's names; modules there are numbered per class in order of creation."""
    rules = [Rule(r"quantizer/codebook", "codebook")]
    levels = range(len(cfg.multipliers))
    inner = range(len(cfg.multipliers) - 1)

    def part(name: str, blocks: list[str], convs: list[str]) -> None:
        rules.append(Rule(rf"{name}/GroupNorm_0/(\w+)", rf"{name}/norm_out/\1"))
        for i, conv in enumerate(convs):
            rules.append(Rule(rf"{name}/Conv_{i}/(\w+)", rf"{name}/{conv}/\1"))
        for i, block in enumerate(blocks):
            source, ours = rf"{name}/ResBlock_{i}", f"{name}/{block}"
            for j in (1, 2):
                rules.append(Rule(rf"{source}/GroupNorm_{j - 1}/(\w+)", rf"{ours}/norm{j}/\1"))
                rules.append(Rule(rf"{source}/Conv_{j - 1}/(\w+)", rf"{ours}/conv{j}/\1"))
            rules.append(Rule(rf"{source}/Conv_2/(\w+)", rf"{ours}/shortcut/\1"))

    named = lambda group: [f"{group}/{i}" for i in range(cfg.blocks)]
    level_blocks = lambda order: [b for i in order for b in named(f"levels/{i}/blocks")]
    downs = [f"levels/{i}/down" for i in inner] if cfg.conv_downsample else []
    part("encoder", level_blocks(levels) + named("middle"), ["conv_in", *downs, "conv_out"])
    ups = [f"levels/{i + 1}/up" for i in reversed(inner)]
    part("decoder", named("middle") + level_blocks(reversed(levels)), ["conv_in", *ups, "conv_out"])
    return rules


def tokenizer_config(shapes: Shapes, image_size: int, what: str) -> TokenizerConfig:
    """Sizes of a tokenizer from the shapes of its parameters.

    Args:
      shapes: source name -> shape; image_size: S, which no shape tells.
    """
    try:
        codebook, embedding = shapes["quantizer/codebook"]
        filters = shapes["encoder/Conv_0/kernel"][-1]
        widths = _widths(shapes)
    except (KeyError, ValueError) as error:
        raise _not_whole(what, "tokenizer", error) from error
    # As many blocks a level as there are middle ones; a level of a new width begins with a
    # projection, levels of equal width are told by the decoder's convolutions, one a doubling.
    levels = sum(1 for name in shapes if re.fullmatch(r"decoder/Conv_\d+/kernel", name)) - 1
    blocks, rest = divmod(len(widths), levels + 1)
    if rest or blocks < 1 or levels < 1:
        raise UserError(
            f"{what} has {len(widths)} residual blocks in its encoder, expected a multiple of "
            f"{levels + 1}: its {levels} levels and the middle"
        )
    try:
        return TokenizerConfig(
            image_size=image_size,
            codebook=codebook,
            embedding=embedding,
            filters=filters,
            multipliers=tuple(widths[i * blocks] // filters for i in range(levels)),
            blocks=blocks,
            conv_downsample=levels > 1 and f"encoder/Conv_{levels}/kernel" in shapes,
        )
    except ValueError as error:
        raise UserError(f"{what}: {error}") from error


def _not_whole(what: str, part: str, error: KeyError | ValueError) -> UserError:
    """Of a name that is missing, or an array of another rank than that part has."""
    if isinstance(error, KeyError):
        return UserError(f"{what} is no whole {part}: {error.args[0]} is missing")
    return UserError(f"{what} is no {part} of MaskGIT: an array has more or fewer dimensions")


def _widths(shapes: Shapes) -> list[int]:
    """Of the encoder's residual blocks, in order."""
    numbers = (re.fullmatch(r"encoder/ResBlock_(\d+)/Conv_1/kernel", name) for name in shapes)
    count = 1 + max((int(m[1]) for m in numbers if m), default=-1)
    return [shapes[f"encoder/ResBlock_{i}/Conv_1/kernel"][-1] for i in range(count)]


def transformer_config(shapes: Shapes, codebook: int, what: str) -> MaskedConfig:
    """Sizes of a transformer from the shapes of its parameters.

    Args:
      codebook: how many of its words are image codes; the rest are classes and one for MASK.
    """
    layer = "TransformerLayer_0/"
    try:
        words, width = shapes["Embed_0/word_embeddings/embedding"]
        positions, _ = shapes["Embed_0/position_embeddings/embedding"]
        _, heads, _ = shapes[f"{layer}Attention_0/self_attention/query/kernel"]
        _, mlp = shapes[f"{layer}Mlp_0/intermediate_output/kernel"]
    except (KeyError, ValueError) as error:
        raise _not_whole(what, "transformer", error) from error
    if words <= codebook:
        raise UserError(
            f"{what} has {words} words, expected more than its {codebook} image codes; give the "
            "number with --config.codebook"
        )
    query = r"TransformerLayer_(\d+)/Attention_0/self_attention/query/kernel"
    found = (re.fullmatch(query, name) for name in shapes)
    return MaskedConfig(
        codebook=codebook,
        classes=words - codebook - 1,
        length=positions - 1,
        width=width,
        layers=len({match[1] for match in found if match}),
        heads=heads,
        mlp=mlp,
    )


def prompt_config(shapes: Shapes, what: str) -> PromptConfig:
    """Sizes of a prompt generator from the shapes of its parameters."""
    try:
        classes, embedding = shapes["prompt_embeddings/embedding"]
        tokens, _ = shapes["prompt_position_embeddings/embedding"]
        dense = shapes.get("prompt_embedding_hidden_mapping/kernel")
    except (KeyError, ValueError) as error:
        raise _not_whole(what, "prompt", error) from error
    return PromptConfig(
        kind="additive",
        tokens=tokens,
        width=embedding if dense is None else dense[-1],
        classes=classes,
        embedding=embedding,
        dense=dense is not None,
    )


def read(source: Mapping[str, Any], what: str, options: Options) -> dict[str, Part]:
    """The networks in a file, checked whole and not yet read.

    Args:
      source: "params/…" -> array; what: the file, for messages.

    Returns:
      Of "tokenizer", "transformer" and "prompt" those that are there.

    Raises:
      UserError: all that is unexpected, missing or misshapen.
    """
    inside = parts(source, what)
    shapes = {name: {n: tuple(x.shape) for n, x in flat.items()} for name, flat in inside.items()}
    found = {}
    codebook = options.codebook or CODEBOOK
    if "tokenizer" in inside:
        cfg = tokenizer_config(shapes["tokenizer"], options.image_size or IMAGE_SIZE, what)
        found["tokenizer"] = ("vq", cfg, tokenizer_rules(cfg), Tokenizer)
        codebook = cfg.codebook
    if "transformer" in inside:
        cfg = transformer_config(shapes["transformer"], codebook, what)
        found["transformer"] = ("masked", cfg, TRANSFORMER, MaskedTransformer)
    if "prompt" in inside:
        cfg = prompt_config(shapes["prompt"], what)
        found["prompt"] = (cfg.kind, cfg, PROMPT, PromptGenerator)
    return {
        name: make_part(kind, cfg, module, inside[name], rules, what=f"{what} ({name})")
        for name, (kind, cfg, rules, module) in found.items()
    }
