"""Rows that are made once and kept, as long as all of them fit."""

import numpy as np

from maskgit_prompt.data import kept
from maskgit_prompt.data.kept import Kept


def tens(calls: list):
    """rows -> [k, 2], each row's number and ten times that; notes what it was asked for."""

    def make(rows):
        calls.append(rows.tolist())
        return np.stack([[row, 10 * row] for row in rows])

    return make


def test_rows_are_made_once():
    calls = []
    rows = Kept(9, tens(calls))
    assert rows(np.array([3, 1, 3])).tolist() == [[3, 30], [1, 10], [3, 30]]
    assert rows(np.array([1, 2])).tolist() == [[1, 10], [2, 20]]
    assert calls == [[1, 3], [2]]


def test_rows_are_kept_as_long_as_all_pixels_fit(monkeypatch):
    monkeypatch.setattr(kept, "MOST_BYTES", 9 * 8 * 8 * 3)
    for number, again in ((9, [[1]]), (10, [[1], [1]])):
        calls = []
        rows = kept.if_few(number, 8, tens(calls))
        for _ in range(2):
            assert rows(np.array([1])).tolist() == [[1, 10]]
        assert calls == again
