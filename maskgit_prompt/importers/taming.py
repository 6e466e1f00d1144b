"""Names of CompVis/taming-transformers checkpoints -> our parameter trees."""

import collections
import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

from maskgit_prompt.backbones import Part
from maskgit_prompt.errors import UserError
from maskgit_prompt.importers import pytorch, taming_folder
from maskgit_prompt.importers.format import Format
from maskgit_prompt.importers.rules import (
    Options,
    Rule,
    Shapes,
    all_parts,
    parameters,
    with_unknown,
)
from maskgit_prompt.models.causal import CausalTransformer
from maskgit_prompt.models.causal_sizes import CONFIGS, CausalConfig
from maskgit_prompt.models.vqgan import VQGAN, VQGANConfig

# --- VQGAN: the tokenizer, VQModel or GumbelVQ -------------------------------------------------

# The losses hold a discriminator and the network of a perceptual distance.
VQGAN_IGNORED = (r"(first_stage_model\.)?loss\..*",)

CODEBOOKS = {"nearest": "quantize.embedding.weight", "gumbel": "quantize.embed.weight"}


def vqgan_rules(cfg: VQGANConfig, prefix: str = "") -> list[Rule]:
    """Names of a VQGAN's state dict -> paths of models.vqgan.VQGAN.

    "encoder.down.3.block.0.conv1.weight" goes to "encoder/levels/3/blocks/0/conv1/kernel".

    Args:
      prefix: precedes all names; "first_stage_model." in a transformer's checkpoint.
    """
    rules = []

    def layer(source: str, ours: str, kernel="kernel", transform=lambda x: x.transpose(2, 3, 1, 0)):
        source = re.escape(prefix) + source
        rules.append(Rule(rf"{source}\.weight", f"{ours}/{kernel}", transform))
        rules.append(Rule(rf"{source}\.bias", f"{ours}/bias"))

    def group_norm(source: str, ours: str):
        layer(source, ours, "scale", None)

    def linear(source: str, ours: str):  # a 1x1 convolution (out, in, 1, 1) -> [in, out]
        layer(source, ours, transform=lambda x: x.reshape(x.shape[:2]).transpose(1, 0))

    part = r"(encoder|decoder)"
    layer(part + r"\.(conv_in|conv_out)", r"\1/\2")
    group_norm(part + r"\.norm_out", r"\1/norm_out")
    layer(r"encoder\.down\.(\d+)\.downsample\.conv", r"encoder/levels/\1/down")
    layer(r"decoder\.up\.(\d+)\.upsample\.conv", r"decoder/levels/\1/up")
    levels = (r"(encoder)\.down\.(\d+)", r"(decoder)\.up\.(\d+)")
    for source, ours in (
        *((level + r"\.block\.(\d+)", r"\1/levels/\2/blocks/\3") for level in levels),
        (part + r"\.mid\.block_1()()", r"\1/middle/blocks/0"),
        (part + r"\.mid\.block_2()()", r"\1/middle/blocks/1"),
    ):
        layer(source + r"\.(conv1|conv2)", ours + r"/\4")
        layer(source + r"\.nin_shortcut", f"{ours}/shortcut")
        group_norm(source + r"\.(norm1|norm2)", ours + r"/\4")
    for source, ours in (
        *((level + r"\.attn\.(\d+)", r"\1/levels/\2/attention/\3") for level in levels),
        (part + r"\.mid\.attn_1()()", r"\1/middle/attention/0"),
    ):
        group_norm(rf"{source}\.norm", f"{ours}/norm")
        for theirs, name in (("q", "query"), ("k", "key"), ("v", "value"), ("proj_out", "out")):
            linear(rf"{source}\.{theirs}", f"{ours}/{name}")
    layer("quant_conv", "before")
    layer("post_quant_conv", "after")
    if cfg.quantizer == "gumbel":
        linear(r"quantize\.proj", "logits")
    rules.append(Rule(re.escape(prefix + CODEBOOKS[cfg.quantizer]), "codebook"))
    return rules


def vqgan_config(
    shapes: Mapping[str, tuple[int, ...]],
    prefix: str = "",
    image_size: int = 256,
    what: str = "the checkpoint",
) -> VQGANConfig:
    """The config of a VQGAN, from the names and shapes of its state dict.

    A codebook of shape (1024, 256) gives codebook 1024 and embedding 256; five groups
    "encoder.down.N", of widths 128, 128, 256, 256, 512, give filters 128 and multipliers
    1, 1, 2, 2, 4; the groups with "attn" are the levels with attention. The majority of levels
    decides, so the message names a parameter that is missing or one too many.

    Args:
      prefix: precedes the names; "first_stage_model." in a transformer's checkpoint.
      image_size: of the images to encode; no weight depends on it.
      what: the file, for messages.

    Raises:
      UserError: not a VQGAN, one of another kind, or an image size that does not divide.
    """
    of = Shapes(shapes, what, "VQGAN of Taming Transformers", prefix)
    filters, channels = of.size("encoder.conv_in.weight")[:2]
    outputs = of.size("decoder.conv_out.weight")[0]
    if (channels, outputs) != (3, 3):
        raise UserError(
            f"{what} takes {channels} channels and gives {outputs}, expected 3 and 3: this "
            "package reads tokenizers of RGB images, not of segmentation or depth maps"
        )
    if prefix + "quantize.used" in shapes:
        raise UserError(
            f"{what} renumbers its codes ({prefix}quantize.used is there), which is not "
            "supported; use the checkpoint it was made from"
        )
    kinds = [kind for kind, name in CODEBOOKS.items() if prefix + name in shapes]
    if len(kinds) != 1:
        raise UserError(
            f"{what} has {len(kinds)} codebooks, expected either "
            f"{' or '.join(prefix + name for name in CODEBOOKS.values())}: an autoencoder without "
            "quantizer (KL) makes no codes"
        )
    codebook, embedding = of.size(CODEBOOKS[kinds[0]], rank=2)
    down, up = r"encoder\.down\.{}\.", r"decoder\.up\.{}\."
    # A level in only one half of the network is one too many.
    levels = min(of.run(way.format(r"(\d+)")) for way in (down, up)) or 1
    block = "encoder.down.{}.block.{}.conv{}.weight"
    widths = [
        of.first(block.format(i, j, k) for j, k in ((0, 1), (0, 2), (1, 1)))[0]
        for i in range(levels)
    ]
    if any(width % filters for width in widths):
        raise UserError(
            f"{what} has levels {widths} wide, expected multiples of the first convolution's "
            f"{filters}"
        )
    blocks = collections.Counter()  # one more per level on the way up
    for i in range(levels):
        blocks[of.run(down.format(i) + r"block\.(\d+)")] += 1
        blocks[of.run(up.format(i) + r"block\.(\d+)") - 1] += 1
    attends = lambda way: set(of.numbers(way.format(r"(\d+)") + r"attn\."))
    try:
        return VQGANConfig(
            image_size=image_size,
            codebook=codebook,
            embedding=embedding,
            latent=of.size("encoder.conv_out.weight")[0],
            filters=filters,
            multipliers=tuple(width // filters for width in widths),
            blocks=blocks.most_common(1)[0][0],
            attention=tuple(sorted(attends(down) & attends(up) & set(range(levels)))),
            quantizer=kinds[0],
        )
    except (ValueError, ZeroDivisionError) as error:
        raise UserError(f"{what}: {error}") from error


# The GPT. In a published checkpoint every name begins with "transformer.".

GPT_IGNORED = (r"(transformer\.)?blocks\.\d+\.attn\.mask",)  # the causal mask, a buffer
# (layers, width) of published models -> heads, which no parameter's shape tells.
GPT_HEADS = {(cfg.layers, cfg.width): cfg.heads for cfg in CONFIGS.values()}


def gpt_rules(cfg: CausalConfig) -> list[Rule]:
    """The names of a GPT. A Linear's (out, in) becomes (in, heads, head) or (heads, head, out)."""
    width, size = cfg.width, (cfg.heads, cfg.width // cfg.heads)
    block = r"(?:transformer\.)?blocks\.(?P<layer>\d+)\."
    transposed = lambda w: w.transpose()
    return [
        Rule(r"(?:transformer\.)?tok_emb\.weight", "words"),
        Rule(
            r"(?:transformer\.)?pos_emb",
            "positions",
            lambda w: w.reshape(cfg.positions, width),
        ),
        Rule(block + r"ln1\.weight", "blocks/attention_norm/scale"),
        Rule(block + r"ln1\.bias", "blocks/attention_norm/bias"),
        Rule(
            block + r"attn\.(query|key|value)\.weight",
            r"blocks/attention/\2/kernel",
            lambda w: w.transpose().reshape(width, *size),
        ),
        Rule(
            block + r"attn\.(query|key|value)\.bias",
            r"blocks/attention/\2/bias",
            lambda b: b.reshape(size),
        ),
        Rule(
            block + r"attn\.proj\.weight",
            "blocks/attention/out/kernel",
            lambda w: w.transpose().reshape(*size, width),
        ),
        Rule(block + r"attn\.proj\.bias", "blocks/attention/out/bias"),
        Rule(block + r"ln2\.weight", "blocks/mlp_norm/scale"),
        Rule(block + r"ln2\.bias", "blocks/mlp_norm/bias"),
        Rule(block + r"mlp\.0\.weight", "blocks/mlp/up/kernel", transposed),
        Rule(block + r"mlp\.0\.bias", "blocks/mlp/up/bias"),
        Rule(block + r"mlp\.2\.weight", "blocks/mlp/down/kernel", transposed),
        Rule(block + r"mlp\.2\.bias", "blocks/mlp/down/bias"),
        Rule(r"(?:transformer\.)?ln_f\.weight", "norm/scale"),
        Rule(r"(?:transformer\.)?ln_f\.bias", "norm/bias"),
        Rule(r"(?:transformer\.)?head\.weight", "head/kernel", transposed),
    ]


def gpt_config(
    shapes: Mapping[str, tuple[int, ...]],
    heads: int | None = None,
    prefix: str = "",
    classes: int = 0,
    length: int | None = None,
    what: str = "the checkpoint",
) -> CausalConfig:
    """The config of a GPT from the shapes in its state dict.

    Args:
      shapes: of all arrays in the checkpoint, by name; those of other networks are ignored.
      heads: None takes those of the published model of this size.
      prefix: precedes the GPT's names: "transformer." in a file that also holds a tokenizer.
      classes: how many it was trained on; 0 without a condition, or if the condition is codes.
      length: codes per image; None takes the number of positions, as with a label in front.
        Positions beyond it are taken as a condition's.
      what: the file, for messages.

    Raises:
      UserError: names or shapes that no GPT has, or heads that are unknown or do not fit.
    """
    of = Shapes(shapes, what, "transformer of Taming Transformers", prefix)
    codebook, width = of.size("tok_emb.weight", rank=2)
    positions = of.size("pos_emb", rank=3)[1]
    found = of.layers(r"blocks\.(\d+)\.") or [0]
    layers = len(found)
    mlp = of.first((f"blocks.{layer}.mlp.0.weight" for layer in found), rank=2)[0]
    heads = GPT_HEADS.get((layers, width)) if heads is None else heads
    if heads is None:
        raise UserError(
            f"{what} has {layers} layers of width {width}, like no published transformer, and no "
            "checkpoint tells the number of attention heads; give --config.heads=N (n_head in its "
            "yaml)"
        )
    if heads < 1 or width % heads:
        raise UserError(
            f"{what}: {heads} heads do not divide the width {width}; give --config.heads=N (n_head "
            "in its yaml)"
        )
    length = positions if length is None else length
    if not 1 <= length <= positions:
        raise UserError(
            f"{what} has {positions} positions, expected at least the {length} codes of an image; "
            "give the --config.image_size it was trained with"
        )
    if classes > codebook:
        raise UserError(
            f"{what} has a token table of {codebook} rows, expected at least the {classes} "
            "classes; give a smaller --config.classes"
        )
    if length != positions and (classes or math.isqrt(positions) ** 2 == positions):
        raise UserError(
            f"{what} has {positions} positions, one per code of an image if a label is the "
            f"condition, but the given image size makes {length} codes; leave "
            "--config.image_size out, or give the one it was trained with"
        )
    return CausalConfig(
        codebook=codebook,
        classes=classes,
        length=length,
        positions=positions,
        width=width,
        layers=layers,
        heads=heads,
        mlp=mlp,
        condition=max(1, positions - length),
    )


# --- Files --------------------------------------------------------------------------------------

FIRST_STAGE, TRANSFORMER = "first_stage_model.", "transformer."
IMAGE_SIZE, FACTOR = 256, 16  # of the published transformers
# A code order, which is not a parameter, and the network of a condition, which a prompt replaces.
# A label needs no weights.
IGNORED = (r"permuter\..*", r"cond_stage_model\..*")


def read(source: Mapping[str, Any], what: str, options: Options) -> dict[str, Part]:
    """The networks in a file, checked completely but not yet read.

    Args:
      source: name in the state dict -> array; what: the file, for messages.

    Returns:
      "tokenizer", "transformer" or both.

    Raises:
      UserError: lists everything unexpected, missing or misshapen.
    """
    stages = {
        FIRST_STAGE: "tokenizer",
        "encoder.conv_in.": "tokenizer",
        TRANSFORMER: "transformer",
        "tok_emb.": "transformer",
    }
    starts = [start for start in stages if any(name.startswith(start) for name in source)]
    if not starts:
        tops = sorted({name.split(".")[0] for name in source})
        raise UserError(
            f"{what} holds no network of Taming Transformers, expected names that begin with "
            f"{', '.join(stages)}; its names begin with {', '.join(tops[:8]) or 'nothing'}"
        )
    inside = {start: {n: x for n, x in source.items() if n.startswith(start)} for start in starts}
    shapes = {name: tuple(array.shape) for name, array in source.items()}
    whole = bool({FIRST_STAGE, TRANSFORMER} & set(starts))
    used = set().union(*inside.values()) if whole else set(source)
    odd = [n for n in source if n not in used and not any(re.fullmatch(p, n) for p in IGNORED)]

    def tokenizer() -> Part:
        prefix = FIRST_STAGE if FIRST_STAGE in starts else ""
        flat, of = inside[prefix] if prefix else source, f"{what} (tokenizer)"
        try:
            cfg = vqgan_config(shapes, prefix, options.image_size or IMAGE_SIZE, of)
        except UserError as error:
            cfgs = [VQGANConfig(quantizer=kind) for kind in CODEBOOKS]
            known = [rule.pattern for cfg in cfgs for rule in vqgan_rules(cfg, prefix)]
            raise with_unknown(error, flat, [*known, *VQGAN_IGNORED], of) from error
        rules = vqgan_rules(cfg, prefix)
        make = lambda rngs: VQGAN(cfg, rngs=rngs)
        tree = parameters(make, flat, rules, ignored=VQGAN_IGNORED, what=of)
        return Part("vqgan", cfg, tree)

    def transformer() -> Part:
        prefix = TRANSFORMER if TRANSFORMER in starts else ""
        flat, of = inside[prefix] if prefix else source, f"{what} (transformer)"
        heads, table = options.heads or None, shapes.get(f"{prefix}pos_emb", ())
        length = _length(table, shapes, starts, options)
        try:
            cfg = gpt_config(shapes, heads, prefix, options.classes, length, of)
        except UserError as error:
            known = [rule.pattern for rule in gpt_rules(CONFIGS["taming_imagenet_1p4b"])]
            raise with_unknown(error, flat, [*known, *GPT_IGNORED], of) from error
        cfg = dataclasses.replace(cfg, unmasked=options.unmasked)
        make = lambda rngs: CausalTransformer(cfg, rngs=rngs)
        tree = parameters(make, flat, gpt_rules(cfg), ignored=GPT_IGNORED, what=of)
        return Part("causal", cfg, tree)

    makers = {"tokenizer": tokenizer, "transformer": transformer}
    there = {stages[start] for start in starts}
    return all_parts({name: make for name, make in makers.items() if name in there}, odd, what)


def _length(
    positions: tuple[int, ...],
    shapes: Mapping[str, tuple[int, ...]],
    starts: list[str],
    options: Options,
) -> int | None:
    """Codes per image, from the given image size or else from the position table [1, n, D].

    The table gives n codes if n is a square, and 256 if n is 512 or 348: the rest is a condition's.
    A shorter table is taken as one position per code, with a label in front.
    """
    inside = FIRST_STAGE if FIRST_STAGE in starts else ""
    levels = Shapes(shapes, "", "", inside).run(r"encoder\.down\.(\d+)\.")
    factor = 2 ** (levels - 1) if levels else FACTOR
    if options.image_size:
        return (options.image_size // factor) ** 2
    if len(positions) != 3 or math.isqrt(positions[1]) ** 2 == positions[1]:
        return None
    length = (IMAGE_SIZE // factor) ** 2
    return length if length <= positions[1] else None


FORMAT = Format(
    "taming",
    pytorch.read_or_safetensors,
    read,
    tokenizer=("quantize.", "first_stage_model."),
    licence="CompVis/taming-transformers: code MIT; terms of the weights: see its page",
    find=taming_folder.find,
)
