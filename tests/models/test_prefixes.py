"""Prefixes of an encoder-decoder: where they act, how they start, how they are put together."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from maskgit_prompt import params
from maskgit_prompt.models.layers import per_layer
from maskgit_prompt.models.prefixes import (
    PLACES,
    Prefixes,
    PrefixesConfig,
    PrefixGenerator,
    average,
    folded_places,
    started,
    together,
    without,
)
from maskgit_prompt.models.prompt import NONE, PromptConfig, PromptGenerator, folded
from maskgit_prompt.models.prompts import Prompt
from maskgit_prompt.models.specials import PAD
from tests.golden_models import close
from tests.models.ofa_cases import ANSWER, IDS, TINY, decode, encode, tiny

LAYER = 1e-5
DEPTHS = {"encoder": TINY.layers[0], "decoder": TINY.layers[1], "cross": TINY.layers[1]}


def sizes(place: str, **changes) -> PromptConfig:
    own = dict(kind="table", tokens=2, width=TINY.width, depth=DEPTHS[place], prefix=True)
    return PromptConfig(**own | changes)


def make(cfg: PrefixesConfig, seed: int = 0) -> tuple[nnx.GraphDef, dict]:
    graphdef, init = params.create(lambda rngs: PrefixGenerator(cfg, rngs=rngs))
    return graphdef, init(jax.random.key(seed))


def logits(prefixes: Prefixes | None = None, rows: int = 2) -> jax.Array:
    network = tiny()
    memory = encode(network, None, IDS[:rows], prefixes)
    return decode(network, memory, ANSWER[:rows], prefixes)


def prefixes_of(seed: int = 0, rows: int = 1, **changes: PromptConfig) -> Prefixes:
    graphdef, tree = make(PrefixesConfig(**changes), seed)
    return nnx.merge(graphdef, tree).of_batch(rows)


def far(found, other) -> bool:
    return bool(np.abs(np.asarray(found) - np.asarray(other)).max() > 1e-3)


# --- Where a prefix acts -------------------------------------------------------------------------


def test_every_place_acts_by_itself():
    found = {place: logits(prefixes_of(rows=2, **{place: sizes(place)})) for place in PLACES}
    bare = logits()
    assert all(far(x, bare) for x in found.values())
    assert far(found["decoder"], found["cross"])  # of the same sizes and the same numbers


def test_keys_are_not_values():
    prefixes = prefixes_of(rows=2, decoder=sizes("decoder"))
    swapped = Prefixes(decoder=Prompt(prefix=prefixes.decoder.prefix[:, :, ::-1]))
    assert far(logits(swapped), logits(prefixes))


@pytest.mark.parametrize(
    "which, expected",
    [("all", ()), ("bottom-2", (2, 3, 4, 5)), ("top-2", (0, 1, 2, 3)), ("top-6", ())],
)
def test_layers_by_name(which, expected):
    assert without(6, which) == expected


@pytest.mark.parametrize("which", ["top", "top-0", "bottom-7", "middle-2", "top-x"])
def test_layers_that_there_are_not(which):
    with pytest.raises(ValueError, match="expected all, bottom-K or top-K with K from 1 to 6"):
        without(6, which)


def test_layers_that_are_left_out_are_as_without_a_prefix():
    cfg = sizes("decoder", left_out=(0, 2))
    prompt = PromptGenerator(cfg, rngs=nnx.Rngs(0))(jnp.array([NONE]))
    assert prompt.prefix.shape == (1, 3, 2, 2, 8)
    assert prompt.weights[0].tolist() == [[0, 0], [1, 1], [0, 0]]
    assert params.count(params.outline(lambda rngs: PromptGenerator(cfg, rngs=rngs))[1]) == 32
    wild = prompt.prefix.at[:, 0].set(9).at[:, 2].set(-9)
    first = logits(Prefixes(decoder=prompt), 1)
    second = logits(Prefixes(decoder=prompt.replace(prefix=wild)), 1)
    np.testing.assert_array_equal(first, second)
    all_out = prompt.replace(weights=jnp.zeros((1, 3, 2)))
    close(logits(Prefixes(decoder=all_out), 1), logits(rows=1), 1e-6)


def test_a_weight_counts_tokens():
    """A token of weight 2 is as good as two tokens."""
    prompt = prefixes_of(decoder=sizes("decoder", tokens=1)).decoder
    twice = Prefixes(decoder=Prompt(prefix=jnp.repeat(prompt.prefix, 2, axis=3)))
    weighed = Prefixes(decoder=prompt.replace(weights=jnp.full((1, 3, 1), 2.0)))
    close(logits(weighed, 1), logits(twice, 1), LAYER)


# --- Starts --------------------------------------------------------------------------------------


def test_a_gated_prefix_starts_as_nothing_and_moves():
    cfg = PrefixesConfig(**{place: sizes(place, gated=True) for place in PLACES})
    graphdef, tree = make(cfg)
    network = tiny()

    def run(tree):
        prefixes = nnx.merge(graphdef, tree).of_batch(2)
        memory = encode(network, None, IDS, prefixes)
        found = decode(network, memory, ANSWER, prefixes)
        return jnp.mean(found**2), found

    gradient = jax.jit(jax.grad(run, has_aux=True))
    grads, found = gradient(tree)
    close(found, logits(), 1e-6)
    assert all(np.abs(grads["places"][place]["gates"]).min() > 0 for place in PLACES)
    # Gates go to 1 or -1. A token whose gate is below 0 is not there, and may come back.
    moved = jax.tree.map(jnp.copy, tree)
    for place in PLACES:
        moved["places"][place]["gates"] = -jnp.sign(grads["places"][place]["gates"])
    grads, found = gradient(moved)
    assert far(found, logits())
    for place in PLACES:
        gates = moved["places"][place]["gates"]
        own = grads["places"][place]
        assert np.isfinite(own["gates"]).all() and np.abs(own["gates"]).min() > 0
        size = np.abs(own["positions"].reshape(*gates.shape[:1], 2, gates.shape[1], -1))
        assert (size.max(axis=(1, 3))[gates > 0] > 1e-7).all()
        assert (size.max(axis=(1, 3))[gates < 0] < 1e-15).all()


def test_the_keys_and_values_of_a_text():
    network = tiny()
    found = network.prefixes_of(None, IDS, ANSWER)
    assert found.encoder.prefix.shape == (2, 2, 2, 4, 8)
    assert found.decoder.prefix.shape == found.cross.prefix.shape == (2, 3, 2, 4, 8)
    # Of the first layer, by hand.
    block = jax.tree.map(lambda x: x[0], network.decoder.blocks)
    x = block.attention_norm(network.decoder.text_norm(network.words[...][ANSWER]))
    close(found.decoder.prefix[:, 0, 0], block.attention.key(x).reshape(2, 4, 8), LAYER)
    close(found.decoder.prefix[:, 0, 1], block.attention.value(x).reshape(2, 4, 8), LAYER)
    memory = encode(network, None, IDS)
    keys = block.cross.key(memory.x).reshape(2, 4, 8)
    close(found.cross.prefix[:, 0, 0], keys, LAYER)


def test_a_prefix_of_a_text_is_what_the_text_wrote():
    """Without biases of positions, a decoder behind "a b" reads c as it reads "a b c"."""
    network = tiny()
    for module in (network.decoder.bias.query, network.encoder.bias.query):
        module.kernel[...] = jnp.zeros_like(module.kernel[...])
        module.bias[...] = jnp.zeros_like(module.bias[...])
    for table in (network.decoder.blocks.text_table, network.encoder.blocks.text_table):
        table[...] = jnp.zeros_like(table[...])
    network.decoder.cross_bias.query.kernel[...] *= 0
    network.decoder.cross_bias.query.bias[...] *= 0
    memory, answer = encode(network, None, IDS), np.array([[0, 4, 17, 11], [0, 6, 2, 9]])
    found = network.prefixes_of(None, IDS, answer[:, :3])
    behind = decode(network, memory, answer[:, 3:], Prefixes(decoder=found.decoder))
    close(behind[:, 0], decode(network, memory, answer)[:, 3], LAYER)


def test_a_generator_that_starts_with_a_text():
    cfg = PrefixesConfig(
        encoder=sizes("encoder", tokens=3), decoder=sizes("decoder", left_out=(1,), classes=2)
    )
    graphdef, tree = make(cfg)
    text = tiny().prefixes_of(None, IDS, ANSWER)
    prefixes = nnx.merge(graphdef, started(cfg, tree, text))(jnp.array([1]))
    np.testing.assert_array_equal(prefixes.encoder.prefix[0], text.encoder.prefix[0, :, :, :3])
    expected = text.decoder.prefix[0, [0, 2], :, :2]
    np.testing.assert_array_equal(prefixes.decoder.prefix[0, [0, 2]], expected)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"tokens": 5}, "decoder: 4 tokens of text for a prefix of 5; give a longer one"),
        ({"reparameterize": 3}, "decoder: only a plain table can begin with a text"),
        ({"depth": 2}, "decoder: keys and values of 3 layers of width 8, expected 2 of 8"),
    ],
)
def test_a_text_that_does_not_fit(changes, message):
    cfg = PrefixesConfig(decoder=sizes("decoder", **changes))
    with pytest.raises(ValueError, match=message):
        started(cfg, make(cfg)[1], tiny().prefixes_of(None, IDS, ANSWER))


# --- Reparameterization --------------------------------------------------------------------------


@pytest.mark.parametrize("condition", [{}, {"classes": 3}, {"instances": 3}])
def test_folding_changes_no_prefix(condition):
    cfg = PrefixesConfig(
        encoder=sizes("encoder", reparameterize=5, embedding=4, **condition),
        decoder=sizes("decoder", reparameterize=5, left_out=(1,), gated=True, **condition),
        cross=sizes("cross", **condition),
    )
    graphdef, tree = make(cfg)
    tree["places"]["decoder"]["gates"] += 0.5
    plain, own = folded_places(cfg, tree)
    assert plain.decoder.reparameterize == 0 and plain.cross == cfg.cross
    expected = params.outline(lambda rngs: PrefixGenerator(plain, rngs=rngs))
    params.check(own, expected[1], "folded")
    ids = jnp.array([0, 2, NONE])
    arguments = (None, ids) if "instances" in condition else (ids,)
    before = nnx.merge(graphdef, tree)(*arguments)
    after = nnx.merge(expected[0], own)(*arguments)
    for found, own in zip(jax.tree.leaves(after), jax.tree.leaves(before), strict=True):
        close(found, own, LAYER)
    if condition:
        assert far(before.encoder.prefix[0], before.encoder.prefix[1])


def test_an_mlp_for_two_conditions_is_not_folded():
    cfg = sizes("encoder", reparameterize=5, classes=2, instances=2)
    tree = nnx.to_pure_dict(nnx.state(PromptGenerator(cfg, rngs=nnx.Rngs(0))))
    with pytest.raises(ValueError, match="of classes and instances cannot be folded"):
        folded(cfg, tree)


def test_numbers_of_parameters():
    """OFA-base with 64 tokens in both stacks, as the reference counts them: 1.18 and 30.8 M."""
    count = lambda **changes: params.count(
        params.outline(
            lambda rngs: PrefixGenerator(
                PrefixesConfig(
                    **{
                        place: PromptConfig(
                            kind="table", tokens=64, width=768, depth=6, prefix=True, **changes
                        )
                        for place in ("encoder", "decoder")
                    }
                ),
                rngs=rngs,
            )
        )[1]
    )
    assert count() == 2 * 64 * 6 * 2 * 768 == 1_179_648
    assert round(count(reparameterize=2 * 768) / 1e6, 1) == 30.8


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"left_out": (3,)}, r"left_out = \(3,\), expected some of layers 0 to 2"),
        ({"left_out": (0, 1, 2)}, r"expected some of layers 0 to 2"),
        ({"prefix": False, "gated": True}, "gated and left_out are for a prefix"),
        ({"reparameterize": 4, "kind": "additive"}, "expected 0, or more for a prefix of kind"),
        ({"reparameterize": -1}, "reparameterize = -1, expected 0, or more"),
        ({"std": -1.0}, "std = -1.0, expected 0 or more"),
        ({"std": 1.0, "uniform": 1.0}, "std = 1.0, expected 0 or more, and 0 beside uniform"),
    ],
)
def test_sizes_that_cannot_be(changes, message):
    with pytest.raises(ValueError, match=message):
        sizes("decoder", **changes)


def test_a_start_of_a_given_spread():
    cfg = sizes("decoder", tokens=500, std=0.02)
    tree = nnx.to_pure_dict(nnx.state(PromptGenerator(cfg, rngs=nnx.Rngs(0))))
    assert 0.019 < tree["positions"].std() < 0.021


@pytest.mark.parametrize(
    "places, message",
    [
        ({}, "no prefix at all, expected one for encoder or decoder or cross"),
        ({"cross": PromptConfig(kind="table")}, "cross = a prompt of tokens, expected prefix=True"),
    ],
)
def test_places_that_cannot_be(places, message):
    with pytest.raises(ValueError, match=message):
        PrefixesConfig(**places)


# --- Several prefixes ----------------------------------------------------------------------------


def test_prefixes_of_several_lengths_in_one_batch():
    """Each example reads what it reads alone, with or without a prefix of its own."""
    first = prefixes_of(1, encoder=sizes("encoder"), decoder=sizes("decoder", left_out=(1,)))
    second = prefixes_of(2, encoder=sizes("encoder", tokens=5), cross=sizes("cross"))
    both = together([first, second])
    assert both.encoder.prefix.shape == (2, 2, 2, 5, 8) and len(both) == 2
    found = logits(both)
    network = tiny()
    for i, one in enumerate([first, second]):
        memory = encode(network, None, IDS[i : i + 1], one)
        alone = decode(network, memory, ANSWER[i : i + 1], one)
        there = ANSWER[i] != PAD
        close(found[i, there], alone[0, there], LAYER)
    swapped = logits(together([second, first]))
    assert far(swapped, found)


def test_prefixes_of_one_length_need_no_weights():
    two = [prefixes_of(seed, encoder=sizes("encoder")) for seed in (1, 2)]
    both = together(two)
    assert both.encoder.weights is None and both.decoder is None
    np.testing.assert_array_equal(both[1:].encoder.prefix, two[1].encoder.prefix)


def test_an_average_of_prefixes():
    prefix = lambda number: Prefixes(encoder=Prompt(prefix=jnp.full((1, 2, 2, 1, 8), number)))
    found = average([prefix(2.0), prefix(6.0)], (0.75, 0.25))
    np.testing.assert_allclose(found.encoder.prefix, 3)
    np.testing.assert_allclose(average([prefix(2.0), prefix(6.0)]).encoder.prefix, 4)


@pytest.mark.parametrize(
    "prefixes, shares, message",
    [
        ([{}, {}], (0.5, 0.6), "of 2 prefixes, expected a sum of 1"),
        ([{}, {}], (1.0,), "of 2 prefixes, expected a sum of 1"),
        ([{}, {"tokens": 3}], None, "of several lengths, layers or places have no average"),
    ],
)
def test_averages_that_cannot_be(prefixes, shares, message):
    made = [prefixes_of(encoder=sizes("encoder", **changes)) for changes in prefixes]
    with pytest.raises(ValueError, match=message):
        average(made, shares)


# --- Refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prompt, message",
    [
        (Prompt(prefix=np.zeros((2, 3, 2, 1, 8))), r"prompt of prefix \(2, 3, 2, 1, 8\), expected"),
        (
            Prompt(tokens=np.zeros((2, 1, 8))),
            r"prompt of tokens \(2, 1, 8\), expected a prefix for",
        ),
    ],
)
def test_a_prefix_of_another_network(prompt, message):
    with pytest.raises(ValueError, match=message):
        encode(tiny(), None, IDS, Prefixes(encoder=prompt))


def test_weights_elsewhere():
    with pytest.raises(ValueError, match="a prompt of tokens has weights, expected them with"):
        Prompt(tokens=np.zeros((2, 1, 8)), weights=np.ones((2, 1, 1)))
    prompt = Prompt(prefix=np.zeros((2, 3, 2, 1, 8)), weights=np.ones((2, 3, 1)))
    with pytest.raises(ValueError, match="a prefix with weights .*this transformer does not take"):
        per_layer(prompt, 3, jnp.float32)


def test_dropout_with_a_key_only():
    cfg = PrefixesConfig(encoder=sizes("encoder", dropout=0.5), decoder=sizes("decoder"))
    graphdef, tree = make(cfg)
    generator = nnx.merge(graphdef, tree)
    dropped = generator.of_batch(2, jax.random.key(0))
    assert 0.2 < np.mean(np.asarray(dropped.encoder.prefix) == 0) < 0.8
    assert np.any(dropped.encoder.prefix[0] != dropped.encoder.prefix[1])
    assert np.all(np.asarray(generator.of_batch(2).encoder.prefix) != 0)
