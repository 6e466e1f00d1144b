"""scikit-learn's digits as an ImageSet."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from maskgit_prompt.data.digits import digits
from maskgit_prompt.errors import UsageError


def test_ink_is_scaled_to_full_range_without_enlarging():
    pixels = digits(size=8).read(np.arange(20))  # [20, 8, 8, 3]
    scans = load_digits().images[:20]
    for ink, value in ((0, 0), (4, 64), (5, 80), (8, 128), (12, 191), (15, 239), (16, 255)):
        here = pixels[scans == ink]
        assert len(here) and (here == value).all(), ink
    assert (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 0] == pixels[..., 2]).all()


def test_the_set_is_whole_and_enlarged():
    images = digits()
    assert len(images) == 1797 and images.classes == tuple("0123456789")
    assert images.labels.dtype == np.int32 and list(images.labels[:3]) == [0, 1, 2]
    assert images.ids[17] == "digits/0017"
    pixels = images.read(np.array([5, 3, 5]))
    assert pixels.shape == (3, 32, 32, 3) and pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels[0], pixels[2])
    # Bright ink on black: a border column is dark, something is bright.
    assert pixels[:, :, 0].mean() < 20 and pixels.max() > 220


def test_the_fingerprint_follows_the_size():
    assert digits(16).fingerprint == digits(16).fingerprint != digits(32).fingerprint


def test_size_zero_is_refused():
    with pytest.raises(UsageError, match="image size 0: expected at least 1 pixel"):
        digits(0)
