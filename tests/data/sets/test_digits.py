"""scikit-learn's digits as an ImageSet."""

import numpy as np
from sklearn.datasets import load_digits

from maskgit_prompt.data.pixels import Preprocessing
from maskgit_prompt.data.sets.digits import digits


def bicubic(size, **options):
    return Preprocessing(size, resample="bicubic", **options)


def test_ink_is_scaled_to_full_range_without_enlarging():
    pixels = digits(bicubic(8)).read(np.arange(20))  # [20, 8, 8, 3]
    scans = load_digits().images[:20]
    for ink, value in ((0, 0), (4, 64), (5, 80), (8, 128), (12, 191), (15, 239), (16, 255)):
        here = pixels[scans == ink]
        assert len(here) and (here == value).all(), ink
    assert (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 0] == pixels[..., 2]).all()


def test_the_set_is_whole_and_enlarged():
    images = digits(bicubic(32))
    assert len(images) == 1797 and images.classes == tuple("0123456789")
    assert images.labels.dtype == np.int32 and list(images.labels[:3]) == [0, 1, 2]
    assert images.ids[17] == "digits/0017"
    pixels = images.read(np.array([5, 3, 5]))
    assert pixels.shape == (3, 32, 32, 3) and pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels[0], pixels[2])
    # Bright ink on black: a border column is dark, something is bright.
    assert pixels[:, :, 0].mean() < 20 and pixels.max() > 220


def test_the_fingerprint_follows_the_size():
    assert (
        digits(bicubic(16)).fingerprint
        == digits(bicubic(16)).fingerprint
        != digits(bicubic(32)).fingerprint
    )


def test_the_fingerprint_is_that_of_workdirs_that_exist():
    assert digits(bicubic(32)).fingerprint == (
        "c53c1e416fb8e2d5ff675d4d9d24a66bd899fac3086e5a8f8d7ece687917e661"
    )


def test_the_fingerprint_follows_the_gain_and_the_filter_and_not_the_fit():
    # The scans are square: nothing is cut off.
    plain, resized = digits(bicubic(16)), digits(bicubic(16, fit="resize"))
    assert plain.fingerprint == resized.fingerprint
    np.testing.assert_array_equal(plain.read([7]), resized.read([7]))
    others = (digits(Preprocessing(16)), digits(bicubic(16, gain=2)))
    assert len({plain.fingerprint, *(images.fingerprint for images in others)}) == 3
    for images in others:
        assert (images.read([7]) != plain.read([7])).any()
