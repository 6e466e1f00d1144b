"""Names in google-research/maskgit and generative_transfer checkpoints -> our parameters.

Both store flax trees in msgpack files, one per network, so no array is transposed. The published
files hold {"params": …}. The prompt trainer's own checkpoints hold {"model_state": {"params": …}}
and its optimizer's state. Two things are not in the files: how many codes a tokenizer makes of an
image, and where the codes end and the classes begin among a transformer's words.
"""

import dataclasses
import functools
import re
from collections.abc import Iterable, Mapping
from typing import Any

from maskgit_prompt.backbones import Part
from maskgit_prompt.errors import UserError
from maskgit_prompt.importers import flax_msgpack
from maskgit_prompt.importers.format import Format
from maskgit_prompt.importers.rules import (
    Options,
    Rule,
    Shapes,
    all_parts,
    parameters,
    with_unknown,
)
from maskgit_prompt.models.masked import MaskedConfig, MaskedTransformer
from maskgit_prompt.models.prompt import PromptConfig, PromptGenerator
from maskgit_prompt.models.tokenizer import Tokenizer, TokenizerConfig

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
# A tokenizer of any size.
TOKENIZER_NAMES = (
    r"quantizer/codebook",
    r"(en|de)coder/(ResBlock_\d+/(Conv_[012]|GroupNorm_[01])|Conv_\d+|GroupNorm_0)"
    r"/(kernel|bias|scale)",
)
PYRAMIDS = ("encoder", "decoder")
# part -> patterns of its names, for any size
NAMES = {
    "tokenizer": TOKENIZER_NAMES,
    "transformer": tuple(rule.pattern for rule in TRANSFORMER),
    "prompt": tuple(rule.pattern for rule in PROMPT),
}
# A name that one part has and no other.
SIGNS = {
    "tokenizer": "quantizer/codebook",
    "transformer": "Embed_0/word_embeddings/embedding",
    "prompt": "prompt_embeddings/embedding",
}
CODEBOOK, IMAGE_SIZE = 1024, 256  # of the published models, if nothing else tells
COLLECTIONS = ("params/", "model_state/params/")
# What a training checkpoint holds besides the parameters.
IGNORED = (r"(step|global_step|opt_state|optimizer|optimizer_state|ema_params|rng)(/.*)?",)


def parts(source: Mapping[str, Any], what: str) -> tuple[str, dict[str, dict[str, Any]], list[str]]:
    """The networks in a file: (their collection, part -> {name in it: array}, other names).

    Raises:
      UserError: no known network.
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
        networks = {
            part: {n: x for n, x in inside.items() if _belongs(n, part, found)} for part in found
        }
        return collection, networks, odd
    tops = sorted({name.split("/")[0] for name in source})
    raise UserError(
        f"{what} holds no network of MaskGIT, expected params/ with {' or '.join(SIGNS.values())}; "
        f"it holds {', '.join(tops[:8]) or 'nothing'}"
    )


def _belongs(name: str, part: str, found: list[str]) -> bool:
    """Whether a name belongs to this part, in a file with several."""
    if len(found) == 1:
        return True
    owner = "prompt" if name.startswith("prompt_") else "transformer"
    if re.match(r"(encoder|decoder|quantizer)/", name):
        owner = "tokenizer"
    return part == owner


def tokenizer_rules(cfg: TokenizerConfig) -> list[Rule]:
    """The tokenizer's names; it numbers modules per class in the order of creation."""
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


def tokenizer_config(shapes: Shapes, image_size: int) -> TokenizerConfig:
    """Sizes of a tokenizer from the shapes of its parameters.

    Args:
      image_size: S, which no shape tells.

    Raises:
      UserError: a name that tells a size is missing or misshapen, or the sizes do not fit.
    """
    codebook, embedding = shapes.size("quantizer/codebook", rank=2)
    filters = shapes.size("encoder/Conv_0/kernel")[-1]
    # Each level has as many blocks as the middle. A level of a new width begins with a projection.
    # The decoder's convolutions, one per doubling, count the levels of equal width.
    levels = _last(shapes.numbers(r"decoder/Conv_(\d+)/"))
    counts = [_last(shapes.numbers(rf"{part}/ResBlock_(\d+)/")) + 1 for part in PYRAMIDS]
    # The encoder and the decoder have as many; otherwise one of them is damaged.
    count = next((n for n in counts if n and levels > 0 and n % (levels + 1) == 0), 0)
    if not count:
        raise UserError(
            f"{shapes.what} has {counts[0]} residual blocks in its encoder, expected a multiple of "
            f"{levels + 1}: {levels} levels (by the last of the names decoder/Conv_N/kernel) and "
            "the middle"
        )
    blocks = count // (levels + 1)
    widths = []
    for i in range(levels):
        block = f"encoder/ResBlock_{i * blocks}/Conv_"
        widths.append(shapes.first([f"{block}1/kernel", f"{block}0/kernel"])[-1])
    try:
        return TokenizerConfig(
            image_size=image_size,
            codebook=codebook,
            embedding=embedding,
            filters=filters,
            multipliers=tuple(width // filters for width in widths),
            blocks=blocks,
            conv_downsample=len(shapes.numbers(r"encoder/Conv_(\d+)/")) > 1 + levels // 2,
        )
    except (ValueError, ZeroDivisionError) as error:
        raise UserError(f"{shapes.what}: {error}") from error


def _last(numbers: Iterable[int]) -> int:
    """The last number of a run from 0 with gaps of at most one: 0, 1, 3, 8 -> 3."""
    last = -1
    for number in numbers:
        if number - last > 2:
            break
        last = number
    return last


def transformer_config(shapes: Shapes, options: Options) -> MaskedConfig:
    """Sizes of a transformer from the shapes of its parameters.

    Args:
      options: how many of its words are image codes; the rest are classes and MASK.

    Raises:
      UserError: a name that tells a size is missing or misshapen, or fewer words than codes.
    """
    words, width = shapes.size("Embed_0/word_embeddings/embedding", rank=2)
    positions, _ = shapes.size("Embed_0/position_embeddings/embedding", rank=2)
    layers = shapes.layers(r"TransformerLayer_(\d+)/") or [0]
    of_any = lambda name: [f"TransformerLayer_{layer}/{name}" for layer in layers]
    _, heads, _ = shapes.first(of_any("Attention_0/self_attention/query/kernel"), rank=3)
    _, mlp = shapes.first(of_any("Mlp_0/intermediate_output/kernel"), rank=2)
    codebook = options.codebook or options.tokenizer or CODEBOOK
    if words <= codebook and options.tokenizer and not options.codebook:
        raise UserError(
            f"{shapes.what} has {words} words, but the tokenizer makes {codebook} codes: they do "
            "not belong together; give the tokenizer it was trained with"
        )
    if words <= codebook:
        raise UserError(
            f"{shapes.what} has {words} words, expected more than its {codebook} image codes; give "
            "its tokenizer too, or the number of codes with --config.codebook"
        )
    return MaskedConfig(
        codebook=codebook,
        classes=words - codebook - 1,
        length=positions - 1,
        width=width,
        layers=len(layers),
        heads=heads,
        mlp=mlp,
    )


def prompt_config(shapes: Shapes) -> PromptConfig:
    """Sizes of a prompt generator from the shapes of its parameters."""
    classes, embedding = shapes.size("prompt_embeddings/embedding", rank=2)
    tokens, _ = shapes.size("prompt_position_embeddings/embedding", rank=2)
    dense = "prompt_embedding_hidden_mapping/kernel"
    there = dense in shapes.shapes
    return PromptConfig(
        kind="additive",
        tokens=tokens,
        width=shapes.size(dense, rank=2)[-1] if there else embedding,
        classes=classes,
        embedding=embedding,
        dense=there,
    )


def read(source: Mapping[str, Any], what: str, options: Options) -> dict[str, Part]:
    """The networks in a file, checked completely but not yet read.

    Args:
      source: "params/…" -> array; what: the file, for messages.

    Returns:
      Those of "tokenizer", "transformer" and "prompt" that are there.

    Raises:
      UserError: lists everything unexpected, missing or misshapen.
    """
    prefix, inside, odd = parts(source, what)
    if "tokenizer" in inside and len(shape := inside["tokenizer"][SIGNS["tokenizer"]].shape) == 2:
        options = dataclasses.replace(options, tokenizer=shape[0])

    def make(name: str) -> Part:
        flat, of = inside[name], f"{what} ({name})"
        shapes = Shapes({n: tuple(x.shape) for n, x in flat.items()}, of, name, prefix=prefix)
        try:
            if name == "tokenizer":
                cfg = tokenizer_config(shapes, options.image_size or IMAGE_SIZE)
                kind, module, rules = "vq", Tokenizer, tokenizer_rules(cfg)
            elif name == "transformer":
                cfg = transformer_config(shapes, options)
                kind, module, rules = "masked", MaskedTransformer, TRANSFORMER
            else:
                cfg = prompt_config(shapes)
                kind, module, rules = cfg.kind, PromptGenerator, PROMPT
        except UserError as error:
            raise with_unknown(error, flat, NAMES[name], of, prefix) from error
        network = lambda rngs: module(cfg, rngs=rngs)
        return Part(kind, cfg, parameters(network, flat, rules, what=of, prefix=prefix))

    return all_parts({name: functools.partial(make, name) for name in inside}, odd, what)


FORMAT = Format(
    "maskgit",
    flax_msgpack.read,
    read,
    tokenizer=("params/quantizer/", "model_state/params/quantizer/"),
    licence="google-research/maskgit and google-research/generative_transfer: code Apache-2.0; "
    "terms of the weights: see their pages",
    tuned_on="masked",
)
