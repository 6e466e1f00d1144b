"""OFA's network against what the reference computes, and its own promises."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from maskgit_prompt import params
from maskgit_prompt.models import ofa_positions, resnet
from maskgit_prompt.models.ofa import CONFIGS, OFA
from maskgit_prompt.models.prefixes import Prefixes
from maskgit_prompt.models.specials import PAD
from tests.golden_models import close
from tests.models import ofa_cases
from tests.models.ofa_cases import (
    ANSWER,
    IDS,
    TINY,
    case,
    decode,
    encode,
    images,
    model,
    pictures,
    tiny,
)

LAYER, STACK = 1e-5, 1e-4  # DESIGN.md: relative to the output's largest value


# --- Goldens -------------------------------------------------------------------------------------


def test_the_stem():
    grid = model("encdec_tiny").encoder.stem(images(case("encdec_tiny")))
    assert grid.shape == (3, 64 // 16, 96 // 16, 1024)
    close(grid[..., ::16].transpose(0, 3, 1, 2), case("encdec_tiny")["out_resnet"], STACK)


def test_tables_of_distances():
    data = case("encdec_tiny")
    text = ofa_positions.text_buckets(1024, data.config["token_bucket_size"])
    np.testing.assert_array_equal(text[0], data["out_token_bucket_row0"])
    np.testing.assert_array_equal(text[:, 0], data["out_token_bucket_column0"])
    corner = len(data["out_image_bucket"])
    cells = np.arange(corner)
    found = ofa_positions.image_buckets(cells, data.config["image_bucket_size"])
    np.testing.assert_array_equal(found, data["out_image_bucket"])


@pytest.mark.parametrize("kind", ["text", "image"])
def test_encoder_and_decoder(kind):
    data, network = case("encdec_tiny"), model("encdec_tiny")
    pictures = images(data) if kind == "image" else None
    ids, answer = data["in_src_tokens"], data["in_prev_tokens"]
    memory = network.encode(pictures, ids, valid=data["in_image_valid"])
    close(memory.x, data[f"out_{kind}_encoder"], STACK)
    np.testing.assert_array_equal(~memory.seen, data[f"out_{kind}_padding"].astype(bool))
    close(network.decode(memory, answer), data[f"out_{kind}_logits"], STACK)
    attended = network.attended(memory, answer)
    close(attended, data[f"out_{kind}_cross_attention"], STACK)


def test_inner_states():
    data, network = case("encdec_tiny"), model("encdec_tiny")
    words = network.words[...]
    memory, states = network.encoder(
        words, images(data), data["in_src_tokens"], valid=data["in_image_valid"], keep_layers=True
    )
    close(memory.positions, data["out_image_positions"], LAYER)
    close_states(states, data["out_image_encoder_states"])
    _, states = network.decoder.hidden(
        words, memory, data["in_prev_tokens"], Prefixes(), keep_layers=True
    )
    close_states(states, data["out_image_decoder_states"])


def close_states(states: list, expected: np.ndarray) -> None:
    """The embedding and the first layer to a layer's tolerance, the rest to a stack's."""
    assert len(states) == len(expected)
    for i, (found, theirs) in enumerate(zip(states, expected, strict=True)):
        close(found, theirs, LAYER if i < 2 else STACK)


def test_image_codes_beside_a_text():
    data, network = case("encdec_tiny"), model("encdec_tiny")
    memory = network.encode(None, data["in_src_tokens"])
    codes = jnp.asarray(data["in_code_rows"]).astype(bool)
    assert codes.tolist() == [False, True, True]
    logits = network.decode(memory, data["in_code_prev_tokens"], codes=codes)
    close(logits, data["out_code_logits"], STACK)


PREFIXED = ["encdec_prefix_tiny", "encdec_prefix_proj_tiny"]


def cross_entropy(logits: jax.Array, targets: np.ndarray) -> jax.Array:
    """Mean over the targets that are not padding."""
    each = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    return jnp.mean(each, where=targets != PAD)


@pytest.mark.parametrize("name", PREFIXED)
def test_prefixes_and_their_gradients(name):
    data, network = case(name), model(name)
    graphdef, tree = ofa_cases.prefix_generator(data)
    ids, answer = data["in_src_tokens"], data["in_prev_tokens"]

    def run(tree):
        prefixes = nnx.merge(graphdef, tree).of_batch(len(ids))
        memory = network.encode(images(data), ids, prefixes, valid=data["in_image_valid"])
        logits = network.decode(memory, answer, prefixes)
        return cross_entropy(logits, data["in_target_tokens"]), (prefixes, memory, logits)

    (loss, (prefixes, memory, logits)), grads = jax.value_and_grad(run, has_aux=True)(tree)
    for place in ("encoder", "decoder"):
        expected = data[f"out_{place}_prefix"]  # [layers, 2, N, P, H]
        found = getattr(prefixes, place).prefix[0]
        found = found.reshape(*found.shape[:3], expected.shape[2], -1).swapaxes(2, 3)
        close(found, expected, LAYER)
    close(memory.x, data["out_image_encoder"], STACK)
    assert memory.x.shape[1] == 24 + ids.shape[1]  # the prefix is not in the memory
    close(logits, data["out_image_logits"], STACK)
    close(loss, data["out_loss"], STACK)
    for place in ("encoder", "decoder"):
        check_gradients(data, place, grads["places"][place])
    only = Prefixes(encoder=prefixes.encoder)
    close(network.decode(memory, answer, only), data["out_image_logits_encoder_prompt_only"], STACK)
    bare = network.encode(images(data), ids, valid=data["in_image_valid"])
    close(network.decode(bare, answer), data["out_image_logits_no_prompt"], STACK)
    memory = network.encode(None, ids, prefixes)
    close(memory.x, data["out_text_encoder"], STACK)
    close(network.decode(memory, answer, prefixes), data["out_text_logits"], STACK)


def check_gradients(data, place: str, grads: dict) -> None:
    """The gradients of a place's generator: what the importer makes of the reference's."""
    names = [n for n in data.arrays if n.startswith(f"out_grad/{place}.")]
    theirs = {name.removeprefix("out_grad/"): data[name] for name in names}
    table = ofa_cases.prefix_rules(place, data.config["encoder_embed_dim"])
    expected = params.unflatten(ofa_cases.golden_models.load(theirs, table))
    assert jax.tree.structure(grads) == jax.tree.structure(expected) and names
    jax.tree.map(lambda found, theirs: close(found, theirs, STACK), grads, expected)


def test_states_behind_prefixes():
    data, network = case("encdec_prefix_tiny"), model("encdec_prefix_tiny")
    graphdef, tree = ofa_cases.prefix_generator(data)
    prefixes = nnx.merge(graphdef, tree).of_batch(3)
    words = network.words[...]
    memory, states = network.encoder(
        words,
        images(data),
        data["in_src_tokens"],
        prefixes.encoder,
        valid=data["in_image_valid"],
        keep_layers=True,
    )
    close_states(states, data["out_image_encoder_states"])
    _, states = network.decoder.hidden(
        words, memory, data["in_prev_tokens"], prefixes, keep_layers=True
    )
    close_states(states, data["out_image_decoder_states"])


def test_adapters_and_their_gradients():
    data, network = case("encdec_adapter_tiny"), model("encdec_adapter_tiny")
    graphdefs, tree = ofa_cases.adapters(data)
    words = network.words[...]

    def run(tree):
        made = {stack: nnx.merge(graphdefs[stack], tree[stack]).layers for stack in tree}
        memory, states = network.encoder(
            words,
            images(data),
            data["in_src_tokens"],
            valid=data["in_image_valid"],
            adapters=made["encoder"],
            keep_layers=True,
        )
        logits = network.decode(memory, data["in_prev_tokens"], adapters=made["decoder"])
        return cross_entropy(logits, data["in_target_tokens"]), (memory, states, logits)

    (loss, (memory, states, logits)), grads = jax.value_and_grad(run, has_aux=True)(tree)
    close(memory.x, data["out_image_encoder"], STACK)
    close_states(states, data["out_image_encoder_states"])
    close(logits, data["out_image_logits"], STACK)
    close(loss, data["out_loss"], STACK)
    for stack, own in grads.items():
        names = [n for n in data.arrays if n.startswith(f"out_grad/{stack}.")]
        theirs = {name.removeprefix("out_grad/"): data[name] for name in names}
        expected = ofa_cases.golden_models.load(theirs, ofa_cases.adapter_rules(stack))
        assert params.flatten(own).keys() == expected.keys() and names
        for path, found in params.flatten(own).items():
            close(found, expected[path], STACK)


# --- Its own promises ----------------------------------------------------------------------------


def test_the_stem_has_constant_norms():
    stem = tiny().encoder.stem
    graphdef, state = nnx.split(stem)
    loss = lambda state: jnp.sum(nnx.merge(graphdef, state)(pictures()) ** 2)
    grads = params.flatten(nnx.to_pure_dict(jax.jit(jax.grad(loss))(state)))
    stats = {path for path in grads if path.endswith(("/mean", "/variance"))}
    assert len(stats) == 2 * (1 + 3 * 4)
    assert {path for path, grad in grads.items() if not np.any(grad)} == stats
    # Another batch around an image changes nothing of it.
    alone = stem(pictures()[:1])
    close(stem(np.concatenate([pictures()[:1], 9 * pictures()]))[:1], alone, LAYER)


def test_images_that_are_not_there_and_padding_are_not_seen():
    network = tiny()
    first = encode(network, pictures(), IDS, valid=np.array([True, False]))
    assert first.seen.tolist()[1] == [False] * 6 + [True, True, False, False]
    other = pictures()
    other[1] += 1
    second = encode(network, other, IDS, valid=np.array([True, False]))
    close(decode(network, second, ANSWER), decode(network, first, ANSWER), LAYER)
    longer = np.pad(IDS, ((0, 0), (0, 2)), constant_values=PAD)
    memory = encode(network, pictures(), longer, valid=np.array([True, False]))
    close(decode(network, memory, ANSWER), decode(network, first, ANSWER), LAYER)


def test_a_token_sees_those_before_it():
    network = tiny()
    memory = encode(network, None, IDS)
    changed = ANSWER.copy()
    changed[:, 2] = 20
    before, after = decode(network, memory, ANSWER), decode(network, memory, changed)
    np.testing.assert_array_equal(before[:, :2], after[:, :2])
    assert np.abs(before[:, 2:] - after[:, 2:]).max() > 0.01


def test_an_image_stands_before_the_text_and_keeps_its_shape():
    network = tiny()
    wide, tall = pictures(), pictures().transpose(0, 2, 1, 3)
    first, second = encode(network, wide, IDS), encode(network, tall, IDS)
    assert first.x.shape == second.x.shape == (2, 6 + 4, 8)
    # Cells 1 2 3 / 4 5 6 of the square of 3 against 1 2 / 4 5 / 7 8.
    numbers = [ofa_positions.grid_cells(*shape, 3).tolist() for shape in ((2, 3), (3, 2))]
    assert numbers == [[1, 2, 3, 4, 5, 6], [1, 2, 4, 5, 7, 8]]
    close(first.positions[:6], network.encoder.positions.of_cells(np.arange(1, 7)), LAYER)
    assert np.abs(first.positions - second.positions)[6:].max() == 0


def test_distances_in_digits():
    assert ofa_positions.text_buckets(3, 16)[0].tolist() == [15, 14, 13]
    assert ofa_positions.text_buckets(21, 16)[20, 0] == 15 + 10
    assert ofa_positions.text_buckets(1024, 256).max() == 2 * 256 - 2  # the table's last row
    assert ofa_positions.image_buckets(np.array([1, 2]), 2).tolist() == [[4, 3], [5, 4]]
    assert ofa_positions.image_buckets(np.array([0, 3]), 2).tolist() == [[11, 9], [10, 4]]
    assert ofa_positions.code_cells(4, 2, 7).tolist() == [0, 1, 2, 8]


@pytest.mark.parametrize(
    "images, ids, answer, message",
    [
        (None, np.ones((2, 10), int), ANSWER, "a text of 10 tokens, expected at most 9"),
        (None, IDS, np.ones((2, 10), int), "a text of 10 tokens, expected at most 9"),
        (np.zeros((2, 16, 64, 3)), IDS, ANSWER, "an image of 1 x 4 cells, expected at most 3 a"),
    ],
)
def test_what_is_too_long(images, ids, answer, message):
    network = tiny()
    with pytest.raises(ValueError, match=message):
        decode(network, encode(network, images, ids), answer)


def test_too_many_image_codes():
    network = tiny()
    with pytest.raises(ValueError, match="5 image codes, expected at most 4, a window of 2"):
        decode(network, encode(network, None, IDS), np.zeros((2, 6), int), codes=np.ones(2, bool))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"heads": (2, 3)}, "width 8 does not divide into 3 heads"),
        ({"stem": (1, 1)}, r"stem = \(1, 1\), expected 3 numbers of blocks"),
        ({"window": 4}, "window = 4, expected at most side = 3"),
    ],
)
def test_impossible_sizes(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TINY, **changes)


@pytest.mark.parametrize(
    "name, millions, averages",
    [
        ("tiny", 33.5, 30_592),
        ("medium", 92.9, 82_816),
        ("base", 182.2, 82_816),
        ("large", 473.0, 128_896),
        ("huge", 929.5, 128_896),
    ],
)
def test_published_sizes(name, millions, averages):
    """Parameters of the reference's networks, without stored averages, which it does not count."""
    tree = params.outline(lambda rngs: OFA(CONFIGS[name], rngs=rngs))[1]
    flat = params.flatten(tree)
    stats = sum(x.size for path, x in flat.items() if path.endswith(("/mean", "/variance")))
    assert round((params.count(tree) - stats) / 1e6, 1) == millions
    assert stats == averages


def test_dropout_with_a_key_only():
    network = tiny(dropout=0.3)
    same = encode(tiny(), None, IDS).x
    np.testing.assert_array_equal(encode(network, None, IDS).x, same)
    dropped = encode(network, None, IDS, key=jax.random.key(0))
    assert np.abs(dropped.x - same).max() > 0.01
    logits = decode(network, dropped, ANSWER)
    assert np.abs(decode(network, dropped, ANSWER, key=jax.random.key(0)) - logits).max() > 0.01


def test_in_half_precision():
    """Near what float32 gives, with numbers that are not large."""
    data, network = case("encdec_tiny"), model("encdec_tiny")
    graphdef = params.outline(
        lambda rngs: OFA(dataclasses.replace(network.cfg, dtype="bfloat16"), rngs=rngs)
    )[0]
    half = nnx.merge(graphdef, nnx.to_pure_dict(nnx.state(network)))
    memory = half.encode(None, data["in_src_tokens"])
    assert memory.x.dtype == jnp.bfloat16
    logits = half.decode(memory, data["in_prev_tokens"])
    assert logits.dtype == jnp.float32
    close(logits, data["out_text_logits"], 0.1)


def test_recomputing_changes_no_gradient():
    def gradient(**changes):
        graphdef, state = nnx.split(tiny(**changes))

        def loss(state):
            network = nnx.merge(graphdef, state)
            return jnp.sum(decode(network, encode(network, None, IDS), ANSWER) ** 2)

        return nnx.to_pure_dict(jax.jit(jax.grad(loss))(state))["words"]

    close(gradient(remat=True), gradient(), LAYER)


def test_norms_that_settle_give_their_images_mean_0_and_variance_1():
    network = resnet.Stages((1, 1, 1), 4, jnp.dtype("float32"), rngs=nnx.Rngs(0))
    images = jax.random.normal(jax.random.key(0), (2, 32, 32, 3)) + 3
    network(images, norm=resnet.FrozenNorm.settled)
    normed = network.norm(network.conv(images))
    np.testing.assert_allclose(jnp.mean(normed, (0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(jnp.var(normed, (0, 1, 2)), 1, atol=1e-2)
    after = network(images)  # by what is stored now
    np.testing.assert_allclose(network(images, norm=resnet.FrozenNorm.settled), after, atol=1e-4)
    assert after.shape == (2, 2, 2, 64) and network.features == 64
