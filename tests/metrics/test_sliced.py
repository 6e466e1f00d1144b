"""MIND by hand, and where its value is known."""

import numpy as np
import pytest

from maskgit_prompt.errors import UsageError, UserError
from maskgit_prompt.metrics.sliced import mind


def column(*values):
    return np.array(values, np.float64)[:, None]


def test_by_hand():
    assert mind(column(0, 4), column(3, 2)) == pytest.approx(7.5)
    assert mind(column(0, 4), column(4, 0)) == 0


def test_of_a_shift_it_is_its_square():
    """Moved by v, each projection moves by u·v, whose mean square is |v|² / D: 3 |v|² in all."""
    rows = np.random.default_rng(0).normal(size=(50, 3))
    moved = rows + [1, 2, -2]
    assert mind(rows, moved, 20_000) == pytest.approx(27, rel=0.02)
    assert mind(rows, rows[::-1]) == 0


def test_of_the_larger_set_some_are_drawn():
    few, many = column(0, 0), column(*[5] * 7)
    assert mind(few, many) == mind(many, few) == pytest.approx(75)
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(30, 4)), rng.normal(size=(20, 4)) + 1
    assert mind(a, b) == mind(a, b) != mind(a, b, seed=1)


def test_refusals():
    with pytest.raises(UserError, match="generated features of 0 images: at least 1 are needed"):
        mind(column(1), np.zeros((0, 1)))
    with pytest.raises(UserError, match="features of 1 and of 2 dims"):
        mind(column(1, 2), np.ones((2, 2)))
    with pytest.raises(UsageError, match="0 directions"):
        mind(column(1), column(2), 0)
