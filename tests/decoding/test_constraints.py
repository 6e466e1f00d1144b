"""Tries and ranges of ids, in digits."""

import jax
import numpy as np
import pytest

from maskgit_prompt.decoding import constraints
from maskgit_prompt.decoding.constraints import Free, IdRange, make_trie, make_tries
from maskgit_prompt.errors import UserError
from maskgit_prompt.models.specials import END

V = 10
ANSWERS = [(5, 7), (8,), (5, 6)]


def allowed(constraint, *node):
    rows = constraint.allowed(np.array(node, np.int32), V)
    return [np.flatnonzero(row).tolist() for row in np.asarray(rows)]


def test_nodes_by_hand():
    trie = make_trie(ANSWERS)
    assert trie.token.tolist() == [-1, 5, 8, 6, 7, -1, -1, -1]
    assert trie.first.tolist() == [1, 3, 5, 5, 5, 5, 5, 5, 5]
    assert trie.ends.tolist() == [False, False, True, True, True, False, False, False]
    assert (trie.roots.tolist(), trie.fanout, int(trie.depth)) == ([0], 2, 2)


def test_what_comes_next():
    trie = make_trie(ANSWERS)
    assert allowed(trie, 0, 1, 2, 3) == [[5, 8], [6, 7], [END], [END]]
    assert trie.advance(np.array([0, 0, 1, 1]), np.array([5, 8, 6, 7])).tolist() == [1, 2, 3, 4]
    longer = make_trie([(5,), (5, 6)])  # an answer that another goes on from
    assert allowed(longer, 0, 1, 2) == [[5], [END, 6], [END]]


def test_each_example_has_its_own_answers():
    trie = make_tries([[(5, 6)], [(7,), (4,)]])
    assert trie.roots.tolist() == [0, 1]
    batch = trie.rooted([1, 0, 0])
    assert batch.start(3).tolist() == [1, 0, 0]
    assert allowed(batch, *batch.start(3)) == [[4, 7], [5], [5]]
    assert trie.rooted([0, 0]).start(2).tolist() == [0, 0]
    assert make_trie(ANSWERS).start(3).tolist() == [0, 0, 0]
    with pytest.raises(UserError, match="a trie with 2 sets of answers for 3 examples: expected"):
        trie.start(3)


def test_tries_of_one_size_share_a_program():
    leaves = lambda answers: (
        jax.tree.structure(make_trie(answers)),
        [np.shape(x) for x in jax.tree.leaves(make_trie(answers))],
    )
    assert leaves([(5, 7), (8,), (5, 6)]) == leaves([(4, 4, 4, 4), (6, 4)])
    assert leaves([(5, 7), (8,), (5, 6)]) != leaves([(i,) for i in range(3, 9)])


def test_an_answer_that_a_trie_does_not_hold():
    trie = make_tries([ANSWERS, [(4,)]])
    assert constraints.holds(trie, (5, 6)) and constraints.holds(trie, (4,), root=1)
    for answer in ((5,), (6,), (5, 6, 7), (4,)):
        assert not constraints.holds(trie, answer)


def test_masks_along_targets():
    masks = constraints.along(make_trie(ANSWERS), np.array([[5, 6, END], [8, END, 1]]), V)
    found = [[np.flatnonzero(row).tolist() for row in example] for example in np.asarray(masks)]
    assert found[0] == [[5, 8], [6, 7], [END]]
    assert found[1][:2] == [[5, 8], [END]]


def test_ranges():
    assert allowed(IdRange(6, 9), 0, 0) == [[2, 6, 7, 8]] * 2
    assert allowed(IdRange(6, 9, others=(0, 1, 2, 3)), 0) == [[0, 1, 2, 3, 6, 7, 8]]
    assert allowed(Free(), 0) == [list(range(V))]


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ([[]], "no answers in set 0 of closed answers: expected at least one"),
        ([[(4,)], [(4,), ()]], "an empty answer in set 1 of closed answers: expected at least"),
    ],
)
def test_answers_that_are_none(sets, message):
    with pytest.raises(UserError, match=message):
        make_tries(sets)
