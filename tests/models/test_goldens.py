"""The networks against what the reference implementations compute."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from maskgit_prompt.models.masked import MaskedConfig
from maskgit_prompt.models.prompt import PromptConfig
from maskgit_prompt.models.prompts import Prompt
from tests import golden_models
from tests.golden_models import Case, close

LAYER, STACK = 1e-5, 1e-4  # DESIGN.md: relative to the output's largest value


def test_tokenizer():
    case = Case("maskgit/tokenizer_tiny")
    model = nnx.merge(*golden_models.tokenizer(case, case.config))
    images = jnp.float32(case["in_image"]) / 255
    features = model.features(images)
    close(features, case["out_features"], STACK)
    close(model.distances(features), case["out_distances"], STACK)
    assert case["out_gap"].min() > 1e-3  # so that rounding cannot pick another code
    np.testing.assert_array_equal(model.nearest(features), case["out_indices"])
    quantized = model.codebook[...][case["out_indices"]]
    close(quantized, case["out_quantized"], 0)
    close(model.decode_features(quantized), case["out_image"], STACK)
    ids = case["in_ids"].reshape(len(case["in_ids"]), -1)
    close(model.decode(ids), case["out_image_from_ids"], STACK)
    np.testing.assert_array_equal(
        model.encode(images), case["out_indices"].reshape(len(images), -1)
    )


def test_tokenizer_blocks():
    case = Case("maskgit/tokenizer_tiny")
    model = nnx.merge(*golden_models.tokenizer(case, case.config))
    sliced = lambda x: x[:, :: max(1, x.shape[1] // 8), :: max(1, x.shape[2] // 8), ::4]
    x = model.encoder.conv_in(jnp.float32(case["in_image"]) / 255)
    first = model.encoder.levels["0"]["blocks"]
    close(sliced(first["1"](first["0"](x))), case["out_enc_block1"], LAYER)
    y = model.decoder.conv_in(case["out_quantized"])
    close(sliced(model.decoder.middle["0"](y)), case["out_dec_block0"], LAYER)


def masked_config(config: dict) -> MaskedConfig:
    return MaskedConfig(
        codebook=config["codebook_size"],
        classes=config["num_classes"],
        length=config["image_tokens"],
        width=config["hidden_size"],
        layers=config["num_layers"],
        heads=config["num_heads"],
        mlp=config["intermediate_size"],
    )


def ids_to_inputs(ids: np.ndarray, cfg: MaskedConfig) -> tuple[np.ndarray, np.ndarray]:
    """(codes, class ids) of the reference's ids, whose column 0 is codebook + class or -1."""
    return ids[:, 1:], np.where(ids[:, 0] < 0, -1, ids[:, 0] - cfg.codebook)


def test_transformer_per_stage():
    case = Case("maskgit/transformer_tiny")
    cfg = masked_config(case.config)
    model = nnx.merge(*golden_models.transformer(case, cfg))
    codes, class_ids = ids_to_inputs(case["in_ids"], cfg)
    close(model.embed(case["in_ids"], 0), case["out_embedding"], LAYER)
    last, layers = model.hidden(codes, class_ids=class_ids, keep_layers=True)
    close(layers[0], case["out_layer0"], LAYER)
    close(last, case["out_layer_last"], STACK)
    close(model.head(last), case["out_mlm_hidden"], STACK)
    logits = model(codes, class_ids=class_ids)
    # The manifest asks for an absolute tolerance here: these logits are small.
    np.testing.assert_allclose(logits, case["out_logits"], rtol=0, atol=2e-5)
    short, class_ids = ids_to_inputs(case["in_ids_short"], cfg)
    np.testing.assert_allclose(
        model(short, class_ids=class_ids), case["out_logits_short"], rtol=0, atol=2e-5
    )


def test_code_logits_are_a_slice_of_all_logits():
    case = Case("maskgit/transformer_tiny")
    cfg = masked_config(case.config)
    model = nnx.merge(*golden_models.transformer(case, cfg))
    codes, class_ids = ids_to_inputs(case["in_ids"], cfg)
    some = model.code_logits(codes, class_ids=class_ids)
    close(some, model(codes, class_ids=class_ids)[:, 1:, : cfg.codebook], 1e-6)


@pytest.mark.parametrize("name", ["cond_transformer_tiny", "cond_transformer_tiny_hidden_size"])
def test_prompted_transformer(name):
    case = Case(f"maskgit/{name}")
    cfg, prompt = masked_config(case.config), case.config["prompt"]
    model = nnx.merge(*golden_models.transformer(case, cfg))
    generator = nnx.merge(
        *golden_models.prompt(
            case,
            PromptConfig(
                kind="additive",
                tokens=prompt["seq_length"],
                width=cfg.width,
                classes=prompt["num_classes"],
                embedding=prompt["embedding_size"],
                dense=prompt["hidden_size"] > 0,
            ),
        )
    )
    prompts = generator(case["in_labels"].reshape(-1))
    close(prompts.tokens, case["out_prompts"], LAYER)
    codes, _ = ids_to_inputs(case["in_ids"], cfg)
    logits = model(codes, prompts)
    close(logits, case["out_logits"], STACK)
    close(logits[:, -codes.shape[1] - 1 :, : cfg.codebook], case["out_code_logits"], STACK)


def test_bfloat16_stays_near_float32():
    case = Case("maskgit/transformer_tiny")
    cfg = masked_config(case.config)
    graphdef, tree = golden_models.transformer(case, cfg)
    half, _ = golden_models.transformer(case, MaskedConfig(**{**vars(cfg), "dtype": "bfloat16"}))
    codes, class_ids = ids_to_inputs(case["in_ids"], cfg)
    logits = nnx.merge(half, tree)(codes, class_ids=class_ids)
    assert logits.dtype == jnp.float32
    close(logits, nnx.merge(graphdef, tree)(codes, class_ids=class_ids), 0.03)


def test_fresh_prompts_replace_those_of_the_layer_before():
    case = Case("maskgit/cond_transformer_tiny")
    cfg = masked_config(case.config)
    model = nnx.merge(*golden_models.transformer(case, cfg))
    codes, _ = ids_to_inputs(case["in_ids"], cfg)
    prompt = jax.random.normal(jax.random.key(0), (len(codes), cfg.layers, 4, cfg.width))
    logits = model.code_logits(codes, Prompt(layers=prompt))
    # By hand: run the blocks one at a time.
    x = model.embed(codes, 1)
    for i in range(cfg.layers):
        block = jax.tree.map(lambda leaf, i=i: leaf[i], nnx.state(model.blocks))
        block = nnx.merge(nnx.graphdef(model.blocks), block)
        x = block(jnp.concatenate([prompt[:, i], x], axis=1))[:, 4:]
    close(logits, model._logits(x, cfg.codebook), LAYER)
