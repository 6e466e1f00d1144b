"""Vision transformers in PyTorch's format or safetensors: timm's, MAE's and MoCo v3's.

MAE (facebookresearch/mae) pools all tokens but the class token, prompts included, and norms behind
that; its pre-training checkpoint has no such norm, so it starts as nothing. MoCo v3
(facebookresearch/moco-v3) has its encoder inside the training's model.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from maskgit_prompt.backbones import Part
from maskgit_prompt.errors import UserError
from maskgit_prompt.importers import pytorch
from maskgit_prompt.importers.format import Format
from maskgit_prompt.importers.rules import Options, Shapes, parameters, without_sign
from maskgit_prompt.importers.vit import pytorch as rules
from maskgit_prompt.importers.vit import vit_config
from maskgit_prompt.models.vit import CONFIGS, ViT

SIGN = "patch_embed.proj.weight"
# MoCo's encoder inside of its training's model, or of its linear classifier's.
MOCO = re.compile(r"module\.(base_encoder\.)?")
OTHERS = r"module\.(momentum_encoder|predictor)\..*"
HEADS = (r"head\..*", r"head_dist\..*", r"pre_logits\..*", OTHERS)
MAE = (r"decoder_.*", r"mask_token")  # of the pre-training, which draws the hidden patches


def read(source: Mapping[str, Any], what: str, options: Options) -> dict[str, Part]:
    """{"encoder": the network in a file, checked completely but not yet read}.

    Raises:
      UserError: lists everything unexpected, missing or misshapen.
    """
    named = {
        name if re.fullmatch(OTHERS, name) else MOCO.sub("", name, count=1): x
        for name, x in source.items()
    }
    if SIGN not in named:
        raise without_sign(source, what, "vision transformer of timm, MAE or MoCo v3", SIGN, ".")
    moco = any(name.startswith("module.") for name in source)
    drawing = any(re.fullmatch(MAE[0], name) for name in named)
    mae = drawing or "fc_norm.weight" in named
    shapes = Shapes({n: tuple(x.shape) for n, x in named.items()}, what, "vision transformer")
    width, _, patch, _ = shapes.size(SIGN)
    layers = len(shapes.layers(r"blocks\.(\d+)\."))
    cfg = vit_config(
        shapes,
        options,
        patch=patch,
        width=width,
        layers=layers,
        heads=options.heads or _heads(what, width, layers),
        mlp=shapes.size("blocks.0.mlp.fc1.weight", rank=2)[0],
        table=shapes.first(["pos_embed"], rank=3)[1],
        normalization="imagenet" if moco or mae else "half",
        **({"pool": "all", "norm": "after"} if mae else {}),
    )
    ignored = (*HEADS, *(MAE if drawing else ()))
    norm = "fc_norm" if mae else "norm"
    if mae:  # the encoder's own norm stands before the pooling, where this model has none
        ignored = (*ignored, r"norm\..*")
        named.setdefault("fc_norm.weight", np.ones(width, np.float32))
        named.setdefault("fc_norm.bias", np.zeros(width, np.float32))
    make = lambda rngs: ViT(cfg, rngs=rngs)
    table = rules(cfg.heads, cfg.grid, norm)
    return {"encoder": Part("vit", cfg, parameters(make, named, table, ignored=ignored, what=what))}


def _heads(what: str, width: int, layers: int) -> int:
    """The number of heads of a named size, which no shape tells."""
    known = {(cfg.width, cfg.layers): cfg.heads for cfg in CONFIGS.values()}
    if (width, layers) not in known:
        raise UserError(
            f"{what} has {layers} blocks of width {width}, which is none of the named sizes; give "
            "the number of heads, as --config.heads=12"
        )
    return known[width, layers]


FORMAT = Format(
    "vit-torch",
    pytorch.read_or_safetensors,
    read,
    tokenizer=(),
    licence="timm: Apache-2.0; facebookresearch/mae and moco-v3: CC-BY-NC 4.0; see their pages",
)
