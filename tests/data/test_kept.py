"""Rows that are made once and kept, as long as all of them fit."""

import contextlib
import threading
import types
from concurrent.futures import ThreadPoolExecutor

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


def test_threads_that_come_at_once_share_one_array(monkeypatch):
    made, both, arrays = threading.Barrier(2), threading.Barrier(2), []

    def empty(shape, dtype):
        arrays.append(np.full(shape, -1, dtype))
        # A second thread would come here while the first one waits.
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(0.25)
        return arrays[-1]

    def make(rows):
        made.wait(10)
        return tens([])(rows)

    monkeypatch.setattr(kept, "np", types.SimpleNamespace(**vars(np) | {"empty": empty}))
    rows = Kept(9, make)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(rows, (np.array([1]), np.array([3]))))
    assert len(arrays) == 1
    assert arrays[0][[1, 3]].tolist() == [[1, 10], [3, 30]]


def test_rows_are_kept_as_long_as_all_pixels_fit(monkeypatch):
    monkeypatch.setattr(kept, "MOST_BYTES", 9 * 8 * 8 * 3)
    for number, again in ((9, [[1]]), (10, [[1], [1]])):
        calls = []
        rows = kept.if_few(number, 8, tens(calls))
        for _ in range(2):
            assert rows(np.array([1])).tolist() == [[1, 10]]
        assert calls == again
