"""One function for attention: what it computes, who computes it, and what is refused."""

import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import flags
from flax import nnx

from maskgit_prompt.models import attention as module
from maskgit_prompt.models.attention import Attention, attention, check, choose, visible
from maskgit_prompt.models.prompts import Prompt
from tests import tiny
from tests.golden_models import close

RNG = np.random.default_rng(0)


def draw(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape, np.float32)


# --- What is computed ----------------------------------------------------------------------------


@pytest.mark.parametrize("implementation", ["auto", "xla"])
def test_weights_in_digits(implementation):
    # Scores 2 · 3 / sqrt(4) = 3 and 2 · 1 / sqrt(4) = 1: weights e^2 : 1.
    q = jnp.array([[[[2.0, 0, 0, 0]]]])
    k = jnp.array([[[[3.0, 0, 0, 0]], [[1.0, 0, 0, 0]], [[9.0, 0, 0, 0]]]])
    v = jnp.array([[[[1.0, 0, 0, 0]], [[0.0, 1, 0, 0]], [[0.0, 0, 1, 0]]]])
    found = attention(q, k, v, np.array([[True, True, False]]), implementation)
    share = np.exp(2) / (np.exp(2) + 1)
    np.testing.assert_allclose(found[0, 0, 0], [share, 1 - share, 0, 0], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("masked", [False, True])
def test_on_a_cpu_it_is_to_the_bit_what_jax_computes(dtype, masked):
    q, k, v = (jnp.asarray(draw(2, size, 2, 8), dtype) for size in (5, 7, 7))
    mask = RNG.random((5, 7)) < 0.7 if masked else None
    expected = jax.nn.dot_product_attention(q, k, v, mask=None if mask is None else mask[None])
    np.testing.assert_array_equal(attention(q, k, v, mask), expected)


@pytest.mark.parametrize("causal", [False, True])
def test_a_prefix_is_keys_and_values_of_tokens_in_front(causal):
    attention = Attention(8, 2, dtype=jnp.float32, rngs=nnx.Rngs(0))
    front, x = draw(2, 3, 8), draw(2, 4, 8)
    _, keys, values = attention.project(front)
    prefix = jnp.stack([keys, values], axis=1).reshape(2, 2, 3, 8)
    mask = np.tril(np.ones((7, 7), bool)) if causal else np.ones((7, 7), bool)
    whole = attention(np.concatenate([front, x], axis=1), mask)
    close(attention(x, mask[3:, 3:], prefix), whole[:, 3:], 1e-5)


def test_visible_in_digits():
    digits = lambda *args: ["".join(map(str, row)) for row in visible(*args).astype(int)]
    assert digits(3, 0) == digits(3, 1) == ["100", "110", "111"]
    assert digits(3, 2) == ["110", "110", "111"]
    assert digits(4, 3) == ["1110", "1110", "1110", "1111"]


# --- Who computes it -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "implementation, backend, dtype, size, expected",
    [
        ("auto", "cpu", "float32", 64, "xla"),
        ("auto", "cpu", "bfloat16", 64, "xla"),
        ("auto", "tpu", "bfloat16", 64, "xla"),
        ("auto", "gpu", "bfloat16", 64, "xla"),  # an old GPU, or not NVIDIA's
        ("auto", "cuda", "float32", 64, "xla"),
        ("auto", "cuda", "bfloat16", 64, "cudnn"),
        ("auto", "cuda", "float16", 64, "cudnn"),
        ("auto", "cuda", "bfloat16", 8, "cudnn"),
        ("auto", "cuda", "bfloat16", 128, "cudnn"),
        ("auto", "cuda", "bfloat16", 136, "xla"),
        ("auto", "cuda", "bfloat16", 60, "xla"),  # not a multiple of 8
        ("xla", "cuda", "bfloat16", 64, "xla"),
        ("cudnn", "cuda", "bfloat16", 64, "cudnn"),
        ("tokamax", "cuda", "bfloat16", 64, "tokamax"),
        ("tokamax", "cpu", "float32", 60, "tokamax"),
    ],
)
def test_who_computes_it(implementation, backend, dtype, size, expected):
    assert choose(implementation, backend, dtype, size) == expected


@pytest.mark.parametrize(
    "platform, version, capability, expected",
    [
        ("gpu", "cuda 13000", "9.0", "cuda"),
        ("gpu", "cuda 13000", "8.0", "cuda"),
        ("gpu", "cuda 13000", "7.5", "gpu"),
        ("gpu", "rocm 60000", "gfx90a", "gpu"),
        ("tpu", "libtpu", None, "tpu"),
        ("cpu", "", None, "cpu"),
    ],
)
def test_gpus_with_fused_attention(platform, version, capability, expected, monkeypatch):
    client = types.SimpleNamespace(platform_version=version)
    device = types.SimpleNamespace(platform=platform, client=client, compute_capability=capability)
    monkeypatch.setattr(jax, "local_devices", lambda: [device])
    assert module.backend() == expected


@pytest.mark.parametrize("queries, keys", [(4, 6), (5, 6), (4, 7), (5, 7)])
@pytest.mark.parametrize("masked, biased", [(False, False), (True, False), (False, True)])
def test_cudnn_is_given_even_lengths(queries, keys, masked, biased, monkeypatch):
    q, k, v = (jnp.asarray(draw(2, size, 2, 8), jnp.bfloat16) for size in (queries, keys, keys))
    mask = np.tril(np.ones((queries, keys), bool), 1) if masked else None
    bias = jnp.asarray(draw(2, queries, keys), jnp.bfloat16) if biased else None
    found = lambda q, k, v: attention(q, k, v, mask, bias=bias)
    both = jax.value_and_grad(lambda *args: jnp.sum(found(*args) ** 2), argnums=(0, 1, 2))
    expected, of_xla = found(q, k, v), both(q, k, v)
    real, calls = jax.nn.dot_product_attention, []

    def cudnn(q, k, v, bias, mask, *, implementation):
        assert bias is None or bias.shape == (1, 2, q.shape[1], k.shape[1])
        calls.append((q.shape[1], k.shape[1], v.shape[1], mask is None, implementation))
        return real(q, k, v, bias, mask)

    monkeypatch.setattr(module, "backend", lambda: "cuda")
    monkeypatch.setattr(jax.nn, "dot_product_attention", cudnn)
    np.testing.assert_array_equal(found(q, k, v), expected)
    even = (queries + queries % 2, keys + keys % 2)
    assert calls == [(*even, even[1], not masked and (queries, keys) == even, "cudnn")]
    jax.tree.map(np.testing.assert_array_equal, both(q, k, v), of_xla)


def test_a_decoding_step_is_xlas(monkeypatch):
    calls = []
    monkeypatch.setattr(module, "backend", lambda: "cuda")
    monkeypatch.setattr(
        jax.nn,
        "dot_product_attention",
        lambda q, k, v, bias, mask, *, implementation: calls.append(implementation) or q,
    )
    q, k = (jnp.zeros((1, size, 1, 8), jnp.bfloat16) for size in (2, 4))
    attention(q[:, :1], k, k)
    attention(q, k, k)
    attention(q[:, :1], k, k, None, "cudnn")
    assert calls == ["xla", "cudnn", "cudnn"]


def test_tokamax_is_given_all_of_it(monkeypatch):
    calls = []

    def dot_product_attention(*args, **kwargs):
        calls.append((args, kwargs))
        return args[2]

    stub = types.SimpleNamespace(dot_product_attention=dot_product_attention)
    monkeypatch.setitem(sys.modules, "tokamax", stub)
    monkeypatch.setattr(flags, "FLAGS", flags.FlagValues())
    q, k, v = (jnp.asarray(draw(1, size, 1, 4)) for size in (2, 3, 3))
    mask = np.array([[True, False, True], [True, True, True]])
    assert attention(q, k, v, mask, "tokamax") is v
    bias = jnp.ones((1, 2, 3))
    assert attention(q, k, v, None, "tokamax", bias) is v
    assert flags.FLAGS.is_parsed()  # or tokamax would parse this program's own arguments
    (first, named), (_, bare) = calls
    assert all(found is given for found, given in zip(first, (q, k, v), strict=True))
    assert named.keys() == {"mask", "bias"} and named["bias"] is None
    assert bare["mask"] is None and bare["bias"].shape == (1, 1, 2, 3)
    np.testing.assert_array_equal(named["mask"], mask[None, None])  # [1, 1, T, S]


def test_a_bias_is_added_to_the_logits():
    q, k, v = (jnp.asarray(draw(2, size, 3, 4)) for size in (2, 5, 5))
    bias = draw(3, 2, 5)
    logits = np.einsum("btnh,bsnh->bnts", q, k) / 2 + bias  # the root of 4
    expected = np.einsum("bnts,bsnh->btnh", jax.nn.softmax(logits), v)
    np.testing.assert_allclose(attention(q, k, v, bias=jnp.asarray(bias)), expected, atol=1e-5)


# --- What is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "implementation, backend, dtype, size, message",
    [
        (
            "flash",
            "cuda",
            "bfloat16",
            64,
            "attention = 'flash', expected one of auto, xla, cudnn, tokamax",
        ),
        ("cudnn", "cpu", "bfloat16", 64, "compute capability 8.0 or more, but this is a cpu; use"),
        ("cudnn", "tpu", "bfloat16", 64, "but this is a tpu; use auto or xla"),
        ("cudnn", "cuda", "float32", 64, "needs dtype bfloat16 or float16, not float32; use auto"),
        ("cudnn", "cuda", "float16", 60, "width is a multiple of 8 up to 128, not 60; use auto"),
        ("cudnn", "cuda", "float16", 256, "width is a multiple of 8 up to 128, not 256; use auto"),
    ],
)
def test_what_cannot_be_chosen(implementation, backend, dtype, size, message, monkeypatch):
    monkeypatch.setattr(module, "backend", lambda: backend)
    with pytest.raises(ValueError, match=message):
        check(implementation, dtype, size)
    x = jnp.zeros((1, 2, 1, size), dtype)
    with pytest.raises(ValueError, match=message):
        attention(x, x, x, None, implementation)


def test_tokamax_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokamax", None)
    with pytest.raises(
        ValueError, match=r"tokamax is not installed: pip install -e '.\[tokamax\]'"
    ):
        check("tokamax", "float32", 64)
    check("auto", "float32", 64)


def test_a_mask_and_a_bias_for_every_sequence():
    """As each sequence alone, also with the odd lengths that cuDNN is not given."""
    rng = np.random.default_rng(0)
    some = lambda *shape: jnp.asarray(rng.standard_normal(shape, np.float32))
    q, k, v, bias = some(2, 3, 2, 4), some(2, 5, 2, 4), some(2, 5, 2, 4), some(2, 2, 3, 5)
    mask = jnp.array([[[1, 1, 0, 0, 1]], [[0, 1, 1, 1, 0]]], bool)
    found = attention(q, k, v, mask, "xla", bias)
    for i in range(2):
        one = slice(i, i + 1)
        alone = attention(q[one], k[one], v[one], mask[i], "xla", bias[i])
        np.testing.assert_allclose(found[one], alone, atol=1e-6)
    even = module._even(q, k, v, mask, bias)
    assert [x.shape[1] for x in even[:3]] == [4, 6, 6] and even[3].shape == (2, 1, 6)
    padded = attention(*even[:4], "xla", even[4])
    np.testing.assert_allclose(padded[:, :3], found, atol=1e-6)


# --- Who looks at whom ---------------------------------------------------------------------------


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("prefix", [False, True])
def test_weights_times_values_are_what_attention_gives(masked, prefix):
    attention = Attention(8, 2, dtype=jnp.float32, rngs=nnx.Rngs(0))
    x, front = draw(2, 4, 8), draw(2, 2, 3, 8) if prefix else None
    mask = visible(4, 0) if masked else None
    weights = attention.weights(x, mask, front)
    assert weights.shape == (2, 2, 4, 7 if prefix else 4)
    _, _, values = attention.project(x)
    if prefix:
        values = jnp.concatenate([attention.heads(front)[:, 1], values], axis=1)
    found = attention.out(jnp.einsum("bnts,bsnh->btnh", weights, values))
    close(found, attention(x, mask, front), 1e-5)


@pytest.mark.parametrize("kind", ["masked", "causal"])
@pytest.mark.parametrize("place", ["tokens", "layers", "prefix"])
def test_a_transformers_weights_are_of_what_goes_into_each_block(kind, place):
    part = tiny.backbone(kind=kind).part("transformer")
    model = nnx.merge(part.graphdef(), part.tree)
    length = 15 if kind == "causal" else 16
    codes = RNG.integers(24, size=(3, length)).astype(np.int32)
    shapes = {"tokens": (3, 5, 16), "layers": (3, 2, 5, 16), "prefix": (3, 2, 2, 5, 16)}
    prompt = Prompt(**{place: draw(*shapes[place])})
    found = model.attention_weights(codes, prompt)
    # A prefix leaves the class slot, or the start token, in front.
    seen = length + (1 + 5 if place == "prefix" else 5)
    assert found.shape == (2, seen - (5 if place == "prefix" else 0), seen)
    np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-5)
    later = found[:, :, seen - found.shape[1] :]  # how tokens look at tokens
    assert (np.triu(later[0], 1).max() == 0) == (kind == "causal")
    # The first block by hand, of one image.
    first = jax.tree.map(lambda x: x[:1], prompt)
    block = jax.tree.map(lambda x: x[0], nnx.state(model.blocks))
    block = nnx.merge(nnx.graphdef(model.blocks), block)
    x = model._inputs(codes[:1], first, None)
    x, mask = (block.attention_norm(x), visible(x.shape[1], 0)) if kind == "causal" else (x, None)
    prefix = first.prefix[:, 0] if place == "prefix" else None
    expected = block.attention.weights(x, mask, prefix)[0].mean(0)
    one = model.attention_weights(codes[:1], first)
    close(one[0], expected, 1e-5)
    # Other fresh tokens at the second layer change what the second block sees, not the first.
    if place == "layers":
        layers = np.array(first.layers)
        layers[:, 1] = 0
        changed = model.attention_weights(codes[:1], Prompt(layers=layers))
        close(changed[0], one[0], 1e-6)
        assert np.abs(changed[1] - one[1]).max() > 1e-4
