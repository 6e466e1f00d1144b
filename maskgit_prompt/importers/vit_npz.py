"""Vision transformers in Google's .npz files: google-research/vision_transformer and big_vision."""

import re
from collections.abc import Mapping
from typing import Any

from maskgit_prompt.backbones import Part
from maskgit_prompt.importers import npz
from maskgit_prompt.importers.format import Format
from maskgit_prompt.importers.rules import Options, Shapes, parameters, without_sign
from maskgit_prompt.importers.vit import GOOGLE_HEADS, google, vit_config
from maskgit_prompt.models.vit import ViT

SIGN = "embedding/kernel"
# What stands in front of every name in some files: a training state's, a two-tower model's.
FRONT = re.compile(r"(opt/target/|params/)?(img/)?")
# big_vision counts each kind of layer of a block by itself, and has its table at the top.
NEWER = (
    (r"(Transformer/encoderblock_\d+/)LayerNorm_1/", r"\1LayerNorm_2/"),
    (r"(Transformer/encoderblock_\d+/)MlpBlock_0/", r"\1MlpBlock_3/"),
    (
        r"(Transformer/encoderblock_\d+/MultiHeadDotProductAttention)_0/",
        r"\1_1/",
    ),
    (r"pos_embedding", "Transformer/posembed_input/pos_embedding"),
)


def read(source: Mapping[str, Any], what: str, options: Options) -> dict[str, Part]:
    """{"encoder": the network in a file, checked completely but not yet read}.

    Raises:
      UserError: lists everything unexpected, missing or misshapen.
    """
    named = {_older(name): x for name, x in source.items()}
    if SIGN not in named:
        raise without_sign(source, what, "vision transformer of Google's", SIGN, "/")
    shapes = Shapes({n: tuple(x.shape) for n, x in named.items()}, what, "vision transformer")
    patch, _, _, width = shapes.size(SIGN)
    block = "Transformer/encoderblock_0/"
    heads = shapes.size(f"{block}MultiHeadDotProductAttention_1/query/kernel", rank=3)[1]
    cfg = vit_config(
        shapes,
        options,
        patch=patch,
        width=width,
        heads=heads,
        layers=len(shapes.layers(r"Transformer/encoderblock_(\d+)/")),
        mlp=shapes.size(f"{block}MlpBlock_3/Dense_0/kernel", rank=2)[1],
        table=shapes.first(["Transformer/posembed_input/pos_embedding"], rank=3)[1],
    )
    make = lambda rngs: ViT(cfg, rngs=rngs)
    tree = parameters(make, named, google(cfg.grid), ignored=GOOGLE_HEADS, what=what)
    return {"encoder": Part("vit", cfg, tree)}


def _older(name: str) -> str:
    name = name[FRONT.match(name).end() :]
    for pattern, ours in NEWER:
        if re.match(pattern, name):
            return re.sub(f"^{pattern}", ours, name)
    return name


FORMAT = Format(
    "vit-npz",
    npz.read,
    read,
    tokenizer=(),
    licence="google-research/vision_transformer or big_vision: Apache-2.0; see their pages",
)
