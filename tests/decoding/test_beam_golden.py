"""The reference's hypotheses of a network with prefixes: free, with penalties, closed, boxes."""

import functools

import jax
import numpy as np
import pytest
from flax import nnx

from maskgit_prompt.decoding.beam import EncoderDecoder, SearchConfig, make_search
from maskgit_prompt.decoding.constraints import IdRange, make_trie
from maskgit_prompt.models.specials import PAD, START
from tests.models import ofa_cases, test_ofa_steps

STACK = 1e-4
NAME = "beam_prefix_tiny"


class Warmer(EncoderDecoder):
    """Logits divided by a temperature, which is the network's side of a search."""

    def __init__(self, temperature, *args):
        super().__init__(*args)
        self._temperature = temperature

    def step(self, state, ids, position):
        logits, state = super().step(state, ids, position)
        return logits / self._temperature, state


@functools.cache
def encoded():
    data, network = ofa_cases.case(NAME), ofa_cases.model(NAME)
    graphdef, tree = ofa_cases.prefix_generator(data)
    ids, valid = data["in_src_tokens"], data["in_image_valid"]
    prefixes = nnx.merge(graphdef, tree).of_batch(len(ids))
    return network, network.encode(ofa_cases.images(data), ids, prefixes, valid=valid), prefixes


def constraint(run: str):
    data = ofa_cases.case(NAME)
    if run == "trie":
        return make_trie([[i for i in row if i != PAD] for row in data["in_trie_answers"]])
    if run == "box":
        low, high = map(int, data.config["runs"]["box"]["constraint_range"].split(","))
        return IdRange(low, high, others=(0, 1, 2, 3))
    return None


@pytest.mark.parametrize("run", ["free", "penalty", "trie", "box"])
def test_golden(run):
    data, (network, memory, prefixes) = ofa_cases.case(NAME), encoded()
    told = data.config["runs"][run]
    config = SearchConfig(
        beams=told["beam_size"],
        max_length=told["max_len_b"],
        min_length=told["min_len"],
        length_penalty=told.get("len_penalty", 1.0) if told.get("normalize_scores", True) else 0.0,
        no_repeat=told.get("no_repeat_ngram_size", 0),
    )
    temperature = np.float32(told.get("temperature", 1.0))
    build = jax.tree_util.Partial(Warmer, temperature, network, memory, prefixes)
    found = make_search(build)(config, len(data["in_src_tokens"]), constraint=constraint(run))
    np.testing.assert_array_equal(found.tokens, data[f"out_{run}_tokens"])
    for name in ("scores", "token_scores"):
        expected = data[f"out_{run}_{name}"]
        np.testing.assert_allclose(
            getattr(found, name), expected, rtol=0, atol=STACK * np.abs(expected).max()
        )


@pytest.mark.parametrize("places", [(), ("encoder", "decoder", "cross")])
def test_forced_ids_of_unequal_length_behind_prefixes(places):
    """Where the reference fails: scores are those of whole sequences, read without a cache."""
    network, every = ofa_cases.tiny(), test_ofa_steps.random_prefixes()
    some = {place: getattr(every, place) for place in places}
    prefixes = type(every)(**some) if places else None
    memory = network.encode(ofa_cases.pictures(), ofa_cases.IDS, prefixes)
    build = jax.tree_util.Partial(EncoderDecoder, network, memory, prefixes)
    forced = np.array([[7, 4, 9], [11, PAD, PAD]])
    found = make_search(build)(SearchConfig(3, 5, 4), 2, forced)
    tokens = np.asarray(found.tokens)
    assert tokens[0, :, :3].tolist() == [[7, 4, 9]] * 3 and (tokens[1, :, 0] == 11).all()
    assert len({tuple(row) for row in tokens[1]}) == 3
    for k in range(3):
        read = np.pad(tokens[:, k, :-1], [(0, 0), (1, 0)], constant_values=START)
        scores = jax.nn.log_softmax(network.decode(memory, read, prefixes))
        scores = np.take_along_axis(np.asarray(scores), tokens[:, k, :, None], 2)[..., 0]
        there = tokens[:, k] != PAD
        expected = np.where(there, scores, 0)
        np.testing.assert_allclose(found.token_scores[:, k], expected, rtol=0, atol=STACK)
        means = expected.sum(1) / there.sum(1)
        np.testing.assert_allclose(found.scores[:, k], means, rtol=0, atol=STACK)
