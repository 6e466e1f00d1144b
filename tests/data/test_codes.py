"""The codes file, once it is built: read like an array, some rows of it, refused."""

import numpy as np
import pytest

from maskgit_prompt.data import augment
from tests.data.building import Encoder, build


def test_codes_are_indexed_like_an_array(tmp_path):
    flip = augment.random_crop_flip(0.0)
    built = build(tmp_path, Encoder(), views=augment.Views(3, flip))
    whole = np.asarray(built.codes)
    rows, which = np.array([9, 0, 4, 4]), np.array([2, 0, 1, 0])
    for key in [
        0,
        -1,
        (7, 2),
        (7, 2, 1),
        slice(2, 8),
        (slice(None), 0),
        (slice(1, 9, 2), slice(1, 3), 0),
        rows,
        (rows, 1),
        (rows, which),
        (rows, slice(0, 2)),
        whole[:, 0, 0] > 6,
        [3, 1],
    ]:
        np.testing.assert_array_equal(built.codes[key], whole[key], err_msg=str(key))
    with pytest.raises(IndexError, match="out of bounds"):
        built.codes[10]
    with pytest.raises(TypeError, match="the first index of codes is"):
        built.codes[..., 0]


def test_the_largest_code_is_kept(tmp_path):
    built = build(tmp_path, Encoder(offset=65435))
    assert built.codes[0, 0].tolist() == [65435, 65535, 65435]


def test_some_rows_are_taken_without_reading(tmp_path):
    built = build(tmp_path, Encoder())
    some = built.codes.take(np.array([9, 2, 2]))
    assert some.shape == (3, 1, 3) and some[:, 0, 0].tolist() == [9, 2, 2]
    assert some.take([2, 0])[:, 0, 0].tolist() == [2, 9]
    assert np.asarray(some)[:, 0, 0].tolist() == [9, 2, 2]
