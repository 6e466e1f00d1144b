"""OFA's published .pt files: checkpoints of fairseq, read without running anything in them.

The weights stand under "model"; a training that averaged them has the averages, of the same names,
under "extra_state", "ema". Not tested with the published files.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from absl import logging

from maskgit_prompt.backbones import Part
from maskgit_prompt.errors import UserError
from maskgit_prompt.importers import pytorch
from maskgit_prompt.importers.format import Format
from maskgit_prompt.importers.ofa_rules import BUFFERS, TIED, rules
from maskgit_prompt.importers.rules import (
    Options,
    Shapes,
    parameters,
    with_unknown,
    without_sign,
)
from maskgit_prompt.models.ofa import OFA, OFAConfig
from maskgit_prompt.models.ofa_positions import UNUSED
from maskgit_prompt.models.resnet import STAGES

SIGN = "encoder.image_proj.weight"
AVERAGED = "ema."  # precedes names of averaged weights
WORDS = "encoder.embed_tokens.weight"
WEIGHTS = ("model", "ema")


def read_file(path: str) -> dict[str, Any]:
    """{name: array} of the weights, and of averaged ones by names that begin with AVERAGED."""
    averaged = pytorch.read(path, ("extra_state", "ema"))
    return pytorch.read(path) | {f"{AVERAGED}{name}": x for name, x in averaged.items()}


def read(source: Mapping[str, Any], what: str, options: Options) -> dict[str, Part]:
    """{"multimodal": the network in a file, checked completely but not yet read}.

    Raises:
      UserError: lists everything unexpected, missing or misshapen; or options.weights are not in
        the file.
    """
    averaged = {n.removeprefix(AVERAGED): x for n, x in source.items() if n.startswith(AVERAGED)}
    named = {n: x for n, x in source.items() if not n.startswith(AVERAGED)}
    if options.weights == "ema":
        if not averaged:
            raise UserError(
                f"{what} holds no averaged weights (extra_state, ema), expected them for "
                "--config.weights=ema; leave it out"
            )
        named = averaged
    elif averaged and not options.weights:
        logging.warning(
            "%s holds averaged weights, too; --config.weights=ema takes them in place of the last "
            "step's",
            what,
        )
    if SIGN not in named:
        raise without_sign(named, what, "OFA encoder-decoder", SIGN, ".")
    try:
        cfg = config(named, what)
    except UserError as error:
        known = [rule.pattern for rule in rules(OFAConfig())]
        raise with_unknown(error, named, [*known, *BUFFERS, *TIED], what) from error
    _check_tied(named, what)
    names = {name: x for name, x in named.items() if name not in TIED}
    make = lambda rngs: OFA(cfg, rngs=rngs)
    tree = parameters(make, names, rules(cfg), ignored=BUFFERS, what=what)
    return {"multimodal": Part("ofa", cfg, tree)}


def config(source: Mapping[str, Any], what: str) -> OFAConfig:
    """Sizes, from the shapes of the parameters.

    Raises:
      UserError: the network cannot have these sizes.
    """
    shapes = Shapes({n: tuple(x.shape) for n, x in source.items()}, what, "OFA encoder-decoder")
    stacks = ("encoder", "decoder")
    vocabulary, width = shapes.size(WORDS, rank=2)
    positions = shapes.size("encoder.embed_positions.weight", rank=2)[0] - UNUSED
    cells = shapes.size("encoder.embed_image_positions.weight", rank=2)[0] - 1
    distances = shapes.size("encoder.token_rel_pos_table_list.0.weight", rank=2)[0]
    images = r"encoder\.embed_images\."
    try:
        return OFAConfig(
            vocabulary=vocabulary,
            width=width,
            layers=tuple(len(shapes.layers(rf"{stack}\.layers\.(\d+)\.")) for stack in stacks),
            heads=tuple(
                shapes.size(f"{stack}.layers.0.self_attn.c_attn", rank=1)[0] for stack in stacks
            ),
            mlp=tuple(shapes.size(f"{stack}.layers.0.fc1.weight", rank=2)[0] for stack in stacks),
            stem=tuple(shapes.run(rf"{images}layer{i + 1}\.(\d+)\.") for i in range(STAGES)),
            positions=positions,
            buckets=(distances + 1) // 2,
            side=math.isqrt(cells),
            window=min(OFAConfig.window, math.isqrt(cells)),
        )
    except ValueError as error:
        raise UserError(f"{what}: {error}") from error


def _check_tied(source: Mapping[str, Any], what: str) -> None:
    """Raises UserError unless the decoder's token tables are the encoder's.

    In a file of PyTorch they are the same numbers at the same place.
    """
    words = source[WORDS]
    for name in TIED:
        if name not in source or source[name] == words:
            continue
        other = source[name]
        if other.shape != words.shape or not np.array_equal(np.asarray(other), np.asarray(words)):
            raise UserError(
                f"{what}: {name} {tuple(other.shape)} has other numbers than {WORDS}, expected "
                "one table for both stacks (share_all_embeddings)"
            )


FORMAT = Format(
    "ofa",
    read_file,
    read,
    tokenizer=(),
    licence="OFA-Sys/OFA: Apache-2.0; terms of the weights: see its page",
)
