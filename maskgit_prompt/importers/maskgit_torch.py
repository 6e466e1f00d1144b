"""Names of the MaskGIT tokenizer in PyTorch -> our parameters.

The network of google-research/maskgit's tokenizer_imagenet256 as a state dict, published as
maskgit-vqgan-imagenet-f16-256.bin. Names and forward pass: bytedance/1d-tokenizer,
modeling/modules/maskgit_vqgan.py; the file is loaded strictly, so it has these names and no
others, in modeling/titok.py (class PretrainedTokenizer). Origin: huggingface/open-muse,
muse/modeling_maskgit_vqgan.py.

Images are in [0, 1]; group norms have 32 groups and epsilon 1e-6; levels are pooled, never
convolved, down. decoder.up.0 is the level of full resolution, which runs last. The projection of
a block that changes its width (nin_shortcut) is applied to the block's own branch, so it is
square, (out, out, 1, 1). A code is the nearest row of the codebook by Euclidean distance.
"""

import re
from collections.abc import Mapping
from typing import Any

from maskgit_prompt.errors import UserError
from maskgit_prompt.importers.rules import Options, Rule, make_part
from maskgit_prompt.models.tokenizer import Tokenizer, TokenizerConfig
from maskgit_prompt.source import Part

SIGN = "encoder.mid.0.conv1.weight"  # where Taming Transformers has encoder.mid.block_1
IGNORED: tuple[str, ...] = ()
GROUPS = 32
IMAGE_SIZE = 256  # of the published file, where nothing tells


def rules(cfg: TokenizerConfig) -> list[Rule]:
    """Names of the state dict -> paths of models.tokenizer.Tokenizer, which has the same numbers.

    "decoder.up.3.block.0.conv1.weight", of shape (out, in, 3, 3), goes to
    "decoder/levels/3/blocks/0/conv1/kernel", of shape (3, 3, in, out).

    Args:
      cfg: as other importers need it; here no name depends on it.
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


def config(shapes: Mapping[str, tuple[int, ...]], image_size: int, what: str) -> TokenizerConfig:
    """Sizes of a tokenizer from the shapes of its parameters.

    A codebook of shape (1024, 256) gives codebook 1024 and embedding 256; five groups
    "encoder.down.N", of widths 128, 128, 256, 256, 512, give filters 128 and multipliers
    1, 1, 2, 2, 4; two groups "encoder.mid.N" give 2 blocks, there and in every level.

    Args:
      shapes: of all arrays, by name.
      image_size: S, which no shape tells.
      what: the file, for messages.

    Raises:
      UserError: a name is missing or misshapen, or sizes that this network cannot have.
    """

    def size(name: str, rank: int = 4) -> tuple[int, ...]:
        shape = tuple(shapes.get(name, ()))
        if len(shape) != rank:
            there = f"has shape {shape}" if name in shapes else "is missing"
            raise UserError(
                f"{what} is no whole MaskGIT tokenizer: {name} {there}, expected {rank} dimensions"
            )
        return shape

    def count(pattern: str) -> int:
        """How many different numbers a pattern's group has among the names."""
        return len({match[1] for name in shapes if (match := re.match(pattern, name))})

    codebook, embedding = size("quantize.embedding.weight", rank=2)
    filters = size("encoder.conv_in.weight")[0]
    size(SIGN)
    levels = range(count(r"encoder\.down\.(\d+)\.") or 1)
    widths = [size(f"encoder.down.{i}.block.0.conv1.weight")[0] for i in levels]
    if not filters or filters % GROUPS or any(width % filters for width in widths):
        raise UserError(
            f"{what} has levels {widths} wide after a first convolution to {filters}, expected "
            f"multiples of the latter and that a multiple of {GROUPS}, the groups of the norms"
        )
    try:
        return TokenizerConfig(
            image_size=image_size,
            codebook=codebook,
            embedding=embedding,
            filters=filters,
            multipliers=tuple(width // filters for width in widths),
            blocks=count(r"encoder\.mid\.(\d+)\."),
            groups=GROUPS,
            conv_downsample=False,
            shortcut="branch",
        )
    except ValueError as error:
        raise UserError(f"{what}: {error}") from error


def read(source: Mapping[str, Any], what: str, options: Options) -> dict[str, Part]:
    """{"tokenizer": the network in a file, checked whole and not yet read}.

    Args:
      source: name in the state dict -> array; what: the file, for messages.

    Raises:
      UserError: all that is unexpected, missing or misshapen.
    """
    if SIGN not in source:
        tops = sorted({name.split(".")[0] for name in source})
        raise UserError(
            f"{what} holds no MaskGIT tokenizer of PyTorch, expected {SIGN} among its names; they "
            f"begin with {', '.join(tops[:8]) or 'nothing'}"
        )
    shapes = {name: tuple(array.shape) for name, array in source.items()}
    cfg = config(shapes, options.image_size or IMAGE_SIZE, what)
    return {
        "tokenizer": make_part(
            "vq", cfg, Tokenizer, source, rules(cfg), ignored=IGNORED, what=f"{what} (tokenizer)"
        )
    }
