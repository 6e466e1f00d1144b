"""The causal transformer against what Taming Transformers computes, and its own promises."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from maskgit_prompt import backbones, params
from maskgit_prompt.devices import sharding
from maskgit_prompt.importers import taming
from maskgit_prompt.models.attention import visible
from maskgit_prompt.models.causal import CausalTransformer
from maskgit_prompt.models.causal_sizes import CONFIGS, CausalConfig
from maskgit_prompt.models.masked import MASK
from maskgit_prompt.models.prompts import Prompt
from tests import golden_models
from tests.golden_models import Case, close

LAYER, STACK = 1e-5, 1e-4  # DESIGN.md: relative to the output's largest value

TINY = CausalConfig(
    codebook=11, classes=7, length=6, positions=6, width=8, layers=3, heads=2, mlp=16
)


@functools.cache
def case(name: str) -> Case:
    return Case(f"taming/{name}")


@functools.cache
def weights(name: str, heads: int, prefix: str = "") -> tuple[CausalConfig, dict]:
    """(config read from the shapes, parameters of ours) of a case."""
    names = {n: x for n, x in case(name).parameters.items() if n.startswith(prefix)}
    cfg = taming.gpt_config({n: x.shape for n, x in names.items()}, heads, prefix)
    expected = backbones.abstract(lambda rngs: CausalTransformer(cfg, rngs=rngs))
    return cfg, params.unflatten(
        golden_models.load(names, taming.gpt_rules(cfg), expected=expected)
    )


def build(cfg: CausalConfig, tree: dict) -> CausalTransformer:
    graphdef, _ = params.create(lambda rngs: CausalTransformer(cfg, rngs=rngs))
    return nnx.merge(graphdef, jax.tree.map(jnp.asarray, tree))


def golden(name: str = "gpt_tiny", heads: int = 4, prefix: str = "", **changes):
    cfg, tree = weights(name, heads, prefix)
    return build(dataclasses.replace(cfg, **changes), tree)


@functools.cache
def tiny_tree() -> dict:
    """Random parameters of TINY, positions and biases included."""
    rng = np.random.default_rng(0)
    draw = lambda x: rng.normal(0, 0.4, x.shape).astype(np.float32)
    return jax.tree.map(draw, backbones.abstract(lambda rngs: CausalTransformer(TINY, rngs=rngs)))


def tiny(**changes) -> CausalTransformer:
    return build(dataclasses.replace(TINY, **changes), tiny_tree())


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape, np.float32)


@functools.partial(jax.jit, static_argnums=0)
def tiny_code_logits(cfg, codes, prompt=None, class_ids=None, key=None):
    return build(cfg, tiny_tree()).code_logits(codes, prompt, class_ids, key)


CODES = np.array([[1, 4, 9, 0, 3, 10], [2, 2, 8, 5, 7, 6]])
LABELS = np.array([6, 1])


# Goldens. A case's first token stands where our label does.


@pytest.mark.parametrize(
    "tokens, output, unmasked",
    [
        ("in_tokens", "out_logits", 0),
        ("in_tokens_full_block", "out_logits_full_block", 0),
        ("in_tokens", "out_logits_unmasked5", 5),
    ],
)
def test_logits(tokens, output, unmasked):
    tokens = case("gpt_tiny")[tokens]
    logits = golden(unmasked=unmasked)(tokens[:, 1:], class_ids=tokens[:, 0])
    close(logits, case("gpt_tiny")[output], STACK)


@pytest.mark.parametrize(
    "prompt, output, changes",
    [
        ("in_embeddings", "out_logits_embeddings", {}),
        ("in_embeddings", "out_logits_embeddings_unmasked5", {"unmasked": 5}),
        ("in_embeddings5", "out_logits_embeddings5_unmasked5", {"unmasked": 5}),
        ("in_embeddings5", "out_logits_embeddings5_unmasked5", {"prompt_attention": "both"}),
    ],
)
@pytest.mark.parametrize("label", [True, False])
def test_logits_behind_prompts_with_positions(prompt, output, changes, label):
    data = case("gpt_tiny")
    tokens, prompt = data["in_tokens"], Prompt(tokens=data[prompt])
    model = golden(shifted=True, **changes)
    # Behind prompts with positions the first code stands where a label would stand.
    inputs = (tokens[:, 1:], prompt, tokens[:, 0]) if label else (tokens, prompt)
    logits = model(*inputs)
    close(logits, data[output], STACK)


def test_logits_behind_prompts_without_positions():
    data = case("gpt_tiny")
    tokens, prompt = data["in_tokens_full_block"], Prompt(tokens=data["in_embeddings"])
    logits = golden()(tokens[:, 1:], prompt, tokens[:, 0])
    close(logits, data["out_logits_embeddings_unshifted"], STACK)


@pytest.mark.parametrize(
    "prompt, suffix, changes",
    [
        ("in_embeddings", "", {}),
        ("in_embeddings5", "_unmasked5", {"unmasked": 5}),
        ("in_embeddings5", "_unmasked5", {"prompt_attention": "both"}),
    ],
)
def test_loss_and_gradient_of_the_prompt(prompt, suffix, changes):
    data, model = case("gpt_tiny"), golden(shifted=True, **changes)
    tokens = data["in_tokens"]

    def loss(prompt):
        logits = model.code_logits(tokens, Prompt(tokens=prompt))
        each = optax.softmax_cross_entropy_with_integer_labels(logits, tokens)
        return each.mean(), each

    (mean, each), gradient = jax.value_and_grad(loss, has_aux=True)(jnp.asarray(data[prompt]))
    close(mean, data[f"out_prompt_loss{suffix}"], STACK)
    close(each, data[f"out_prompt_loss_per_token{suffix}"], STACK)
    close(gradient, data[f"out_prompt_grad{suffix}"], STACK)


@pytest.mark.parametrize(
    "prompted, suffix, unmasked",
    [(False, "", 0), (True, "_embeddings", 0), (True, "_embeddings", 5)],
)
def test_whole_sequence_gives_what_the_reference_gives_step_by_step(prompted, suffix, unmasked):
    data = case("gpt_cached_tiny")
    model = golden("gpt_cached_tiny", shifted=True, unmasked=unmasked)
    prompt = Prompt(tokens=data["in_embeddings"]) if prompted else None
    logits = model(data["in_tokens"], prompt, data["in_class"][:, 0])
    output = f"out_logits{suffix}_stepwise" + ("_unmasked5" if unmasked else "")
    close(logits, data[output], STACK)


def test_keys_and_values_of_every_layer():
    data, model = case("gpt_cached_tiny"), golden("gpt_cached_tiny")
    x = model.embed(np.concatenate([data["in_class"], data["in_tokens"]], axis=1), 0)
    for i, (keys, values) in enumerate(data["out_cache_final"]):
        block = jax.tree.map(lambda leaf, i=i: leaf[i], nnx.state(model.blocks))
        block = nnx.merge(nnx.graphdef(model.blocks), block)
        normed = block.attention_norm(x)
        tolerance = LAYER if i == 0 else STACK
        close(block.attention.key(normed).swapaxes(1, 2), keys, tolerance)
        close(block.attention.value(normed).swapaxes(1, 2), values, tolerance)
        x = block(x, visible(x.shape[1], 0))


@pytest.mark.parametrize("suffix", ["", "_unconditional"])
def test_class_conditional_model(suffix):
    data = case("net2net_tiny")
    model = golden("net2net_tiny", heads=2, prefix="transformer.", start=3)
    tokens = data["out_tokens"]
    logits = model.code_logits(tokens, class_ids=None if suffix else data["in_class"])
    close(logits, data[f"out_logits{suffix}"], STACK)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, tokens).mean()
    close(loss, data[f"out_loss{suffix}"], STACK)


# What is in front.


def test_inputs_in_digits():
    # Rows 10, 11, …; positions 0.5, 0.25, 0.125; one number an embedding.
    cfg = CausalConfig(
        codebook=4, classes=2, length=3, positions=3, width=1, layers=1, heads=1, mlp=1
    )
    front = Prompt(tokens=jnp.array([[[100.0], [200.0]]]))  # [B, P, D]
    codes, label = np.array([[2]]), np.array([1])

    def inputs(codes, prompt=None, class_ids=None, **changes):
        tree = backbones.abstract(lambda rngs: CausalTransformer(cfg, rngs=rngs))
        tree = jax.tree.map(lambda x: jnp.zeros(x.shape), tree)
        tree["words"] = jnp.array([[10.0], [11.0], [12.0], [13.0]])
        tree["positions"] = jnp.array([[0.5], [0.25], [0.125]])
        model = build(dataclasses.replace(cfg, **changes), tree)
        return model._inputs(codes, prompt, class_ids)[0, :, 0].tolist()

    assert inputs(codes, class_ids=label) == [11.5, 12.25]
    assert inputs(codes) == inputs(codes, class_ids=np.array([MASK])) == [10.5, 12.25]
    assert inputs(codes, start=3) == [13.5, 12.25]
    assert inputs(codes, front) == [100, 200, 12.25]
    assert inputs(codes, front, label) == [100, 200, 11.5, 12.25]
    assert inputs(codes, front, shifted=True) == [100.5, 200.25, 12.125]
    one = Prompt(tokens=front.tokens[:, :1])
    assert inputs(codes, one, label, shifted=True) == [100.5, 11.25, 12.125]
    two = dict(condition=2, length=2)
    assert inputs(codes, class_ids=np.array([[1, 3]]), **two) == [11.5, 13.25, 12.125]
    assert inputs(codes, front, **two) == [100, 200, 12.125]


def test_class_prompt_is_the_label():
    model = tiny()
    close(
        model.code_logits(CODES, model.class_prompt(LABELS)),
        model.code_logits(CODES, class_ids=LABELS),
        LAYER,
    )


@pytest.mark.parametrize("label", [None, LABELS])
def test_code_logits_are_the_last_of_all_logits(label):
    model, prompt = tiny(), Prompt(tokens=draw(2, 4, 8))
    some = model.code_logits(CODES, prompt, label)
    assert some.shape == (2, 6, 11)
    close(some, model(CODES[:, :-1], prompt, label)[:, -6:], LAYER)


@pytest.mark.parametrize("attention", ["causal", "both"])
def test_a_code_changes_only_what_comes_after_it(attention):
    model, prompt = tiny(prompt_attention=attention), Prompt(tokens=draw(2, 4, 8))
    other = CODES.copy()
    other[:, 2] = 5, 1
    change = np.abs(model.code_logits(other, prompt) - model.code_logits(CODES, prompt))
    assert change[:, :3].max() < 1e-6
    assert change[:, 3:].max(axis=-1).min() > 1e-2


def test_prompt_tokens_see_each_other_in_both_directions():
    prompt = draw(2, 4, 8)
    other = prompt.copy()
    other[:, 3] *= -1  # the last one; a constant added would vanish in the norms
    prompt, other = Prompt(tokens=prompt), Prompt(tokens=other)
    change = lambda **kw: np.abs(tiny(**kw)(CODES[:, :5], other) - tiny(**kw)(CODES[:, :5], prompt))
    assert change()[:, :3].max() < 1e-6
    assert change(prompt_attention="both")[:, :3].max(axis=-1).min() > 1e-2


def test_fresh_prompts_replace_those_of_the_layer_before():
    model, prompt = tiny(), draw(2, 3, 4, 8)
    logits = model.code_logits(CODES, Prompt(layers=prompt), LABELS)
    # By hand: run the blocks one at a time.
    x = jnp.concatenate([model.embed(LABELS[:, None], 0), model.embed(CODES[:, :-1], 1)], axis=1)
    for i in range(3):
        block = jax.tree.map(lambda leaf, i=i: leaf[i], nnx.state(model.blocks))
        block = nnx.merge(nnx.graphdef(model.blocks), block)
        x = block(jnp.concatenate([prompt[:, i], x], axis=1), visible(10, 0))[:, 4:]
    close(logits, model._logits(x), LAYER)


# How it is computed.


def test_bfloat16_costs_little_more_than_rounding_the_weights():
    data = case("net2net_tiny")
    cfg, tree = weights("net2net_tiny", 2, "transformer.")
    half = build(dataclasses.replace(cfg, dtype="bfloat16"), tree)
    rounded = build(cfg, jax.tree.map(lambda x: np.float32(jnp.bfloat16(x)), tree))
    assert half.hidden(data["out_tokens"][:, :-1]).dtype == jnp.bfloat16

    def error(model):
        logits = model.code_logits(data["out_tokens"], class_ids=data["in_class"])
        assert logits.dtype == jnp.float32
        return np.sqrt(np.mean((logits - data["out_logits"]) ** 2))

    # This case's attention is sharp: rounded weights alone move its logits by 1.2 % (root mean
    # square), rounded activations as well by 1.8 %.
    assert error(half) < 2 * error(rounded)
    assert error(half) < 0.03 * np.sqrt(np.mean(data["out_logits"] ** 2))


def test_bfloat16_keeps_attention_weights_in_float32():
    half = tiny(dtype="bfloat16")
    jaxpr = str(jax.make_jaxpr(lambda codes: half.code_logits(codes))(CODES))
    exponentials = [line for line in jaxpr.splitlines() if " = exp " in line]
    assert exponentials and all("f32" in line and "bf16" not in line for line in exponentials)


def test_dropout_only_with_a_key():
    first, prompt = jax.random.key(0), Prompt(tokens=draw(2, 4, 8))

    def logits(key=None, rate=0.5):
        cfg = dataclasses.replace(TINY, dropout=rate)
        return np.asarray(tiny_code_logits(cfg, CODES, prompt, LABELS, key))

    np.testing.assert_array_equal(logits(), logits())
    np.testing.assert_array_equal(logits(), logits(rate=0.0))
    np.testing.assert_array_equal(logits(first, rate=0.0), logits())
    np.testing.assert_array_equal(logits(first), logits(first))
    assert np.abs(logits(first) - logits()).max() > 0.1
    assert np.abs(logits(first) - logits(jax.random.key(1))).max() > 0.1


def test_remat_changes_nothing():
    prompt, key = Prompt(layers=jnp.asarray(draw(2, 3, 4, 8))), jax.random.key(0)

    def loss(prompt, remat):
        cfg = dataclasses.replace(TINY, remat=remat, dropout=0.2)
        return jnp.sum(tiny_code_logits(cfg, CODES, prompt, LABELS, key) ** 2)

    value_and_grad = jax.jit(jax.value_and_grad(loss), static_argnums=1)
    plain, gradient = value_and_grad(prompt, False)
    again, same = value_and_grad(prompt, True)
    close(again, plain, LAYER)
    close(same.layers, gradient.layers, LAYER)


def test_a_mesh_changes_nothing():
    graphdef, _ = params.create(lambda rngs: CausalTransformer(TINY, rngs=rngs))
    expected = tiny().code_logits(np.tile(CODES, (2, 1)), class_ids=np.tile(LABELS, 2))
    mesh = sharding.make_mesh(2, 2, 2)
    placed = backbones.Part("causal", TINY, tiny_tree()).placed(mesh)
    assert placed["head"]["kernel"].sharding.spec == jax.P("fsdp")
    assert placed["norm"]["scale"].sharding.spec == jax.P("fsdp")
    assert placed["blocks"]["mlp"]["up"]["kernel"].sharding.spec == jax.P(None, "fsdp", "tensor")
    batch = {"codes": np.tile(CODES, (2, 1)), "labels": np.tile(LABELS, 2)}
    batch = sharding.to_global(batch, mesh)

    @jax.jit
    def logits(tree, batch):
        model = nnx.merge(graphdef, tree)
        return model.code_logits(
            batch["codes"], class_ids=batch["labels"], pin=sharding.split_batch
        )

    with jax.set_mesh(mesh):
        close(sharding.to_host(logits(placed, batch), mesh), expected, LAYER)


def test_saved_and_loaded(tmp_path):
    part = backbones.Part("causal", TINY, tiny_tree())
    loaded = backbones.save(backbones.Backbone("tiny", {"transformer": part}), tmp_path / "tiny")
    part = loaded.part("transformer")
    assert part.cfg == TINY
    graphdef = part.graphdef(dataclasses.replace(TINY, prompt_attention="both"))
    model = nnx.merge(graphdef, jax.tree.map(np.asarray, part.tree))
    close(model.code_logits(CODES), tiny().code_logits(CODES), 0)


# Sizes.


def count(cfg: CausalConfig) -> int:
    return params.count(backbones.abstract(lambda rngs: CausalTransformer(cfg, rngs=rngs)))


def test_parameters_of_the_published_models():
    assert count(CONFIGS["taming_imagenet_1p4b"]) == 1_410_640_896
    for cfg in CONFIGS.values():
        block = 4 * cfg.width**2 + 2 * cfg.width * cfg.mlp  # kernels
        block += (4 + 1 + 4) * cfg.width + cfg.mlp  # biases, norms
        tables = (2 * cfg.codebook + cfg.positions) * cfg.width
        assert count(cfg) == cfg.layers * block + tables + 2 * cfg.width
        assert cfg.mlp == 4 * cfg.width


def test_start_of_training():
    _, make = params.create(lambda rngs: CausalTransformer(TINY, rngs=rngs))
    flat = params.flatten(jax.jit(make)(jax.random.key(0)))
    assert np.all(flat["positions"] == 0) and np.all(flat["blocks/mlp/up/bias"] == 0)
    first, second, _ = flat["blocks/mlp/up/kernel"]
    assert np.any(first != second)
    for x in (flat["words"], flat["head/kernel"], first, second):
        # Normal of deviation 0.02, cut off at two deviations; 88 to 128 draws each.
        assert np.abs(x).max() <= 0.04 and 0.015 < np.std(x) < 0.025


# Errors.

TOKENS = Prompt(tokens=draw(2, 4, 8))
LAYERS_2, LAYERS_3 = Prompt(layers=draw(2, 2, 4, 8)), Prompt(layers=draw(2, 3, 4, 8))


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(prompt_attention="some"), "prompt_attention 'some', expected one of causal, both"),
        (dict(heads=3), "width 8 does not divide into 3 heads"),
        (dict(classes=12), "12 classes, expected at most 11"),
        (dict(positions=5), "5 positions, expected at least 6 for 6 codes"),
    ],
)
def test_bad_sizes(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TINY, **changes)


@pytest.mark.parametrize(
    "changes, prompt, label, message",
    [
        (dict(positions=99), LAYERS_2, None, "depth 2, expected the 3 layers"),
        ({}, None, LABELS, "6 tokens from position 1 on need 7 positions, the transformer has 6"),
        (dict(shifted=True), TOKENS, None, "6 tokens from position 4 on need 10 positions"),
        (dict(shifted=True, positions=99), LAYERS_3, None, r"\(2, 3, 4, 8\), but .*shifted.*once"),
        (dict(condition=2, length=5), None, None, r"give prompt tokens or class_ids \[B, 2\]"),
        (dict(condition=2, length=5), None, LABELS, r"class_ids \(2,\): 1 per image, expected 2"),
    ],
)
def test_bad_inputs(changes, prompt, label, message):
    cfg = dataclasses.replace(TINY, **changes)

    def run():
        CausalTransformer(cfg, rngs=nnx.Rngs(0)).hidden(CODES, prompt, label)

    with pytest.raises(ValueError, match=message):
        jax.eval_shape(run)
