"""Counts in words."""

import numpy as np
import pytest

from maskgit_prompt.counts import counted, share


@pytest.mark.parametrize(
    ("number", "what", "text"),
    [
        (0, "image", "0 images"),
        (1, "image", "1 image"),
        (2, "image", "2 images"),
        (1, "class", "1 class"),
        (1200, "class", "1,200 classes"),
        (np.int64(1), "image", "1 image"),
        (np.int64(2), "image", "2 images"),
    ],
)
def test_one_of_a_thing_and_several(number, what, text):
    assert counted(number, what) == text


def test_a_share_is_of_as_many_as_there_are():
    assert share(1, 9, "image") == "1 of 9 images"
    assert share(1, 1, "image") == "1 of 1 image"
