"""The loss that an evaluation reports, of a model whose losses can be worked out by hand."""

import jax
import numpy as np
import pytest

from maskgit_prompt.config import defaults
from maskgit_prompt.tuning import tune
from tests import stubs, training


def evaluator(objective, rounds: int = 1, **prompt):
    """A function (codes [n, L], labels [n]) -> loss; classes have odds 1, 3, instances 5."""
    config = defaults.transfer()
    config.score.rounds = rounds
    evaluate = tune.make_evaluator(
        config,
        objective,
        stubs.transformer(dropout=True),
        stubs.generator(**prompt),
        training.mesh(),
    )
    tree = jax.device_put(stubs.parameters(instances=(5, 5, 5)))
    return lambda codes, labels: evaluate(
        tree, np.array(codes, np.int32), np.array(labels, np.int32)
    )


def test_the_loss_is_of_the_hidden_codes_under_the_class():
    # Two of four codes are hidden, 0 and 1. Odds 3: ln 4/3 and ln 4; odds 1: ln 2 and ln 2.
    evaluate = evaluator(stubs.Hide(((0, 1),)))
    of_three = (np.log(4 / 3) + np.log(4)) / 2
    assert evaluate([[0, 1, 1, 1]], [1]) == pytest.approx(of_three, rel=1e-5)
    assert evaluate([[0, 1, 1, 1]], [0]) == pytest.approx(np.log(2), rel=1e-5)


def test_nothing_is_dropped_and_labels_are_not_smoothed():
    objective = stubs.Hide(smoothing=0.5, drop_class=1.0)
    evaluate = evaluator(objective, drop_class=1.0, drop_instance=1.0, dropout=0.5)
    assert evaluate([[0, 1]], [1]) == pytest.approx(np.log(4 / 3), rel=1e-5)


def test_rounds_count_alike_however_much_they_hide():
    # Round 0 hides code 0 alone, round 1 the codes 1, 1, 0.
    evaluate = evaluator(stubs.Hide(((0,), (1, 2, 3))), rounds=2)
    second = (2 * np.log(4) + np.log(4 / 3)) / 3
    expected = (np.log(4 / 3) + second) / 2
    assert evaluate([[0, 1, 1, 0]], [1]) == pytest.approx(expected, rel=1e-5)


def test_images_have_their_own_labels_and_count_once_in_any_chunks(monkeypatch):
    # Chunks of two and a last one of a single image, which is padded.
    monkeypatch.setattr(tune, "ROWS", 2)
    codes, labels = [[0, 0], [0, 0], [1, 0], [1, 0], [1, 0]], [0, 1, 1, 1, 0]
    expected = (np.log(2) + np.log(4 / 3) + 2 * np.log(4) + np.log(2)) / 5
    assert evaluator(stubs.Hide())(codes, labels) == pytest.approx(expected, rel=1e-5)


def test_chunks_draw_for_themselves_and_calls_draw_the_same(monkeypatch):
    monkeypatch.setattr(tune, "ROWS", 1)
    evaluate = evaluator(stubs.HideDrawn())
    found = evaluate([[0, 1]] * 16, [1] * 16)
    # k of 16 images hide code 0, the others code 1.
    hidden = (np.log(4) - found) / (np.log(4) - np.log(4 / 3)) * 16
    assert hidden == pytest.approx(round(hidden), abs=1e-3) and 0 < round(hidden) < 16
    assert evaluate([[0, 1]] * 16, [1] * 16) == found


def test_rounds_draw_for_themselves():
    found = evaluator(stubs.HideDrawn(), rounds=16)([[0, 1]], [1])
    hidden = (np.log(4) - found) / (np.log(4) - np.log(4 / 3)) * 16
    assert hidden == pytest.approx(round(hidden), abs=1e-3) and 0 < round(hidden) < 16


def test_as_many_rounds_as_asked_for_and_fewer_of_many_images(monkeypatch):
    # Round 0 hides code 0, all others code 1: 3 of 4 rounds; then 4 draws for 2 images are 2 each.
    evaluate = evaluator(stubs.Hide(((0,), (1,), (1,), (1,))), rounds=4)
    four = (np.log(4 / 3) + 3 * np.log(4)) / 4
    assert evaluate([[0, 1]] * 2, [1, 1]) == pytest.approx(four, rel=1e-5)
    monkeypatch.setattr(tune, "DRAWS", 4)
    two = (np.log(4 / 3) + np.log(4)) / 2
    assert evaluate([[0, 1]] * 2, [1, 1]) == pytest.approx(two, rel=1e-5)
