"""The VQGAN against what the reference implementation computes, and small cases by hand."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from maskgit_prompt import params
from maskgit_prompt.devices import sharding
from maskgit_prompt.importers import taming
from maskgit_prompt.models import vqgan
from maskgit_prompt.models.vqgan import CONFIGS, VQGAN, VQGANConfig
from maskgit_prompt.tasks import losses
from tests import golden_models
from tests.golden_models import Case, close

STACK = 1e-4  # DESIGN.md: relative to the output's largest value
TINY = VQGANConfig(
    image_size=4,
    codebook=5,
    embedding=3,
    latent=3,
    filters=4,
    multipliers=(1, 2),
    blocks=1,
    attention=(1,),
    groups=2,
)


def filled(cfg: VQGANConfig, flat: dict[str, np.ndarray]) -> VQGAN:
    """A VQGAN with these parameters, and zeros for what is not given."""
    graphdef, _ = params.create(lambda rngs: VQGAN(cfg, rngs=rngs))
    return nnx.merge(graphdef, params.unflatten(zeros(cfg) | flat))


def zeros(cfg: VQGANConfig) -> dict[str, np.ndarray]:
    shapes = params.flatten(abstract(cfg))
    return {path: np.zeros(leaf.shape, np.float32) for path, leaf in shapes.items()}


def abstract(cfg: VQGANConfig) -> params.Tree:
    return nnx.to_pure_dict(nnx.eval_shape(lambda: nnx.state(VQGAN(cfg, rngs=nnx.Rngs(0)))))


@functools.cache
def golden(name: str) -> tuple[Case, VQGANConfig, dict[str, np.ndarray]]:
    """A golden case, its config and its parameters, read as a checkpoint's would be."""
    case = Case(f"taming/{name}")
    prefix = "" if name.startswith("vqgan") else "first_stage_model."
    found = {key: x for key, x in case.parameters.items() if key.startswith(prefix)}
    cfg = taming.vqgan_config({key: x.shape for key, x in found.items()}, prefix, 64)
    flat = golden_models.load(found, taming.vqgan_rules(cfg, prefix), expected=abstract(cfg))
    return case, cfg, flat


def run(model: VQGAN, compute, x: np.ndarray):
    """compute(model, x), compiled: operation by operation takes four times as long."""
    graphdef, state = nnx.split(model)
    return _run(graphdef, compute, state, x)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _run(graphdef: nnx.GraphDef, compute, state: nnx.State, x: np.ndarray):
    return compute(nnx.merge(graphdef, state), x)


def nhwc(x: np.ndarray) -> np.ndarray:
    return x.transpose(0, 2, 3, 1)


def pixels(x: np.ndarray) -> np.ndarray:
    """The reference's NCHW images in [-1, 1] -> ours."""
    return nhwc(x) / 2 + np.float32(0.5)


@pytest.mark.parametrize("wide", ["", "_wide"])
def test_every_stage(wide):
    case, cfg, flat = golden("vqgan_f16_tiny")
    model, image = filled(cfg, flat), pixels(case[f"in_image{wide}"])
    encoded, features, codes = run(
        model, lambda m, x: (m.encoder(2 * x - 1), m.features(x), m.encode(x)), image
    )
    close(encoded, nhwc(case[f"out_encoder{wide}"]), STACK)
    close(features, nhwc(case[f"out_prequant{wide}"]), STACK)
    distances = np.sort(model.distances(features).reshape(-1, cfg.codebook), axis=1)
    gap = case[f"out_argmin_gap{wide}"]
    assert gap.min() > 1e-3  # so that rounding cannot pick another code
    close(distances[:, 1] - distances[:, 0], gap, STACK)
    indices = model.nearest(features)  # [B, h, w]
    np.testing.assert_array_equal(indices.ravel(), case[f"out_indices{wide}"])
    np.testing.assert_array_equal(codes, indices.reshape(len(image), -1))
    quantized = model.codebook[...][indices]
    # The reference passes on z + (code - z), which is the code up to rounding.
    close(quantized, nhwc(case[f"out_quantized{wide}"]), 1e-6)
    found = run(model, VQGAN.decode_features, quantized)
    close(2 * found - 1, nhwc(case[f"out_reconstruction{wide}"]), STACK)


def test_codes_to_images():
    case, cfg, flat = golden("vqgan_f16_tiny")
    found = run(filled(cfg, flat), VQGAN.decode, case["in_indices"])
    close(2 * found - 1, nhwc(case["out_decoded_indices"]), STACK)


def test_the_first_stage_of_a_transformer():
    case, cfg, flat = golden("net2net_tiny")
    model = filled(cfg, flat)
    assert case["out_argmin_gap"].min() > 1e-3
    codes = run(model, VQGAN.encode, pixels(case["in_image"]))
    np.testing.assert_array_equal(codes, case["out_tokens"])
    found = run(model, VQGAN.decode, case["out_greedy_tokens"])
    close(2 * found - 1, nhwc(case["out_greedy_image"]), STACK)


@pytest.mark.parametrize(
    ("kind", "commitment", "codebook_weight"), [("legacy", 1, 0.25), ("fixed", 0.25, 1)]
)
def test_codebook_loss_and_its_gradients(kind, commitment, codebook_weight):
    case, _, flat = golden("vqgan_f16_tiny")

    def loss(features, codebook):
        _, terms = losses.quantizer_losses(
            features,
            codebook,
            vqgan.squared_distances(features, codebook),
            losses.QuantizerWeights(commitment, codebook_weight, entropy=0),
        )
        return sum(terms.values())

    features = jnp.asarray(nhwc(case["out_prequant"]))
    value, grads = jax.value_and_grad(loss, (0, 1))(features, flat["codebook"])
    close(value, case["out_codebook_loss_legacy"], 1e-5)  # both kinds have this value
    close(grads[0], nhwc(case[f"out_codebook_loss_grad_prequant_{kind}"]), 1e-5)
    close(grads[1], case[f"out_codebook_loss_grad_codebook_{kind}"], 1e-5)


@pytest.mark.slow
def test_bfloat16_costs_little_more_than_rounding_the_weights():
    case, cfg, flat = golden("vqgan_f16_tiny")
    rounded = {path: x.astype(jnp.bfloat16).astype(np.float32) for path, x in flat.items()}
    exact, coarse = filled(cfg, flat), filled(cfg, rounded)
    half = filled(dataclasses.replace(cfg, dtype="bfloat16"), flat)
    for compute, x in (
        (VQGAN.features, pixels(case["in_image"])),
        (VQGAN.decode, case["in_indices"]),
    ):
        expected, least, found = (run(model, compute, x) for model in (exact, coarse, half))
        assert found.dtype == jnp.float32
        assert jnp.std(found - expected) < 4 * jnp.std(least - expected) < 0.1 * jnp.std(expected)
    assert half.distances(jnp.ones((1, 24))).dtype == jnp.float32


def test_halving_pads_bottom_and_right():
    ones = {"encoder/levels/0/down/kernel": np.ones((3, 3, 4, 4), np.float32)}
    down = filled(TINY, ones).encoder.levels["0"].down
    x = np.zeros((1, 4, 4, 4), np.float32)
    x[0, :, :, 0] = np.arange(16).reshape(4, 4)
    # Windows of rows and columns 0..2 and 2..4, where 4 is the padding.
    expected = [
        [0 + 1 + 2 + 4 + 5 + 6 + 8 + 9 + 10, 2 + 3 + 6 + 7 + 10 + 11],
        [8 + 9 + 10 + 12 + 13 + 14, 10 + 11 + 14 + 15],
    ]
    np.testing.assert_allclose(down(x)[0, :, :, 0], expected)


def test_attention_has_one_head_and_is_added():
    layer = vqgan.Attention(TINY, 4, rngs=nnx.Rngs(0))
    x = np.random.default_rng(0).normal(size=(2, 3, 2, 4)).astype(np.float32)
    rows = np.asarray(layer.norm(x)).reshape(2, 6, 4)
    q, k, v = (
        rows @ np.asarray(part.kernel[...]) + np.asarray(part.bias[...])
        for part in (layer.query, layer.key, layer.value)
    )
    weights = np.exp(q @ k.transpose(0, 2, 1) / 4**0.5)
    weights /= weights.sum(-1, keepdims=True)
    expected = x + (weights @ v @ np.asarray(layer.out.kernel[...])).reshape(x.shape)
    close(layer(x), expected, 1e-5)


def test_gumbel_takes_the_largest_logit_the_first_among_equals():
    kernel = np.array([[1, 2, 0, 2], [0, 0, 1, 0], [0, 0, 0, 0]], np.float32)
    model = filled(
        dataclasses.replace(TINY, quantizer="gumbel", codebook=4),
        {
            "logits/kernel": kernel,
            "logits/bias": np.array([0.5, 0, 0, 0], np.float32),
            "before/bias": np.array([-1, 3, 9], np.float32),
            "codebook": np.eye(4, 3, dtype=np.float32),
        },
    )
    features = jnp.array([[[[1.0, 0, 9], [-1, 3, 9]], [[0, 0, 9], [1, 2.5, 9]]]])  # [1, 2, 2, 3]
    np.testing.assert_array_equal(
        -model.distances(features)[0].reshape(4, 4),
        [[1.5, 2, 0, 2], [-0.5, -2, 3, -2], [0.5, 0, 0, 0], [1.5, 2, 2.5, 2]],
    )
    np.testing.assert_array_equal(model.nearest(features), [[[1, 2], [0, 2]]])
    # All features are the bias before the quantizer, whose code is 2, as above.
    codes = run(model, VQGAN.encode, np.ones((2, 4, 4, 3), np.float32))
    np.testing.assert_array_equal(codes, np.full((2, 4), 2))


def test_sizes():
    assert (TINY.factor, TINY.latent_size, TINY.length) == (2, 2, 4)
    found = {name: (cfg.factor, cfg.length) for name, cfg in CONFIGS.items()}
    f16, f8 = (16, 256), (8, 1024)
    assert list(found.values()) == [f16, f16, f8, f8, f8]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 5}, "image_size 5 does not divide by the tokenizer's factor 2"),
        ({"quantizer": "product"}, "quantizer 'product', expected 'nearest' or 'gumbel'"),
        ({"attention": (2,)}, r"attention at levels \(2,\), expected some of 0 to 1"),
        ({"groups": 8}, r"levels are \[4\] wide, expected multiples of groups 8"),
        ({"quantizer": "gumbel", "latent": 4}, "needs latent 4 equal to embedding 3"),
    ],
)
def test_sizes_that_do_not_fit(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TINY, **changes)


def test_parameters_of_the_published_size():
    tree = abstract(CONFIGS["taming_f16_16384"])
    assert params.count(tree) == 76_073_859  # 76.1 M
    small = abstract(CONFIGS["taming_f16_1024"])
    assert params.count(tree) - params.count(small) == (16384 - 1024) * 256


def test_every_parameter_has_a_place_on_the_mesh():
    tree = abstract(CONFIGS["taming_f8_gumbel_8192"])
    found = sharding.param_shardings(tree, sharding.make_mesh(2, 2, 2), vqgan.AXES)
    assert len(jax.tree.leaves(found)) == len(jax.tree.leaves(tree))
