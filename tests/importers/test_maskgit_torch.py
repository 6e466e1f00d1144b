"""The MaskGIT tokenizer as a PyTorch state dict: its names, its sizes, what it computes."""

import dataclasses
import functools

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from maskgit_prompt import backbones, params
from maskgit_prompt.errors import UserError
from maskgit_prompt.importers import maskgit_torch, rules
from maskgit_prompt.models.tokenizer import Tokenizer, TokenizerConfig
from tests import golden_models
from tests.golden_models import Case, close

# The golden case's modules, numbered in order of creation -> the state dict's, by hand. Five
# levels of two blocks: the decoder begins at level 4.
MODULES = {
    "encoder/Conv_0": "encoder.conv_in",
    "encoder/ResBlock_0": "encoder.down.0.block.0",
    "encoder/ResBlock_1": "encoder.down.0.block.1",
    "encoder/ResBlock_2": "encoder.down.1.block.0",
    "encoder/ResBlock_3": "encoder.down.1.block.1",
    "encoder/ResBlock_4": "encoder.down.2.block.0",
    "encoder/ResBlock_5": "encoder.down.2.block.1",
    "encoder/ResBlock_6": "encoder.down.3.block.0",
    "encoder/ResBlock_7": "encoder.down.3.block.1",
    "encoder/ResBlock_8": "encoder.down.4.block.0",
    "encoder/ResBlock_9": "encoder.down.4.block.1",
    "encoder/ResBlock_10": "encoder.mid.0",
    "encoder/ResBlock_11": "encoder.mid.1",
    "encoder/GroupNorm_0": "encoder.norm_out",
    "encoder/Conv_1": "encoder.conv_out",
    "decoder/Conv_0": "decoder.conv_in",
    "decoder/ResBlock_0": "decoder.mid.0",
    "decoder/ResBlock_1": "decoder.mid.1",
    "decoder/ResBlock_2": "decoder.up.4.block.0",
    "decoder/ResBlock_3": "decoder.up.4.block.1",
    "decoder/Conv_1": "decoder.up.4.upsample_conv",
    "decoder/ResBlock_4": "decoder.up.3.block.0",
    "decoder/ResBlock_5": "decoder.up.3.block.1",
    "decoder/Conv_2": "decoder.up.3.upsample_conv",
    "decoder/ResBlock_6": "decoder.up.2.block.0",
    "decoder/ResBlock_7": "decoder.up.2.block.1",
    "decoder/Conv_3": "decoder.up.2.upsample_conv",
    "decoder/ResBlock_8": "decoder.up.1.block.0",
    "decoder/ResBlock_9": "decoder.up.1.block.1",
    "decoder/Conv_4": "decoder.up.1.upsample_conv",
    "decoder/ResBlock_10": "decoder.up.0.block.0",
    "decoder/ResBlock_11": "decoder.up.0.block.1",
    "decoder/GroupNorm_0": "decoder.norm_out",
    "decoder/Conv_5": "decoder.conv_out",
}
IN_A_BLOCK = {
    "GroupNorm_0": "norm1",
    "Conv_0": "conv1",
    "GroupNorm_1": "norm2",
    "Conv_1": "conv2",
    "Conv_2": "nin_shortcut",
}
LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias"}
TINY = TokenizerConfig(image_size=64, codebook=64, embedding=16, filters=32)


@functools.cache
def golden() -> Case:
    return Case("maskgit/tokenizer_tiny")


@functools.cache
def state_dict() -> dict[str, np.ndarray]:
    """The golden case's parameters as PyTorch has them: kernels (out, in, height, width)."""
    found = {}
    for name, value in golden().part("encoder", "decoder", "quantizer").items():
        if name == "quantizer/codebook":
            found["quantize.embedding.weight"] = value
            continue
        part, module, *block, leaf = name.split("/")
        names = [MODULES[f"{part}/{module}"], *(IN_A_BLOCK[b] for b in block), LEAVES[leaf]]
        found[".".join(names)] = np.moveaxis(value, (3, 2), (0, 1)) if value.ndim == 4 else value
    return found


def tiny() -> dict[str, tuple[int, ...]]:
    return {name: x.shape for name, x in state_dict().items()}


def published() -> dict[str, tuple[int, ...]]:
    """The shapes of the published file: as deep as the golden case, 4 times as wide."""
    wide = {1: 1, 3: 3, 16: 256, 32: 128, 64: 256, 128: 512}
    shapes = {name: tuple(wide[n] for n in shape) for name, shape in tiny().items()}
    return shapes | {"quantize.embedding.weight": (1024, 256)}


def abstract(cfg: TokenizerConfig) -> dict:
    return backbones.abstract(lambda rngs: Tokenizer(cfg, rngs=rngs))


def match(arrays: dict[str, np.ndarray], cfg: TokenizerConfig = TINY) -> dict:
    return rules.match(
        arrays,
        maskgit_torch.rules(),
        expected=abstract(cfg),
        what="a.bin",
    )


def config(shapes: dict[str, tuple[int, ...]], image_size: int) -> TokenizerConfig:
    return maskgit_torch.config(rules.Shapes(shapes, "a.bin", "MaskGIT tokenizer"), image_size)


def test_the_written_out_names_are_of_this_kind():
    blocks = 24 * (2 + 4) + 4  # of convolutions and norms; 4 blocks change their width
    encoder, decoder, codebook = 1 + 2 + 2, 2 + 4 * 2 + 2 + 2, 1
    assert len(state_dict()) == len(golden().parameters) == blocks + encoder + decoder + codebook
    assert maskgit_torch.SIGN in state_dict()
    assert state_dict()["encoder.down.2.block.0.conv1.weight"].shape == (64, 32, 3, 3)
    assert state_dict()["encoder.down.2.block.0.nin_shortcut.weight"].shape == (64, 64, 1, 1)
    assert state_dict()["decoder.up.4.upsample_conv.weight"].shape == (128, 128, 3, 3)


def test_computes_what_the_reference_computes():
    case = golden()
    make = lambda rngs: Tokenizer(config(tiny(), 64), rngs=rngs)
    table = maskgit_torch.rules()
    model = nnx.merge(*golden_models.tree(state_dict(), table, make))
    images = jnp.float32(case["in_image"]) / 255
    close(model.features(images), case["out_features"], 1e-4)
    codes = case["out_indices"].reshape(len(images), -1)
    assert case["out_gap"].min() > 1e-3  # so that rounding cannot pick another code
    np.testing.assert_array_equal(model.encode(images), codes)
    close(model.decode(codes), case["out_image"], 1e-4)


def test_every_parameter_arrives_as_from_the_flax_file():
    _, expected = golden_models.tokenizer(golden(), golden().config)
    expected = params.flatten(expected)
    found = {path: parameter.read() for path, parameter in match(state_dict()).items()}
    assert found.keys() == expected.keys()
    for path, array in found.items():
        np.testing.assert_array_equal(array, expected[path], err_msg=path)


def test_config_of_the_golden_case_and_of_the_published_file():
    assert config(tiny(), 64) == TINY
    cfg = config(published(), 256)
    assert cfg == TokenizerConfig(
        image_size=256,
        codebook=1024,
        embedding=256,
        filters=128,
        multipliers=(1, 1, 2, 2, 4),
        blocks=2,
        groups=32,
        conv_downsample=False,
        shortcut="branch",
    )
    arrays = {name: np.broadcast_to(np.float32(0), shape) for name, shape in published().items()}
    assert match(arrays, cfg).keys() == params.flatten(abstract(cfg)).keys()


def without(*parts: str) -> dict[str, tuple[int, ...]]:
    return {n: shape for n, shape in tiny().items() if not any(part in n for part in parts)}


def test_config_of_fewer_blocks_and_levels():
    assert config(without(".block.1.", ".mid.1."), 64) == dataclasses.replace(TINY, blocks=1)
    # Widths 32, 32, 64 are left.
    three = without("down.4.", "up.4.", "down.3.", "up.3.")
    assert config(three, 64) == dataclasses.replace(TINY, multipliers=(1, 1, 2))


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (
            lambda: {},
            "a.bin is not a whole MaskGIT tokenizer: quantize.embedding.weight is missing",
        ),
        (lambda: without("encoder.conv_in"), "encoder.conv_in.weight is missing"),
        (lambda: without("encoder.mid"), "encoder.mid.0.conv1.weight is missing"),
        (lambda: without("down."), "encoder.down.0.block.0.conv1.weight is missing"),
        (
            lambda: tiny() | {"encoder.conv_in.weight": (32, 3)},
            r"encoder.conv_in.weight has shape \(32, 3\), expected 4 dimensions",
        ),
        (
            lambda: tiny() | {"encoder.down.2.block.0.conv1.weight": (65, 32, 3, 3)},
            r"a.bin has levels \[32, 32, 65, 64, 128\] wide after a first convolution to 32, "
            "expected multiples of that width, and that width a multiple of 32",
        ),
        (
            lambda: tiny() | {"encoder.conv_in.weight": (16, 3, 3, 3)},
            "first convolution to 16, expected",
        ),
        (lambda: tiny() | {"encoder.conv_in.weight": (0, 3, 3, 3)}, "first convolution to 0, exp"),
    ],
)
def test_what_is_no_such_tokenizer(shapes, message):
    with pytest.raises(UserError, match=message) as error:
        config(shapes(), 64)
    assert "\n" not in str(error.value)


def test_an_image_size_that_does_not_divide():
    with pytest.raises(UserError, match="a.bin: image_size 100 does not divide by .* 16"):
        config(tiny(), 100)


@pytest.mark.parametrize(
    ("gone", "new", "message"),
    [
        (
            "decoder.up.3.upsample_conv.bias",
            {},
            r"decoder\.up\.3\.upsample_conv\.bias is missing",
        ),
        (
            "encoder.down.4.block.0.nin_shortcut.weight",
            {},
            r"encoder\.down\.4\.block\.0\.nin_shortcut\.weight is missing",
        ),
        ("", {"encoder.conv_in.bias": (32,)}, r"encoder\.conv_in\.bias \(32,\) is unexpected"),
        (
            "",
            {"encoder.mid.0.conv1.bias": (128,)},
            r"encoder\.mid\.0\.conv1\.bias \(128,\) is unexpected",
        ),
        (
            "",
            {"decoder.up.0.upsample_conv.bias": (32,)},
            r"decoder\.up\.0\.upsample_conv\.bias \(32,\) is unexpected",
        ),
        ("", {"loss.logvar": ()}, r"loss\.logvar \(\) is unexpected"),
        (  # as it would be if the block's input were projected
            "",
            {"decoder.up.3.block.0.nin_shortcut.weight": (64, 128, 1, 1)},
            r"decoder\.up\.3\.block\.0\.nin_shortcut\.weight \(64, 128, 1, 1\) becomes "
            r"\(1, 1, 128, 64\), expected \(1, 1, 64, 64\)",
        ),
        (
            "",
            {"decoder.conv_in.weight": (128, 16)},
            r"decoder\.conv_in\.weight \(128, 16\) is misshapen",
        ),
    ],
)
def test_names_that_are_missing_or_too_many(gone, new, message):
    arrays = {name: x for name, x in state_dict().items() if name != gone}
    arrays |= {name: np.zeros(shape, np.float32) for name, shape in new.items()}
    with pytest.raises(UserError, match=f"^a.bin does not fit the model: {message}$") as error:
        match(arrays)
    assert "\n" not in str(error.value)


def test_the_part_of_a_file():
    part = maskgit_torch.read(state_dict(), "a.bin", rules.Options(image_size=64))["tokenizer"]
    assert (part.kind, part.cfg) == ("vq", TINY)
    assert params.flatten(part.tree).keys() == params.flatten(abstract(TINY)).keys()
    part = maskgit_torch.read(state_dict(), "a.bin", rules.Options())["tokenizer"]
    assert part.cfg == dataclasses.replace(TINY, image_size=256)
    extra = state_dict() | {"loss.logvar": np.zeros(())}
    with pytest.raises(UserError, match=r"^a.bin \(tokenizer\) does not .* \(\) is unexpected$"):
        maskgit_torch.read(extra, "a.bin", rules.Options())


@pytest.mark.parametrize(
    ("source", "found"), [({}, "nothing"), ({"model.x": 0, "tok_emb.weight": 0}, "model, tok_emb")]
)
def test_a_file_of_another_kind(source, found):
    message = (
        "^a.bin holds no MaskGIT tokenizer of PyTorch, expected encoder.mid.0.conv1.weight among "
        f"its names; they begin with {found}$"
    )
    with pytest.raises(UserError, match=message):
        maskgit_torch.read(source, "a.bin", rules.Options())


def test_taming_transformers_has_not_the_sign():
    assert maskgit_torch.SIGN not in Case("taming/vqgan_f16_tiny").parameters


def test_a_renamed_parameter_that_tells_a_size():
    arrays = {name.replace("conv_in", "conv_one"): x for name, x in state_dict().items()}
    with pytest.raises(UserError) as caught:
        maskgit_torch.read(arrays, "a.bin", rules.Options())
    assert str(caught.value) == (
        "a.bin (tokenizer) does not fit the model: decoder.conv_one.bias, decoder.conv_one.weight, "
        "encoder.conv_one.weight are unexpected; a.bin (tokenizer) is not a whole MaskGIT "
        "tokenizer: encoder.conv_in.weight is missing"
    )
