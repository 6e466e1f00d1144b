"""Names of the MaskGIT tokenizer in PyTorch -> our parameters.

The network of google-research/maskgit's tokenizer_imagenet256 as a state dict, published as
maskgit-vqgan-imagenet-f16-256.bin. Names and forward pass: bytedance/1d-tokenizer,
modeling/modules/maskgit_vqgan.py. Its modeling/titok.py (class PretrainedTokenizer) loads the file
strictly, so the file has these names and no others. Origin: huggingface/open-muse,
muse/modeling_maskgit_vqgan.py.

Images are in [0, 1]. Group norms have 32 groups and epsilon 1e-6. Pooling, never a convolution,
halves a level. decoder.up.0 is the level of full resolution, which runs last. A block that changes
its width applies its projection (nin_shortcut) to its own branch, so the projection is square,
(out, out, 1, 1). A code is the nearest row of the codebook by Euclidean distance.
"""

from collections.abc import Mapping
from typing import Any

from maskgit_prompt.backbones import Part
from maskgit_prompt.errors import UserError
from maskgit_prompt.importers import pytorch
from maskgit_prompt.importers.format import Format
from maskgit_prompt.importers.rules import (
    Options,
    Rule,
    Shapes,
    parameters,
    with_unknown,
    without_sign,
)
from maskgit_prompt.models.tokenizer import Tokenizer, TokenizerConfig

SIGN = "encoder.mid.0.conv1.weight"  # Taming Transformers has encoder.mid.block_1 instead
GROUPS = 32
IMAGE_SIZE = 256  # of the published file, if nothing else tells


def rules() -> list[Rule]:
    """Names of the state dict -> paths of models.tokenizer.Tokenizer, with equal weights.

    "decoder.up.3.block.0.conv1.weight", of shape (out, in, 3, 3), goes to
    "decoder/levels/3/blocks/0/conv1/kernel", of shape (3, 3, in, out).
    """
    found = [Rule(r"quantize\.embedding\.weight", "codebook")]

    def conv(source: str, ours: str, bias: bool = True) -> None:
        found.append(
            Rule(rf"{source}\.weight", f"{ours}/kernel", lambda x: x.transpose(2, 3, 1, 0))
        )
        if bias:
            found.append(Rule(rf"{source}\.bias", f"{ours}/bias"))

    def group_norm(source: str, ours: str) -> None:
        found.append(Rule(rf"{source}\.weight", f"{ours}/scale"))
        found.append(Rule(rf"{source}\.bias", f"{ours}/bias"))

    for part, levels in (("encoder", "down"), ("decoder", "up")):
        conv(rf"{part}\.conv_in", f"{part}/conv_in", bias=part == "decoder")
        group_norm(rf"{part}\.norm_out", f"{part}/norm_out")
        conv(rf"{part}\.conv_out", f"{part}/conv_out")
        for source, ours in (
            (rf"{part}\.{levels}\.(\d+)\.block\.(\d+)", rf"{part}/levels/\1/blocks/\2"),
            (rf"{part}\.mid()\.(\d+)", rf"{part}/middle/\2"),
        ):
            group_norm(source + r"\.(norm[12])", ours + r"/\3")
            conv(source + r"\.(conv[12])", ours + r"/\3", bias=False)
            conv(source + r"\.nin_shortcut", f"{ours}/shortcut", bias=False)
    conv(r"decoder\.up\.(\d+)\.upsample_conv", r"decoder/levels/\1/up")
    return found


def config(shapes: Shapes, image_size: int) -> TokenizerConfig:
    """Sizes of a tokenizer from the shapes of its parameters.

    A codebook of shape (1024, 256) gives codebook 1024 and embedding 256; five groups
    "encoder.down.N", of widths 128, 128, 256, 256, 512, give filters 128 and multipliers
    1, 1, 2, 2, 4; two groups "encoder.mid.N" give 2 blocks, there and in every level.

    Args:
      image_size: S, which no shape tells.

    Raises:
      UserError: a name is missing or misshapen, or the network cannot have these sizes.
    """
    codebook, embedding = shapes.size("quantize.embedding.weight", rank=2)
    filters = shapes.size("encoder.conv_in.weight")[0]
    shapes.size(SIGN)
    # A level in only one half of the network is one too many.
    fewer = lambda *patterns: min(map(shapes.run, patterns))
    levels = fewer(r"encoder\.down\.(\d+)\.", r"decoder\.up\.(\d+)\.")
    block = "encoder.down.{}.block.{}.conv{}.weight"
    widths = [
        shapes.first(block.format(i, j, k) for j, k in ((0, 1), (0, 2), (1, 1)))[0]
        for i in range(levels or 1)
    ]
    if not filters or filters % GROUPS or any(width % filters for width in widths):
        raise UserError(
            f"{shapes.what} has levels {widths} wide after a first convolution to {filters}, "
            f"expected multiples of that width, and that width a multiple of {GROUPS}, the groups "
            "of the norms"
        )
    try:
        return TokenizerConfig(
            image_size=image_size,
            codebook=codebook,
            embedding=embedding,
            filters=filters,
            multipliers=tuple(width // filters for width in widths),
            blocks=fewer(r"encoder\.mid\.(\d+)\.", r"decoder\.mid\.(\d+)\."),
            groups=GROUPS,
            conv_downsample=False,
            shortcut="branch",
        )
    except ValueError as error:
        raise UserError(f"{shapes.what}: {error}") from error


def read(source: Mapping[str, Any], what: str, options: Options) -> dict[str, Part]:
    """{"tokenizer": the network in a file, checked completely but not yet read}.

    Args:
      source: name in the state dict -> array; what: the file, for messages.

    Raises:
      UserError: lists everything unexpected, missing or misshapen.
    """
    if SIGN not in source:
        raise without_sign(source, what, "MaskGIT tokenizer of PyTorch", SIGN, ".")
    of, table = f"{what} (tokenizer)", rules()
    shapes = Shapes({n: tuple(x.shape) for n, x in source.items()}, of, "MaskGIT tokenizer")
    try:
        cfg = config(shapes, options.image_size or IMAGE_SIZE)
    except UserError as error:
        raise with_unknown(error, source, [rule.pattern for rule in table], of) from error
    make = lambda rngs: Tokenizer(cfg, rngs=rngs)
    return {"tokenizer": Part("vq", cfg, parameters(make, source, table, what=of))}


FORMAT = Format(
    "maskgit-torch",
    pytorch.read_or_safetensors,
    read,
    tokenizer=("quantize.",),
    licence="bytedance/1d-tokenizer: code Apache-2.0; weights of google-research/maskgit; terms: "
    "see their pages",
)
