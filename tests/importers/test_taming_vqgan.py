"""Names of a VQGAN's state dict: the config read off them, and where every parameter goes."""

import dataclasses
import functools

import numpy as np
import pytest
from flax import nnx

from maskgit_prompt import params
from maskgit_prompt.errors import UserError
from maskgit_prompt.importers import rules, taming
from maskgit_prompt.models.vqgan import CONFIGS, VQGAN, VQGANConfig
from tests import golden_models
from tests.golden_models import Case

Shapes = dict[str, tuple[int, ...]]


@functools.cache
def tiny() -> Shapes:
    return {name: x.shape for name, x in Case("taming/vqgan_f16_tiny").parameters.items()}


@functools.cache
def whole() -> Shapes:
    """A checkpoint with tokenizer and transformer."""
    return {name: x.shape for name, x in Case("taming/net2net_tiny").parameters.items()}


def gumbel(shapes: Shapes) -> Shapes:
    """The same as a GumbelVQ of 64 codes, with embedding and latent 24."""
    shapes = dict(shapes)
    codes = shapes.pop("quantize.embedding.weight")
    shapes["quantize.embed.weight"] = codes
    shapes["quantize.proj.weight"], shapes["quantize.proj.bias"] = (*codes, 1, 1), codes[:1]
    shapes["encoder.conv_out.weight"] = (24, 128, 3, 3)
    shapes["encoder.conv_out.bias"] = (24,)
    shapes["decoder.conv_in.weight"] = (128, 24, 3, 3)
    for name in ("quant_conv", "post_quant_conv"):
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (24, 24, 1, 1), (24,)
    return shapes


def test_config_of_a_tokenizer():
    expected = VQGANConfig(
        image_size=64,
        codebook=64,
        embedding=24,
        latent=48,
        filters=32,
        multipliers=(1, 1, 2, 2, 4),
        blocks=2,
        attention=(4,),
        quantizer="nearest",
    )
    assert taming.vqgan_config(tiny(), image_size=64) == expected
    changed = {"quantizer": "gumbel", "latent": 24}
    found = taming.vqgan_config(gumbel(tiny()), image_size=64)
    assert found == dataclasses.replace(expected, **changed)


def test_config_of_the_tokenizer_in_a_transformers_file():
    assert taming.vqgan_config(whole(), "first_stage_model.") == VQGANConfig(
        image_size=256,
        codebook=40,
        embedding=16,
        latent=32,
        filters=32,
        multipliers=(1, 1, 1, 1, 2),
        blocks=1,
        attention=(4,),
    )


def state_dict_shapes(cfg: VQGANConfig) -> Shapes:
    """Names and shapes of the reference's state dict, written out from the sizes."""
    shapes = {}

    def conv(name: str, inputs: int, outputs: int, size: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (outputs, inputs, size, size), (outputs,)

    def norm(name: str, width: int) -> None:
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (width,)

    def block(name: str, inputs: int, outputs: int) -> None:
        norm(f"{name}.norm1", inputs)
        conv(f"{name}.conv1", inputs, outputs, 3)
        norm(f"{name}.norm2", outputs)
        conv(f"{name}.conv2", outputs, outputs, 3)
        if inputs != outputs:
            conv(f"{name}.nin_shortcut", inputs, outputs, 1)

    def attention(name: str, width: int) -> None:
        norm(f"{name}.norm", width)
        for part in ("q", "k", "v", "proj_out"):
            conv(f"{name}.{part}", width, width, 1)

    def middle(name: str) -> None:
        block(f"{name}.mid.block_1", widths[-1], widths[-1])
        attention(f"{name}.mid.attn_1", widths[-1])
        block(f"{name}.mid.block_2", widths[-1], widths[-1])

    def level(name: str, inputs: int, i: int, count: int) -> None:
        for j in range(count):
            block(f"{name}.block.{j}", inputs if j == 0 else widths[i], widths[i])
            if i in cfg.attention:
                attention(f"{name}.attn.{j}", widths[i])

    widths = [cfg.filters * m for m in cfg.multipliers]
    last = len(widths) - 1
    conv("encoder.conv_in", 3, cfg.filters, 3)
    for i in range(len(widths)):
        level(f"encoder.down.{i}", widths[i - 1] if i else cfg.filters, i, cfg.blocks)
        if i < last:
            conv(f"encoder.down.{i}.downsample.conv", widths[i], widths[i], 3)
    middle("encoder")
    norm("encoder.norm_out", widths[-1])
    conv("encoder.conv_out", widths[-1], cfg.latent, 3)
    conv("decoder.conv_in", cfg.latent, widths[-1], 3)
    middle("decoder")
    for i in reversed(range(len(widths))):
        level(f"decoder.up.{i}", widths[min(i + 1, last)], i, cfg.blocks + 1)
        if i > 0:
            conv(f"decoder.up.{i}.upsample.conv", widths[i], widths[i], 3)
    norm("decoder.norm_out", widths[0])
    conv("decoder.conv_out", widths[0], 3, 3)
    conv("quant_conv", cfg.latent, cfg.embedding, 1)
    conv("post_quant_conv", cfg.embedding, cfg.latent, 1)
    if cfg.quantizer == "gumbel":
        conv("quantize.proj", cfg.embedding, cfg.codebook, 1)
        shapes["quantize.embed.weight"] = (cfg.codebook, cfg.embedding)
    else:
        shapes["quantize.embedding.weight"] = (cfg.codebook, cfg.embedding)
    return shapes


def test_the_written_out_names_are_the_references():
    assert state_dict_shapes(taming.vqgan_config(tiny(), image_size=64)) == tiny()


@pytest.mark.parametrize("name", CONFIGS)
def test_published_sizes(name):
    shapes = state_dict_shapes(CONFIGS[name])
    cfg = taming.vqgan_config(shapes)
    assert cfg == CONFIGS[name]
    expected = nnx.eval_shape(lambda: nnx.state(VQGAN(cfg, rngs=nnx.Rngs(0))))
    expected = nnx.to_pure_dict(expected)
    arrays = {key: np.broadcast_to(np.float32(0), shape) for key, shape in shapes.items()}
    found = rules.match(arrays, taming.vqgan_rules(cfg), expected=expected)
    assert found.keys() == params.flatten(expected).keys()


def test_where_a_few_parameters_go():
    case = Case("taming/vqgan_f16_tiny")
    found = golden_models.load(case.parameters, taming.vqgan_rules(taming.vqgan_config(tiny())))
    conv = case.parameters["encoder.down.2.block.0.conv1.weight"]  # [out 64, in 32, 3, 3]
    ours = found["encoder/levels/2/blocks/0/conv1/kernel"]  # [3, 3, in 32, out 64]
    assert ours.shape == (3, 3, 32, 64)
    assert ours[0, 2, 5, 7] == conv[7, 5, 0, 2]
    query = case.parameters["decoder.mid.attn_1.q.weight"]  # [out, in, 1, 1]
    assert found["decoder/middle/attention/0/query/kernel"][3, 5] == query[5, 3, 0, 0]
    np.testing.assert_array_equal(
        found["decoder/middle/blocks/1/norm2/scale"],
        case.parameters["decoder.mid.block_2.norm2.weight"],
    )


def test_losses_are_passed_over_and_nothing_else():
    cfg = taming.vqgan_config(tiny())
    arrays = dict(Case("taming/vqgan_f16_tiny").parameters)
    count = len(arrays)
    arrays["loss.discriminator.main.0.weight"] = np.zeros((64, 3, 4, 4), np.float32)
    arrays["loss.perceptual_loss.lin0.model.1.weight"] = np.zeros((1, 64, 1, 1), np.float32)
    match = lambda: rules.match(arrays, taming.vqgan_rules(cfg), ignored=taming.VQGAN_IGNORED)
    assert len(match()) == count
    arrays["encoder.extra.weight"] = np.zeros(3, np.float32)
    with pytest.raises(UserError, match=r"encoder.extra.weight \(3,\) is unexpected"):
        match()


def without(shapes: Shapes, start: str) -> Shapes:
    return {name: shape for name, shape in shapes.items() if not name.startswith(start)}


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (
            lambda: without(whole(), "first_stage_model."),
            "^the checkpoint is not a whole VQGAN of Taming Transformers: encoder.conv_in.weight "
            "is missing$",
        ),
        (lambda: without(tiny(), "encoder.down"), "encoder.down.0.block.0.conv1.weight is missing"),
        (
            lambda: without(tiny(), "quantize"),
            "the checkpoint has 0 codebooks, expected either quantize.embedding.weight or "
            r"quantize.embed.weight: an autoencoder without quantizer \(KL\) makes no codes",
        ),
        (
            lambda: tiny() | {"encoder.conv_in.weight": (32, 183, 3, 3)},
            "takes 183 channels and gives 3, expected 3 and 3",
        ),
        (
            lambda: tiny() | {"quantize.used": (20,)},
            r"renumbers its codes \(quantize.used is there\)",
        ),
        (
            lambda: tiny() | {"encoder.down.2.block.0.conv1.weight": (65, 32, 3, 3)},
            r"has levels \[32, 32, 65, 64, 128\] wide, expected multiples of .* 32",
        ),
        (
            lambda: tiny() | {"quantize.embedding.weight": (64, 24, 1)},
            r"quantize.embedding.weight has shape \(64, 24, 1\), expected 2 dimensions",
        ),
    ],
)
def test_what_is_no_vqgan(shapes, message):
    with pytest.raises(UserError, match=message) as error:
        taming.vqgan_config(shapes())
    assert "\n" not in str(error.value)


def test_an_image_size_that_does_not_divide():
    with pytest.raises(UserError, match="image_size 100 does not divide by .* 16"):
        taming.vqgan_config(tiny(), image_size=100)


def wrong(shapes: Shapes) -> str:
    """What is said of a file with these shapes, but for its beginning."""
    arrays = {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}
    with pytest.raises(UserError) as caught:
        taming.read(arrays, "a.ckpt", rules.Options(image_size=64, heads=2))
    return str(caught.value).removeprefix("a.ckpt (tokenizer) does not fit the model: ")


def renamed(shapes: Shapes, old: str, new: str) -> Shapes:
    return {name.replace(old, new): shape for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (
            lambda: tiny() | {"encoder.down.0.block.2.conv1.bias": (32,)},
            "encoder.down.0.block.2.conv1.bias (32,) is unexpected",
        ),
        (
            lambda: tiny() | {"encoder.down.1.attn.0.q.bias": (32,)},
            "encoder.down.1.attn.0.q.bias (32,) is unexpected",
        ),
        (
            lambda: renamed(tiny(), "down.2.block.0.conv1.weight", "down.2.block.0.conv1.wait"),
            "encoder.down.2.block.0.conv1.wait (64, 32, 3, 3) is unexpected; "
            "encoder.down.2.block.0.conv1.weight is missing",
        ),
        (
            lambda: renamed(tiny(), "encoder.conv_in", "encoder.conv_one"),
            "encoder.conv_one.bias, encoder.conv_one.weight are unexpected; a.ckpt (tokenizer) is "
            "not a whole VQGAN of Taming Transformers: encoder.conv_in.weight is missing",
        ),
    ],
)
def test_one_wrong_name_is_not_buried(shapes, message):
    shapes = shapes()
    if "encoder.conv_in.weight" not in shapes:  # by which a tokenizer is known
        shapes["encoder.conv_in.bias"] = (32,)
    assert wrong(shapes) == message


def test_errors_in_both_halves():
    shapes = whole() | {"transformer.extra": (1,), "first_stage_model.extra": (2,), "odd": (3,)}
    message = wrong(shapes)
    for part in (
        "a.ckpt does not fit the model: odd is unexpected",
        "a.ckpt (tokenizer) does not fit the model: first_stage_model.extra (2,) is unexpected",
        "a.ckpt (transformer) does not fit the model: transformer.extra (1,) is unexpected",
    ):
        assert part in message


def test_a_gap_in_the_layers_is_told_once():
    shapes = renamed(whole(), "transformer.blocks.1.", "transformer.blocks.2.")
    assert wrong(shapes) == (
        "a.ckpt (transformer) does not fit the model: layers 0, 2 are there "
        "(transformer.blocks.2.ln1.weight, …), expected 0 to 1"
    )
