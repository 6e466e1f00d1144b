"""Batches of several sources: proportions, epochs, purity."""

import numpy as np
import pytest

from maskgit_prompt.data.mixture import PERIOD, Mixture
from maskgit_prompt.errors import UsageError

LETTERS, PHOTOS = np.arange(10, 13), np.arange(100, 400)


def walk(mixture: Mixture, steps: int, size: int) -> np.ndarray:
    return np.concatenate([mixture.rows(step, size) for step in range(steps)])


def test_each_source_has_its_share_of_every_period():
    rows = walk(Mixture([LETTERS, PHOTOS], [1, 3], seed=0), 2 * PERIOD // 50, 50)
    shares = [np.isin(rows[start : start + PERIOD], LETTERS).sum() for start in (0, PERIOD)]
    assert shares == [250, 250]
    assert np.isin(rows, np.concatenate([LETTERS, PHOTOS])).all()


def test_no_image_of_a_source_comes_again_before_all_have_come():
    rows = walk(Mixture([LETTERS, PHOTOS], [1, 3], seed=0), 40, 50)
    photos = rows[np.isin(rows, PHOTOS)]
    assert len(photos) == 1500
    for epoch in photos.reshape(5, 300):
        np.testing.assert_array_equal(np.sort(epoch), PHOTOS)
    letters = rows[np.isin(rows, LETTERS)][:498].reshape(-1, 3)
    assert (np.sort(letters) == LETTERS).all()


def test_a_batch_depends_on_seed_and_step_alone():
    mixtures = [Mixture([LETTERS, PHOTOS], [1, 1], seed) for seed in (0, 0, 1)]
    same, again, other = (walk(mixture, 10, 8) for mixture in mixtures)
    np.testing.assert_array_equal(same, again)
    assert (same != other).any()
    np.testing.assert_array_equal(mixtures[0].rows(7, 8), same[56:64])
    # As one walk, however it is cut into batches.
    np.testing.assert_array_equal(walk(mixtures[0], 4, 20), same)


def test_sources_are_mixed_within_a_batch():
    rows = Mixture([LETTERS, PHOTOS], [1, 1], seed=0).rows(0, 64)
    assert 16 < np.isin(rows, LETTERS).sum() < 48


@pytest.mark.parametrize(
    "parts, weights, message",
    [
        ([LETTERS], [1, 1], "for 1 sources"),
        ([LETTERS, PHOTOS], [1, 0], "expected one above 0 for each"),
        ([LETTERS, PHOTOS], [1, -1], "expected one above 0 for each"),
        ([LETTERS, PHOTOS[:0]], [1, 1], "expected images in each"),
        ([LETTERS, PHOTOS], [1, 5000], "at least 1/1000 of all weights"),
    ],
)
def test_weights_that_give_no_mixture(parts, weights, message):
    with pytest.raises(UsageError, match=message):
        Mixture(parts, weights, seed=0)
