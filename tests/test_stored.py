import numpy as np
import pytest

from maskgit_prompt.errors import UserError
from maskgit_prompt.stored import StoredArray, aligned


@pytest.fixture
def file(tmp_path):
    """Seven bytes that are not the array's, then the numbers 0 to 23."""
    path = tmp_path / "numbers"
    path.write_bytes(b"x" * 7 + np.arange(24, dtype="<f4").tobytes())
    return str(path)


def test_a_part_is_read(file):
    stored = StoredArray(file, 7, (4, 6), np.dtype("f4"))
    assert (stored.ndim, stored.size, stored.end) == (2, 24, 7 + 96)
    np.testing.assert_array_equal(stored.read(), np.arange(24).reshape(4, 6))
    np.testing.assert_array_equal(stored[1:3, ::2], [[6, 8, 10], [12, 14, 16]])
    part = stored[2]
    part[...] = 0  # a copy: the file is as it was
    np.testing.assert_array_equal(stored[2], np.arange(12, 18))


def test_strides(file):
    # Transposed, of every other number: rows 2 apart, columns 12 apart, from number 1 on.
    stored = StoredArray(file, 7 + 4, (3, 2), np.dtype("f4"), (8, 48))
    np.testing.assert_array_equal(stored.read(), [[1, 13], [3, 15], [5, 17]])
    assert stored.end == 7 + 4 + 2 * 8 + 48 + 4


def test_numpy_takes_it_for_an_array(file):
    stored = StoredArray(file, 7, (2, 3), np.dtype("f4"))
    assert np.asarray(stored, np.float64).dtype == np.float64
    assert np.sum(stored) == 15


def test_nothing_is_read_of_an_empty_array():
    assert StoredArray("nowhere", 0, (0, 3), np.dtype("f4"))[:, 1:].shape == (0, 2)


def test_a_file_cut_short_and_one_that_is_gone(file):
    with pytest.raises(UserError, match="has 103 bytes, expected at least 107: it is cut short"):
        StoredArray(file, 7, (25,), np.dtype("f4")).read()
    with pytest.raises(UserError, match="cannot read nowhere: No such file"):
        StoredArray("nowhere", 0, (1,), np.dtype("f4")).read()


@pytest.mark.parametrize("shape", [(), (1,), (3, 5), (2, 3, 4)])
def test_aligned(shape):
    x = np.ones(shape, np.float16).T
    found = aligned(x)
    assert found.ctypes.data % 64 == 0 and found.flags.c_contiguous
    assert (found.dtype, found.shape) == (np.float32, x.shape)
    np.testing.assert_array_equal(found, x)
