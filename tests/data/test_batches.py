"""Batches as a function of (seed, step), few-shot choices and splits."""

import numpy as np
import pytest
from absl import logging

from maskgit_prompt.data import batches, splits
from maskgit_prompt.errors import UsageError


def test_each_epoch_visits_each_image_once_across_straddling_batches():
    # 5 images in batches of 2: five steps are two epochs, step 2 holds the end of one and the
    # start of the next.
    seen = np.concatenate([batches.batch_indices(0, step, 5, 2) for step in range(5)])
    assert seen.shape == (10,) and seen.dtype == np.int64
    assert sorted(seen[:5]) == sorted(seen[5:]) == [0, 1, 2, 3, 4]
    assert list(seen[:5]) != list(seen[5:])


def test_a_batch_larger_than_the_set():
    batch = batches.batch_indices(3, 1, 3, 7)  # positions 7..13: epochs 2 (two left), 3, 4 (two)
    assert len(batch) == 7
    assert sorted(batch[2:5]) == [0, 1, 2]
    assert list(batches.batch_indices(3, 5, 1, 4)) == [0, 0, 0, 0]


def test_a_batch_depends_on_seed_and_step_only():
    first = batches.batch_indices(7, 123, 100, 8)
    for step in (0, 5, 9999):
        batches.batch_indices(1, step, 50, 4)
    batches._permutation.cache_clear()
    np.testing.assert_array_equal(batches.batch_indices(7, 123, 100, 8), first)
    assert list(batches.batch_indices(8, 123, 100, 8)) != list(first)
    first[:] = 0  # the caller's own copy
    assert batches.batch_indices(7, 123, 100, 8).any()


def test_batches_of_other_sizes_walk_the_same_order():
    by_two = np.concatenate([batches.batch_indices(0, step, 7, 2) for step in range(3)])
    np.testing.assert_array_equal(by_two, batches.batch_indices(0, 0, 7, 6))


def test_views_are_drawn_evenly():
    drawn = np.concatenate([batches.views(0, step, 100, 4) for step in range(20)])
    counts = np.bincount(drawn, minlength=4)
    assert counts.sum() == 2000 and (np.abs(counts - 500) < 80).all()
    np.testing.assert_array_equal(batches.views(0, 3, 100, 4), drawn[300:400])
    assert not batches.views(5, 0, 10, 1).any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: batches.batch_indices(0, 0, 0, 2), "batches from 0 images"),
        (lambda: batches.batch_indices(0, 0, 3, 0), "batch_size 0: expected at least 1"),
        (lambda: batches.batch_indices(0, -1, 3, 1), "step -1 is negative"),
        (lambda: batches.batch_indices(-2, 0, 3, 1), "seed -2 is negative"),
        (lambda: batches.views(0, 0, 3, 0), "num_views 0: expected at least 1"),
    ],
)
def test_wrong_batches_are_refused(call, message):
    with pytest.raises(UsageError, match=message):
        call()


LABELS = np.array([0, 1, 0, 1, 0, 1, 0, 1, 2])


def test_few_shot_takes_shots_of_each_class_and_names_short_ones(monkeypatch):
    lines = []
    monkeypatch.setattr(logging, "warning", lambda text, *args: lines.append(text % args))
    chosen = splits.few_shot(LABELS, 2, seed=0, classes=("ant", "bee", "cow"))
    assert list(np.bincount(LABELS[chosen])) == [2, 2, 1]
    assert list(chosen) == sorted(chosen) and 8 in chosen
    assert lines == ["fewer than 2 images in 1 class, all are used: cow (1)"]


def test_few_shot_of_a_class_does_not_depend_on_the_others():
    labels = np.repeat(np.arange(3), 50)
    chosen = splits.few_shot(labels, 5, seed=1)
    alone = splits.few_shot(np.full(50, 1), 5, seed=1)  # the same images, first in their set
    np.testing.assert_array_equal(chosen[labels[chosen] == 1] - 50, alone)
    assert set(splits.few_shot(labels, 2, seed=1)) < set(chosen)
    assert list(splits.few_shot(labels, 5, seed=2)) != list(chosen)


def test_few_shot_refuses_zero_shots():
    with pytest.raises(UsageError, match="shots 0: expected at least 1 image per class"):
        splits.few_shot(LABELS, 0, seed=0)
    assert splits.few_shot(np.zeros(0, np.int32), 3, seed=0).shape == (0,)


def test_split_is_stratified_disjoint_and_whole():
    labels = np.repeat([0, 1], [8, 4])
    parts = splits.split(labels, {"pool": 0.5, "judge": 0.25, "test": 0.25}, seed=0)
    counts = {name: list(np.bincount(labels[rows])) for name, rows in parts.items()}
    assert counts == {"pool": [4, 2], "judge": [2, 1], "test": [2, 1]}
    assert sorted(np.concatenate(list(parts.values()))) == list(range(12))
    again = splits.split(labels, {"pool": 0.5, "judge": 0.25, "test": 0.25}, seed=0)
    assert all((again[name] == parts[name]).all() for name in parts)


def test_split_rounds_by_largest_remainder_and_leaves_the_rest_out():
    parts = splits.split(np.zeros(5, int), {"a": 0.5, "b": 0.25, "c": 0.25}, seed=0)
    assert [len(rows) for rows in parts.values()] == [3, 1, 1]
    parts = splits.split(np.zeros(10, int), {"a": 0.1, "b": 0.2}, seed=0)
    assert [len(rows) for rows in parts.values()] == [1, 2]
    parts = splits.split(np.zeros(1, int), {"a": 0.5, "b": 0.5}, seed=0)
    assert [len(rows) for rows in parts.values()] == [1, 0]


@pytest.mark.parametrize("fractions", [{}, {"a": 0.0}, {"a": 0.7, "b": 0.4}, {"a": float("nan")}])
def test_split_refuses_wrong_fractions(fractions):
    with pytest.raises(UsageError, match="expected shares above 0, together at most 1"):
        splits.split(LABELS, fractions, seed=0)


def test_thin_keeps_classes_in_proportion():
    labels = np.array([0] * 8 + [1] * 4)
    kept = splits.thin(labels, 6, seed=0, least=1)
    assert np.bincount(labels[kept]).tolist() == [4, 2] and list(kept) == sorted(kept)
    assert splits.thin(labels, 6, seed=0, least=1).tolist() == kept.tolist()
    # Three of each class, where it has them: what a judge needs.
    assert np.bincount(labels[splits.thin(labels, 3, seed=0)]).tolist() == [3, 3]
    few = np.array([0, 0, 1, 1, 1, 1])
    assert np.bincount(few[splits.thin(few, 2, seed=0)]).tolist() == [2, 3]
    assert splits.thin(labels, 12, seed=0).tolist() == list(range(12))
    assert splits.thin(labels, 0, seed=0).tolist() == list(range(12))


def test_shares_round_the_largest_remainders_up():
    assert splits.shares(5, np.array([0.5, 0.25, 0.25])).tolist() == [3, 1, 1]
    assert splits.shares(10, np.array([0.0, 0.95, 0.05])).tolist() == [0, 10, 0]


def test_walks_of_a_seed_differ_and_the_first_is_that_of_batches():
    first, second = (batches.visits(3, 20, 50, 10, walk) for walk in (0, 1))
    np.testing.assert_array_equal(first, batches.batch_indices(3, 2, 50, 10))
    assert (first != second).any()
    alone = np.random.default_rng([3, batches.STREAM_EPOCH, 0]).permutation(50)
    np.testing.assert_array_equal(first, alone[20:30])  # as before there were several walks
