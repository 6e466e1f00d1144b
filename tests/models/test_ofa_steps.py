"""The decoder step by step, with a cache: the same numbers as all at once."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from maskgit_prompt.models.adapter import AdapterConfig, Adapters
from maskgit_prompt.models.prefixes import Prefixes
from maskgit_prompt.models.prompts import Prompt
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

LAYER, STACK = 1e-5, 1e-4


@jax.jit
def step(network, memory, state, ids, position, adapters=None):
    return network.step(memory, state, ids, position, adapters=adapters)


def stepwise(network, memory, state, answer, adapters=None) -> np.ndarray:
    """The logits [rows, T, V] of an answer, one position after the other."""
    found = []
    for position in range(answer.shape[1]):
        logits, state = step(network, memory, state, answer[:, position], position, adapters)
        found.append(logits)
    return np.stack(found, axis=1)


def random_prefixes(rows: int = 2, weights: bool = False) -> Prefixes:
    rng = np.random.default_rng(3)
    layers = {"encoder": TINY.layers[0], "decoder": TINY.layers[1], "cross": TINY.layers[1]}
    made = {}
    for tokens, (place, depth) in enumerate(layers.items(), start=2):
        own = rng.uniform(0, 2, (rows, depth, tokens)).astype(np.float32) if weights else None
        prefix = rng.standard_normal((rows, depth, 2, tokens, TINY.width), np.float32)
        made[place] = Prompt(prefix=prefix, weights=own)
    return Prefixes(**made)


@pytest.mark.parametrize("name", ["encdec_prefix_tiny", "encdec_prefix_proj_tiny"])
def test_the_golden_case_step_by_step(name):
    data, network = case(name), model(name)
    graphdef, tree = ofa_cases.prefix_generator(data)
    prefixes = nnx.merge(graphdef, tree).of_batch(3)
    ids, valid = data["in_src_tokens"], data["in_image_valid"]
    memory = encode(network, images(data), ids, prefixes, valid=valid)
    answer = data["in_prev_tokens"]
    state = network.start(memory, answer.shape[1], prefixes)
    assert state.front == prefixes.decoder.prefix.shape[3]
    found = stepwise(network, memory, state, answer)
    there = answer != 1  # what comes behind an end is not the same, and nobody reads it
    close(found[there], data["out_image_logits"][there], STACK)


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("places", [(), ("decoder",), ("cross",), ("encoder", "decoder", "cross")])
def test_steps_give_what_the_whole_gives(places, weights):
    network, every = tiny(), random_prefixes(weights=weights)
    prefixes = Prefixes(**{place: getattr(every, place) for place in places})
    memory = encode(network, pictures(), IDS, prefixes)
    whole = decode(network, memory, ANSWER, prefixes)
    found = stepwise(network, memory, network.start(memory, 4, prefixes), ANSWER)
    close(found[:, :3], whole[:, :3], LAYER)
    # Room for more tokens than there are changes nothing.
    longer = stepwise(network, memory, network.start(memory, 7, prefixes), ANSWER)
    close(longer, found, LAYER)


@pytest.mark.parametrize("codes", [None, np.array([False, True])])
def test_beams_share_their_example(codes):
    """Row b · K + k reads example b; its beams read answers of their own."""
    network, prefixes = tiny(), random_prefixes(weights=True)
    memory = encode(network, pictures(), IDS, prefixes)
    beams = np.array([[0, 4, 17], [0, 4, 11], [0, 9, 5], [0, 6, 2], [0, 7, 7], [0, 8, 3]])
    state = network.start(memory, 3, prefixes, beams=3, codes=codes)
    found = stepwise(network, memory, state, beams)
    for k in range(3):
        alone = decode(network, memory, beams[k::3], prefixes, codes=codes)
        close(found[k::3], alone, LAYER)


def test_a_beam_goes_on_from_another():
    network, prefixes = tiny(), random_prefixes()
    memory = encode(network, pictures(), IDS, prefixes)
    state = network.start(memory, 3, prefixes, beams=2)
    first, second = np.array([[0, 4], [0, 4], [0, 6], [0, 6]]), np.array([9, 8, 7, 5])
    _, state = step(network, memory, state, first[:, 0], 0)
    _, state = step(network, memory, state, second, 1)
    rows = np.array([1, 1, 3, 2])
    logits, _ = step(network, memory, state.rearranged(rows), np.array([2, 3, 4, 5]), 2)
    for row, example in enumerate([0, 0, 1, 1]):
        read = np.array([[0, second[rows[row]], row + 2]])
        one = jax.tree.map(lambda x, i=example: x[i : i + 1], (memory.x, memory.seen))
        alone = memory.replace(x=one[0], seen=one[1])
        expected = decode(network, alone, read, prefixes[example : example + 1])
        close(logits[row], expected[0, -1], LAYER)


def test_steps_with_adapters():
    network = tiny()
    made = Adapters(AdapterConfig(**TINY.adapters("decoder"), bottleneck=3), rngs=nnx.Rngs(2))
    adapters = made.layers
    adapters.up.kernel[...] = jax.random.normal(jax.random.key(0), adapters.up.kernel.shape)
    memory = encode(network, None, IDS)
    whole = decode(network, memory, ANSWER, adapters=adapters)
    assert np.abs(whole - decode(network, memory, ANSWER)).max() > 0.01
    found = stepwise(network, memory, network.start(memory, 4), ANSWER, adapters)
    close(found[:, :3], whole[:, :3], LAYER)


def test_one_compilation_for_all_positions():
    network = tiny()
    memory = encode(network, None, IDS)
    traced = []

    @functools.partial(jax.jit, static_argnums=())
    def once(network, memory, state, ids, position):
        traced.append(position)
        return network.step(memory, state, ids, position)

    state = network.start(memory, 4)
    for position in range(4):
        _, state = once(network, memory, state, ANSWER[:, position], jnp.int32(position))
    assert len(traced) == 1


def test_the_memory_holds_no_prefix():
    network, prefixes = tiny(), random_prefixes()
    memory = encode(network, pictures(), IDS, prefixes)
    assert memory.x.shape == encode(network, pictures(), IDS).x.shape == (2, 10, 8)
    attended = network.attended(memory, ANSWER, prefixes)
    assert attended.shape == (2, 4, 10)
    whole = network.attended(memory, ANSWER, Prefixes(decoder=prefixes.decoder)).sum(-1)
    np.testing.assert_allclose(whole, 1, rtol=1e-5)
    assert attended.sum(-1).max() < 0.999  # the rest looks at the cross-attention's prefix
    np.testing.assert_array_equal(attended[1, :, -2:], 0)  # padding
