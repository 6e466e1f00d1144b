"""Beam search against all sequences, against a search over lists, and the reference's scores."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskgit_prompt.decoding import beam
from maskgit_prompt.decoding.beam import SearchConfig, make_search
from maskgit_prompt.decoding.constraints import IdRange, make_trie
from maskgit_prompt.errors import UsageError
from maskgit_prompt.models.specials import END, PAD
from tests.decoding.tables import every, followed, listed, partial, same, table
from tests.golden_models import Case

V, B = 6, 2
TABLE = table(B, V)
search = make_search(partial(TABLE))
MANY = 90  # more beams than there are sequences: nothing is lost on the way


def by_score(found: list, power: float = 1.0, without: int = 0) -> list:
    """Sequences of `every` with scores, the best first; without: ids that do not count."""
    scored = [(total / (len(ids) - without) ** power, ids) for total, ids in found]
    return sorted(scored, key=lambda x: -x[0])


# --- Against all sequences -----------------------------------------------------------------------


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_with_beams_enough_it_finds_all_sequences_in_order(power):
    found = search(SearchConfig(MANY, 3, 1, power), B)
    for b in range(B):
        expected = by_score(every(TABLE[b], 3, lambda ids: len(ids) >= 1), power)
        assert len(expected) == 4 + 4**2 + 4**3
        same(listed(found, b), expected)


def test_lengths_are_exact():
    found = search(SearchConfig(MANY, 3, 3), B)
    for b in range(B):
        same(listed(found, b), by_score(every(TABLE[b], 3, lambda ids: len(ids) == 3)))


def test_an_empty_sequence_counts_where_min_length_is_0():
    found = search(SearchConfig(MANY, 2, 0), B)
    for b in range(B):
        expected = by_score(every(TABLE[b], 2, lambda ids: True))
        assert (END,) in [ids for _, ids in expected]
        same(listed(found, b), expected)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_no_ngram_comes_twice(size):
    def fits(ids):
        history = (0, *ids)  # <s> counts
        grams = [history[i : i + size] for i in range(len(history) - size + 1)]
        return len(ids) >= 1 and len(grams) == len(set(grams))

    found = search(SearchConfig(MANY, 3, no_repeat=size), B)
    for b in range(B):
        same(listed(found, b), by_score(every(TABLE[b], 3, fits)))


def test_bigrams_by_hand():
    # After <s> 5 6 5 the bigram 5 6 is there already: 6 is gone, 7 is not; <s> 5 is none of these.
    tokens = jnp.full((1, 1, 5), PAD).at[0, 0, :3].set(jnp.array([5, 6, 5]))
    gone = beam._repeated(tokens, jnp.int32(3), 2, 8)
    assert np.flatnonzero(gone[0, 0]).tolist() == [6]


# --- Narrow beams --------------------------------------------------------------------------------


@pytest.mark.parametrize(("beams", "power"), [(1, 1.0), (2, 0.5), (3, 1.0)])
def test_narrow_beams_follow_the_same_hypotheses_as_a_list(beams, power):
    for seed in range(3):
        values = table(B, V, seed)
        found = make_search(partial(values))(SearchConfig(beams, 5, 2, power), B)
        for b in range(B):
            same(listed(found, b), followed(values[b], beams, 5, 2, power))


def test_one_beam_is_greedy():
    [(score, ids)] = listed(search(SearchConfig(1, 6), B), 0)
    decoder, taken = partial(TABLE)(), [0]
    state = decoder.start(1, 7)
    total = 0.0
    while taken[-1] != END:
        logits, state = decoder.step(state, jnp.full(B, taken[-1]), len(taken) - 1)
        kept = jax.nn.log_softmax(logits[0]).at[PAD].set(-jnp.inf)
        kept = kept.at[END].set(-jnp.inf) if len(taken) < 2 else kept
        kept = jnp.where(jnp.arange(V) == END, kept, -jnp.inf) if len(taken) == 7 else kept
        taken.append(int(jnp.argmax(kept)))
        total += float(kept[taken[-1]])
    assert ids == tuple(taken[1:])
    np.testing.assert_allclose(score, total / len(ids), rtol=1e-5)


def test_token_scores_are_those_of_the_tokens():
    found = search(SearchConfig(3, 4), B)
    lengths = np.sum(np.asarray(found.tokens) != PAD, axis=2)
    np.testing.assert_allclose(found.token_scores.sum(2) / lengths, found.scores, rtol=1e-5)
    behind = np.arange(found.tokens.shape[2]) >= lengths[:, :, None]
    assert not np.asarray(found.token_scores)[behind].any()


def test_an_example_does_not_depend_on_its_neighbours():
    config = SearchConfig(2, 5)
    alone = make_search(partial(TABLE[1:]))(config, 1)
    same(listed(alone, 0), listed(search(config, B), 1))


# --- Forced prefixes -----------------------------------------------------------------------------

FORCED = np.array([[4, PAD, PAD], [5, 3, PAD]], np.int32)


def starting(row):
    prefix = tuple(int(id_) for id_ in row if id_ != PAD)
    return prefix, lambda ids: ids[: len(prefix)] == prefix


def test_forced_ids_of_unequal_length_count_as_the_reference_counts_them():
    found = search(SearchConfig(MANY, 4, 3), B, FORCED)
    for b in range(B):
        prefix, starts = starting(FORCED[b])
        expected = every(TABLE[b], 4, lambda ids, starts=starts: starts(ids) and len(ids) >= 3)
        same(listed(found, b), by_score(expected))


def test_lengths_and_scores_of_what_follows_alone():
    found = search(SearchConfig(MANY, 2, 1, count_forced=False), B, FORCED)
    for b in range(B):
        prefix, _ = starting(FORCED[b])
        expected = every(TABLE[b], 2, lambda ids: len(ids) >= 1, behind=prefix)
        same(listed(found, b), by_score(expected, without=len(prefix)))


def test_padding_behind_forced_ids_may_be_longer_than_any_sequence():
    longer = np.pad(FORCED, [(0, 0), (0, 9)], constant_values=PAD)
    for b in range(B):
        expected = listed(search(SearchConfig(2, 4), B, FORCED), b)
        same(listed(search(SearchConfig(2, 4), B, longer), b), expected)


def test_a_forced_id_wins_over_the_constraint_and_over_repetition():
    trie = make_trie([(3,), (5, 3)])
    forced = np.array([[4, 4], [4, PAD]], np.int32)
    found = search(SearchConfig(4, 4, 1, no_repeat=1), B, forced, trie)
    assert {ids for _, ids in listed(found, 0)} == {(4, 4, 3, END), (4, 4, 5, 3, END)}
    assert {ids for _, ids in listed(found, 1)} == {(4, 3, END), (4, 5, 3, END)}


# --- Constraints ---------------------------------------------------------------------------------


def test_closed_answers_share_probability_among_what_is_allowed():
    answers = [(3,), (3, 4), (5, 4, 3)]
    found = search(SearchConfig(4, 3, length_penalty=0.0), B, None, make_trie(answers))

    def allowed(ids):
        here = [(*a, END)[len(ids)] for a in answers if (*a, END)[: len(ids)] == ids]
        return sorted(set(here))

    for b in range(B):
        expected = every(TABLE[b], 3, lambda ids: ids in answers, allowed)
        assert len(expected) == 3  # and a fourth hypothesis is missing
        same(listed(found, b), by_score(expected, 0.0))
        np.testing.assert_allclose(np.exp(found.scores[b, :3]).sum(), 1, rtol=1e-5)
        assert found.scores[b, 3] == -np.inf and (found.tokens[b, 3] == PAD).all()


def test_a_range_of_ids():
    found = search(SearchConfig(MANY, 2, 2), B, None, IdRange(3, 5))
    kept = search(SearchConfig(MANY, 2, 2), B, None, IdRange(4, 6, others=(0, 1, 2, 3)))
    for b in range(B):
        exact = lambda ids: len(ids) == 2
        same(listed(found, b), by_score(every(TABLE[b], 2, exact, lambda ids: (2, 3, 4))))
        same(listed(kept, b), by_score(every(TABLE[b], 2, exact)))


def test_a_batch_of_64_questions_compiles_once_for_any_answers_of_a_size():
    values = table(64, V)
    config = SearchConfig(2, 3, length_penalty=0.0)
    traces = []

    class Counting(type(partial(values)())):
        def start(self, beams, length):
            traces.append((beams, length))
            return super().start(beams, length)

    search = make_search(jax.tree_util.Partial(Counting, values))
    first = [(3,), (5, 4)]
    found = search(config, 64, None, make_trie(first))
    assert {ids for b in range(64) for _, ids in listed(found, b)} == {(3, END), (5, 4, END)}
    second = [(4,), (4, 3)]  # as many nodes, of another form and depth
    found = search(config, 64, None, make_trie(second).replace(fanout=2))
    assert {ids for b in range(64) for _, ids in listed(found, b)} == {(4, END), (4, 3, END)}
    assert traces == [(2, 4)]


# --- The reference's hypotheses, as a table of what it found -------------------------------------


class Found:
    """A decoder that knows the log-probabilities of a golden's hypotheses, and no others.

    What is left goes to padding, which is never taken.
    """

    def __init__(self, tokens, scores, vocabulary):
        self.tokens, self.scores, self.vocabulary = tokens, scores, vocabulary  # [B, n, T]

    def start(self, beams, length):
        assert length == self.tokens.shape[2]
        return jnp.full((len(self.tokens) * beams, length + 1), PAD)  # ids so far, <s> first

    def step(self, state, ids, position):
        state = state.at[:, position].set(ids)
        example = jnp.arange(len(ids)) // (len(ids) // len(self.tokens))
        tokens, scores = self.tokens[example], self.scores[example]  # [R, n, T]
        seen = jnp.arange(tokens.shape[2]) < position
        alike = jnp.all((tokens == state[:, None, 1:]) | ~seen, axis=2)  # [R, n]
        at = jax.lax.dynamic_index_in_dim(tokens, position, 2, keepdims=False)
        score = jax.lax.dynamic_index_in_dim(scores, position, 2, keepdims=False)
        logits = jnp.full((len(ids), self.vocabulary), -jnp.inf)
        at = jnp.where(alike & (at != PAD), at, self.vocabulary)
        logits = logits.at[jnp.arange(len(ids))[:, None], at].set(score, mode="drop")
        left = 1 - jnp.sum(jnp.exp(logits), axis=1)
        return logits.at[:, PAD].set(jnp.log(jnp.maximum(left, 1e-9))), state

    def reorder(self, state, rows):
        return state[rows]


@pytest.mark.parametrize(
    ("run", "config"),
    [
        ("free", SearchConfig(4, 9, 2)),
        ("penalty", SearchConfig(4, 9, 2, 2.0, 2)),
        ("trie", SearchConfig(4, 9, 1, 0.0)),
        ("box", SearchConfig(4, 4, 4)),
    ],
)
def test_golden_scores_order_and_padding(run, config):
    case = Case("ofa/beam_prefix_tiny")
    tokens, scores = case[f"out_{run}_tokens"], case[f"out_{run}_token_scores"]
    decoder = Found(jnp.asarray(tokens), jnp.asarray(scores), case.config["vocab"])
    found = make_search(jax.tree_util.Partial(lambda: decoder))(config, len(tokens))
    np.testing.assert_array_equal(found.tokens, tokens)
    np.testing.assert_allclose(found.scores, case[f"out_{run}_scores"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.token_scores, scores, rtol=0, atol=1e-5)


# --- What is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beams": 0}, r"search.beams = 0, expected at least 1"),
        ({"max_length": 0, "min_length": 0}, r"search.max_length = 0"),
        ({"max_length": 3, "min_length": 4}, r"search.min_length = 4, expected 0 to max_length"),
        ({"length_penalty": float("inf")}, r"search.length_penalty = inf"),
        ({"no_repeat": -1}, r"search.no_repeat = -1"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(UsageError, match=message):
        SearchConfig(**settings)


@pytest.mark.parametrize(
    ("forced", "constraint", "message"),
    [
        (FORCED[:1], None, r"shape \(1, 3\) for 2 sequences: expected \[2, length\]"),
        ([[PAD, 4], [3, 3]], None, r"forced ids \[1, 4\] in row 0: expected 1 \(padding\) only"),
        ([[3] * 5, [3] * 5], None, r"max_length = 5, but 5 ids are forced and count"),
        (FORCED, make_trie([(3, 4, 5, 3)]), r"up to 4 tokens behind 2 forced ones: set it to 6"),
    ],
)
def test_arguments_that_do_not_fit(forced, constraint, message):
    with pytest.raises(UsageError, match=message):
        search(SearchConfig(2, 5), B, forced, constraint)
