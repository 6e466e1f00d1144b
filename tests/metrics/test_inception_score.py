"""The Inception Score by hand and against two tools' rules."""

import numpy as np
import pytest

from maskgit_prompt.errors import UsageError, UserError
from maskgit_prompt.metrics.inception_score import in_chunks, inception_score, of_all


@pytest.fixture
def case(goldens):
    with np.load(goldens / "metrics_numeric/features_32d/io.npz") as stored:
        return {name: stored[name] for name in stored}


def test_by_hand():
    sure = np.array([[50.0, 0], [0, 50]])
    assert of_all(sure) == pytest.approx(2)
    assert of_all(sure[:1]) == pytest.approx(1)
    assert of_all(np.zeros((4, 3))) == pytest.approx(1)
    # Shares (3/4, 1/4) and (1/4, 3/4): exp(3/4 log 3/2 + 1/4 log 1/2).
    shares = np.log([[3.0, 1], [1, 3]])
    assert of_all(shares) == pytest.approx(1.5**0.75 * 0.5**0.25)
    # A class that is too unlikely for a float.
    assert of_all(np.array([[0.0, -1e4], [0, -1e4]])) == pytest.approx(1)


def test_golden(case):
    logits = case["in_logits"]
    assert inception_score(logits, 1, None)[0] == pytest.approx(
        float(case["out_is_1split"]), rel=1e-9
    )
    np.testing.assert_allclose(
        inception_score(logits, 10, None), case["out_is_10splits"], rtol=1e-9
    )
    np.testing.assert_allclose(inception_score(logits), case["out_is_10splits_shuffled"], rtol=1e-9)
    assert in_chunks(logits, 50) == pytest.approx(float(case["out_is_guided_chunk50"]), rel=1e-4)
    order = np.random.RandomState(2020).permutation(len(logits))
    np.testing.assert_array_equal(order, case["in_is_permutation"])


def test_refusals():
    with pytest.raises(UserError, match="9 images for an Inception Score of 10 parts: at least 10"):
        inception_score(np.zeros((9, 4)))
    with pytest.raises(UserError, match=r"logits as features of image 1 .* are NaN or infinite"):
        inception_score(np.array([[0.0, 1], [np.nan, 0]]), 1)
    with pytest.raises(UsageError, match="0 parts to score"):
        inception_score(np.zeros((9, 4)), 0)
    with pytest.raises(UsageError, match="chunks of 0 images"):
        in_chunks(np.zeros((9, 4)), 0)
