"""Mask schedules against the reference's values and the digits of the docstring."""

import numpy as np
import pytest

from maskgit_prompt.decoding.schedules import schedule
from maskgit_prompt.errors import UsageError


@pytest.mark.parametrize("name", ["uniform", "linear", "cosine", "pow2.5", "log", "exp"])
@pytest.mark.parametrize("total", [256, 1024])
def test_golden(goldens, name, total):
    io = np.load(goldens / "maskgit/losses/io.npz")
    golden = "uniform" if name == "linear" else name
    expected = io[f"out_schedule_{golden.replace('.', 'p')}_{total}"]
    np.testing.assert_allclose(schedule(name)(io["in_ratios"], total), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("linear", [1, 0.75, 0.5, 0.25, 1e-6]),
        ("cosine", [1, 0.9239, 0.7071, 0.3827, 1e-6]),
        ("pow2", [1, 0.9375, 0.75, 0.4375, 1e-6]),
        ("log", [1, 0.5, 0.25, 0.1038, 1e-6]),
        ("exp", [0.9375, 0.875, 0.75, 0.5, 1e-6]),
    ],
)
def test_docstring_digits(name, expected):
    shares = schedule(name)(np.array([0, 0.25, 0.5, 0.75, 1], np.float32), 16)
    np.testing.assert_allclose(shares, expected, rtol=1e-6, atol=5e-5)
    assert shares.dtype == np.float32


@pytest.mark.parametrize("name", ["log", "exp"])
def test_no_or_one_code_left_is_a_number(name):
    shares = np.asarray(schedule(name)(np.array([0.5, 1.0]), np.array([[0], [1]])))
    assert np.all((shares >= np.float32(1e-6)) & (shares <= 1))


@pytest.mark.parametrize("name", ["square", "pow", "pow0", "pow-1", ""])
def test_unknown_name(name):
    with pytest.raises(UsageError, match=r"unknown mask schedule .*; use one of cosine, linear"):
        schedule(name)
