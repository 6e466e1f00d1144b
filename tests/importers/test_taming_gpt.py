"""Names and sizes of the transformers in checkpoints of Taming Transformers."""

import dataclasses

import numpy as np
import pytest

from maskgit_prompt import backbones
from maskgit_prompt.errors import UserError
from maskgit_prompt.importers import taming
from maskgit_prompt.models.causal import CausalTransformer
from maskgit_prompt.models.causal_sizes import CONFIGS, CausalConfig
from maskgit_prompt.params import flatten
from tests import golden_models

TINY = CausalConfig(codebook=5, classes=0, length=3, positions=3, width=4, layers=2, heads=2, mlp=6)


def names(cfg: CausalConfig, prefix: str = "") -> dict[str, tuple[int, ...]]:
    """Names and shapes of a GPT's state dict, buffers included."""
    width, positions = cfg.width, cfg.positions
    found = {"tok_emb.weight": (cfg.codebook, width), "pos_emb": (1, positions, width)}
    for layer in range(cfg.layers):
        block = f"blocks.{layer}."
        for norm in ("ln1", "ln2"):
            found |= {f"{block}{norm}.weight": (width,), f"{block}{norm}.bias": (width,)}
        for linear in ("key", "query", "value", "proj"):
            found[f"{block}attn.{linear}.weight"] = (width, width)
            found[f"{block}attn.{linear}.bias"] = (width,)
        found[f"{block}attn.mask"] = (1, 1, positions, positions)
        found |= {f"{block}mlp.0.weight": (cfg.mlp, width), f"{block}mlp.0.bias": (cfg.mlp,)}
        found |= {f"{block}mlp.2.weight": (width, cfg.mlp), f"{block}mlp.2.bias": (width,)}
    found |= {"ln_f.weight": (width,), "ln_f.bias": (width,)}
    found["head.weight"] = (cfg.codebook, width)
    return {prefix + name: shape for name, shape in found.items()}


def arrays(shapes: dict) -> dict[str, np.ndarray]:
    """0, 1, 2, … in every array."""
    return {n: np.arange(np.prod(s), dtype=np.float32).reshape(s) for n, s in shapes.items()}


def load(shapes: dict, cfg: CausalConfig = TINY) -> dict[str, np.ndarray]:
    expected = backbones.abstract(lambda rngs: CausalTransformer(cfg, rngs=rngs))
    return golden_models.load(
        arrays(shapes), taming.gpt_rules(cfg), ignored=taming.GPT_IGNORED, expected=expected
    )


@pytest.mark.parametrize("prefix", ["", "transformer."])
def test_names_and_places(prefix):
    found = load(names(TINY, prefix))
    assert (
        found.keys()
        == flatten(backbones.abstract(lambda rngs: CausalTransformer(TINY, rngs=rngs))).keys()
    )
    # (out, in) = 0 1 2 3 / 4 5 6 7 / …: input 1 makes outputs 1, 5 of head 0 and 9, 13 of head 1.
    assert found["blocks/attention/query/kernel"][1, 1].tolist() == [[1, 5], [9, 13]]
    assert found["blocks/attention/query/bias"][0].tolist() == [[0, 1], [2, 3]]
    # Output 1 is made of inputs 4, 5 of head 0 and 6, 7 of head 1.
    assert found["blocks/attention/out/kernel"][0, :, :, 1].tolist() == [[4, 5], [6, 7]]
    assert found["blocks/mlp/up/kernel"][0, 1].tolist() == [1, 5, 9, 13, 17, 21]
    assert found["blocks/mlp/down/kernel"][0, 1].tolist() == [1, 7, 13, 19]
    assert found["head/kernel"][1].tolist() == [1, 5, 9, 13, 17]
    assert found["positions"][1].tolist() == [4, 5, 6, 7]


@pytest.mark.parametrize("name", CONFIGS)
def test_published_sizes_are_read_from_shapes(name):
    cfg = CONFIGS[name]
    shapes = {"first_stage_model.quant_conv.bias": (256,), **names(cfg, "transformer.")}
    found = taming.gpt_config(shapes, prefix="transformer.", classes=cfg.classes, length=cfg.length)
    assert found == dataclasses.replace(cfg, dropout=0.0)


def test_small_size_is_read_from_shapes():
    assert taming.gpt_config(names(TINY), heads=2) == TINY
    behind = taming.gpt_config(names(TINY), heads=2, length=1)
    assert behind == dataclasses.replace(TINY, length=1, condition=2)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({}, "2 layers of width 4.*give --config.heads=N"),
        (dict(heads=3), "3 heads do not divide the width 4; give --config.heads"),
        (
            dict(heads=2, prefix="transformer."),
            r"not a whole transformer .*transformer\.tok_emb\.weight is miss",
        ),
        (dict(heads=2, length=4), "3 positions, expected at least the 4 codes"),
        (dict(heads=2, length=1, classes=5), "makes 1 codes; leave --config.image_size out"),
        (dict(heads=2, classes=6), "table of 5 rows, expected at least the 6 classes"),
    ],
)
def test_what_shapes_do_not_tell(arguments, message):
    with pytest.raises(UserError, match=message) as error:
        taming.gpt_config(names(TINY), **arguments)
    assert "\n" not in str(error.value)


def test_misshapen_table():
    with pytest.raises(UserError, match=r"pos_emb has shape \(3, 4\), expected 3 dimensions"):
        taming.gpt_config({**names(TINY), "pos_emb": (3, 4)}, heads=2)


def test_a_wrong_checkpoint_is_told():
    wrong = names(TINY)
    del wrong["ln_f.bias"]
    wrong["blocks.1.mlp.9.weight"] = (1,)
    with pytest.raises(UserError, match=r"blocks\.1\.mlp\.9\.weight \(1,\).*ln_f\.bias is miss"):
        load(wrong)
