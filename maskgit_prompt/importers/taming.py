"""Names of CompVis/taming-transformers checkpoints -> our parameter trees."""

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

from maskgit_prompt.errors import UserError
from maskgit_prompt.importers.rules import Options, Rule, make_part
from maskgit_prompt.models.causal import CONFIGS, CausalConfig, CausalTransformer
from maskgit_prompt.models.vqgan import VQGAN, VQGANConfig
from maskgit_prompt.source import Part

# --- VQGAN: the tokenizer, VQModel or GumbelVQ -------------------------------------------------

# The losses hold a discriminator and the network of a perceptual distance.
VQGAN_IGNORED = (r"(first_stage_model\.)?loss\..*",)

CODEBOOKS = {"nearest": "quantize.embedding.weight", "gumbel": "quantize.embed.weight"}


def vqgan_rules(cfg: VQGANConfig, prefix: str = "") -> list[Rule]:
    """Names of a VQGAN's state dict -> paths of models.vqgan.VQGAN.

    "encoder.down.3.block.0.conv1.weight" goes to "encoder/levels/3/blocks/0/conv1/kernel".

    Args:
      prefix: of all names; "first_stage_model." in a transformer's checkpoint.
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
    level = part + r"\.(?:down|up)\.(\d+)"
    for source, ours in (
        (level + r"\.block\.(\d+)", r"\1/levels/\2/blocks/\3"),
        (part + r"\.mid\.block_1()()", r"\1/middle/blocks/0"),
        (part + r"\.mid\.block_2()()", r"\1/middle/blocks/1"),
    ):
        layer(source + r"\.(conv1|conv2)", ours + r"/\4")
        layer(source + r"\.nin_shortcut", f"{ours}/shortcut")
        group_norm(source + r"\.(norm1|norm2)", ours + r"/\4")
    for source, ours in (
        (level + r"\.attn\.(\d+)", r"\1/levels/\2/attention/\3"),
        (part + r"\.mid\.attn_1", r"\1/middle/attention/0"),
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
    shapes: Mapping[str, tuple[int, ...]], prefix: str = "", image_size: int = 256
) -> VQGANConfig:
    """The config of a VQGAN, read off the names and shapes of its state dict.

    A codebook of shape (1024, 256) gives codebook 1024 and embedding 256; five groups
    "encoder.down.N", of widths 128, 128, 256, 256, 512, give filters 128 and multipliers
    1, 1, 2, 2, 4; the groups with "attn" are the levels with attention.

    Args:
      prefix: of the names; "first_stage_model." in a transformer's checkpoint.
      image_size: of the images to encode, which no weight depends on.

    Raises:
      UserError: no VQGAN, one of another kind, or an image size that does not divide.
    """

    def size(name: str, rank: int = 4) -> tuple[int, ...]:
        if prefix + name not in shapes:
            tops = sorted({key.split(".")[0] for key in shapes})
            raise UserError(
                f"no VQGAN in the checkpoint: {prefix + name} is missing among {len(shapes)} names "
                f"that begin with {', '.join(tops) or 'nothing'}; expected a VQGAN of Taming "
                "Transformers or a transformer's checkpoint with its first_stage_model"
            )
        shape = tuple(shapes[prefix + name])
        if len(shape) != rank:
            raise UserError(f"{prefix + name} has shape {shape}, expected {rank} dimensions")
        return shape

    def numbers(pattern: str) -> list[int]:
        """The different numbers that a pattern's group has among the names, sorted."""
        matches = (re.match(re.escape(prefix) + pattern, name) for name in shapes)
        return sorted({int(match[1]) for match in matches if match})

    filters, channels = size("encoder.conv_in.weight")[:2]
    outputs = size("decoder.conv_out.weight")[0]
    if (channels, outputs) != (3, 3):
        raise UserError(
            f"the VQGAN takes {channels} channels and gives {outputs}, expected 3 and 3: this "
            "package reads tokenizers of RGB images, not of segmentation or depth maps"
        )
    if prefix + "quantize.used" in shapes:
        raise UserError(
            f"the VQGAN renumbers its codes ({prefix}quantize.used is there), which is not "
            "supported; use the checkpoint it was made from"
        )
    kinds = [kind for kind, name in CODEBOOKS.items() if prefix + name in shapes]
    if len(kinds) != 1:
        raise UserError(
            f"the autoencoder has {len(kinds)} codebooks, expected either "
            f"{' or '.join(prefix + name for name in CODEBOOKS.values())}: one without quantizer "
            "(KL) makes no codes"
        )
    codebook, embedding = size(CODEBOOKS[kinds[0]], rank=2)
    found = numbers(r"encoder\.down\.(\d+)\.block\.")
    # As many as follow each other; one beyond a gap is an unexpected name.
    levels = range(next((i for i in range(len(found)) if found[i] != i), len(found)) or 1)
    widths = [size(f"encoder.down.{i}.block.0.conv1.weight")[0] for i in levels]
    if any(width % filters for width in widths):
        raise UserError(
            f"the VQGAN's levels are {widths} wide, expected multiples of the first convolution's "
            f"{filters}"
        )
    try:
        return VQGANConfig(
            image_size=image_size,
            codebook=codebook,
            embedding=embedding,
            latent=size("encoder.conv_out.weight")[0],
            filters=filters,
            multipliers=tuple(width // filters for width in widths),
            blocks=len(numbers(r"encoder\.down\.0\.block\.(\d+)")),
            attention=tuple(i for i in numbers(r"encoder\.down\.(\d+)\.attn\.") if i in levels),
            quantizer=kinds[0],
        )
    except ValueError as error:
        raise UserError(str(error)) from error


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
) -> CausalConfig:
    """The config of a GPT from the shapes in its state dict.

    Args:
      shapes: of all arrays in the checkpoint, by name; others than the GPT's are passed over.
      heads: None: those of the published model of this size.
      prefix: of the GPT's names: "transformer." in a file that also holds a tokenizer.
      classes: how many it was trained on; 0 where its condition is none or is codes.
      length: codes an image; None: as many as positions, as with a label in front. Positions
        beyond it are taken to be a condition's.

    Raises:
      UserError: names or shapes that no GPT has, or heads that are not known or do not fit.
    """
    sized = {"tok_emb.weight": 2, "pos_emb": 3, "blocks.0.mlp.0.weight": 2}
    found = {name: tuple(shapes.get(prefix + name, ())) for name in sized}
    for name, rank in sized.items():
        if prefix + name not in shapes:
            raise UserError(
                f"the checkpoint has no {prefix + name}, so no transformer of taming-transformers; "
                "give the file of a transformer, a tokenizer's does not do"
            )
        if len(found[name]) != rank:
            raise UserError(
                f"{prefix + name} has shape {found[name]}, expected {rank} dimensions; is this a "
                "checkpoint of taming-transformers?"
            )
    codebook, width = found["tok_emb.weight"]
    positions, mlp = found["pos_emb"][1], found["blocks.0.mlp.0.weight"][0]
    block = re.compile(re.escape(prefix) + r"blocks\.(\d+)\.attn\.query\.weight")
    layers = len({m[1] for name in shapes if (m := block.fullmatch(name))})
    heads = GPT_HEADS.get((layers, width)) if heads is None else heads
    if heads is None:
        raise UserError(
            f"no published transformer has {layers} layers of width {width}, and a checkpoint does "
            "not tell the number of attention heads; give heads (n_head in its yaml)"
        )
    if heads < 1 or width % heads:
        raise UserError(f"heads = {heads} does not divide the width {width}; give n_head")
    length = positions if length is None else length
    if not 1 <= length <= positions:
        raise UserError(f"{length} codes an image, but the transformer has {positions} positions")
    if classes > codebook:
        raise UserError(f"{classes} classes, but the token table has {codebook} rows; give fewer")
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
# A code order that is no parameter, and the network of a condition, whose place a prompt takes. A
# label needs no weights.
IGNORED = (r"permuter\..*", r"cond_stage_model\..*")


def read(source: Mapping[str, Any], what: str, options: Options) -> dict[str, Part]:
    """The networks in a file, checked whole and not yet read.

    Args:
      source: name in the state dict -> array; what: the file, for messages.

    Returns:
      "tokenizer", "transformer" or both.

    Raises:
      UserError: all that is unexpected, missing or misshapen.
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
    if odd:
        raise UserError(f"{what} does not fit the model: {', '.join(odd)} unexpected")

    found = {}
    if "tokenizer" in (stages[start] for start in starts):
        prefix = FIRST_STAGE if FIRST_STAGE in starts else ""
        cfg = vqgan_config(shapes, prefix, options.image_size or IMAGE_SIZE)
        found["tokenizer"] = make_part(
            "vqgan",
            cfg,
            VQGAN,
            inside[prefix] if prefix else source,
            vqgan_rules(cfg, prefix),
            ignored=VQGAN_IGNORED,
            what=f"{what} (tokenizer)",
        )
    if "transformer" in (stages[start] for start in starts):
        prefix = TRANSFORMER if TRANSFORMER in starts else ""
        cfg = gpt_config(
            shapes,
            options.heads or None,
            prefix,
            options.classes,
            _length(shapes.get(f"{prefix}pos_emb", ()), found.get("tokenizer"), options),
        )
        cfg = dataclasses.replace(cfg, unmasked=options.unmasked)
        found["transformer"] = make_part(
            "causal",
            cfg,
            CausalTransformer,
            inside[prefix] if prefix else source,
            gpt_rules(cfg),
            ignored=GPT_IGNORED,
            what=f"{what} (transformer)",
        )
    return found


def _length(positions: tuple[int, ...], tokenizer: Part | None, options: Options) -> int | None:
    """Codes an image: of the image size that was given, else of the position table [1, n, D].

    n codes where they fill a square, 256 in a table of 512 or 348: the rest is a condition's. A
    shorter table is taken to be as long as its images, with a label in front.
    """
    factor = tokenizer.cfg.factor if tokenizer else FACTOR
    if options.image_size:
        return (options.image_size // factor) ** 2
    if len(positions) != 3 or math.isqrt(positions[1]) ** 2 == positions[1]:
        return None
    length = (IMAGE_SIZE // factor) ** 2
    return length if length <= positions[1] else None
