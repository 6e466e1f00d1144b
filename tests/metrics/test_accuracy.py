"""The judge: by hand on flat images, and measured on real handwritten digits."""

import numpy as np
import pytest
from PIL import Image

from maskgit_prompt.errors import UserError
from maskgit_prompt.metrics.accuracy import Judge, grey_pixels


def flat(*values, size=4):
    values = np.array(values, np.uint8)[:, None, None, None]
    return np.broadcast_to(values, (len(values), size, size, 3)).copy()


@pytest.fixture(scope="module")
def digits():
    """scikit-learn's 1797 real scans, enlarged to 32x32, in a seeded order."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    small = np.round(bunch.images * (255 / 16)).astype(np.uint8)
    large = [Image.fromarray(s).resize((32, 32), Image.Resampling.BICUBIC) for s in small]
    images = np.stack([np.asarray(image.convert("RGB")) for image in large])
    order = np.random.default_rng(0).permutation(len(images))
    return images[order], bunch.target[order]


def test_reads_real_digits(digits):
    images, labels = digits
    fitted = int(0.4 * len(images))
    judge = Judge.fit(images[:fitted], labels[:fitted])
    assert judge.accuracy(images[fitted:], labels[fitted:]) >= 0.97
    # Faint noise, such as a tokenizer leaves, must not mislead it.
    noise = np.random.default_rng(1).normal(0, 8, images[fitted:].shape)
    noisy = np.clip(images[fitted:] + noise, 0, 255).astype(np.uint8)
    assert judge.accuracy(noisy, labels[fitted:]) >= 0.97
    # Turned by a quarter they are hardly digits any more: it is the shape that it reads.
    assert judge.accuracy(np.rot90(images[fitted:], axes=(1, 2)), labels[fitted:]) < 0.5


def test_black_and_white():
    judge = Judge.fit(flat(0, 10, 20, 235, 245, 255), [7, 7, 7, 3, 3, 3])
    np.testing.assert_array_equal(judge.predict(flat(5, 250)), [7, 3])
    assert judge.accuracy(flat(0, 30, 225, 255), [7, 7, 3, 7]) == 0.75


def test_features_decide_where_pixels_cannot():
    images, labels = flat(*[9] * 6), [0, 0, 0, 1, 1, 1]
    features = np.array([0, 1, 2, 8, 9, 10])[:, None]
    judge = Judge.fit(images, labels, features)
    assert judge.accuracy(images, labels, features) == 1.0
    with pytest.raises(UserError, match="this judge was trained with features"):
        judge.predict(images)
    with pytest.raises(UserError, match=r"features of shape \(2, 1\) for 6 images"):
        judge.predict(images, features[:2])


def test_too_few_is_a_reason_not_an_error():
    judge, reason = Judge.fit_or_reason(flat(1, 2, 3), [4, 4, 4])
    assert judge is None
    assert reason == "1 class of images to train a classifier on, 2 are needed"
    judge, reason = Judge.fit_or_reason(flat(1, 2, 3, 4, 5), [0, 0, 0, 1, 1])
    assert judge is None
    assert reason == "class 1 has 2 images to train a classifier on, 3 are needed: add images of it"
    judge, reason = Judge.fit_or_reason(flat(), [])
    assert (judge, reason) == (None, "0 classes of images to train a classifier on, 2 are needed")
    judge, reason = Judge.fit_or_reason(flat(1, 2, 3, 4, 5, 6), [0, 0, 0, 1, 1, 1])
    assert isinstance(judge, Judge)
    assert reason is None


def test_errors():
    with pytest.raises(UserError, match="no classifier to judge with: 1 class of images"):
        Judge.fit(flat(1, 2, 3), [4, 4, 4])
    with pytest.raises(UserError, match=r"labels of shape \(2,\) for 3 images"):
        Judge.fit(flat(1, 2, 3), [4, 4])
    judge = Judge.fit(flat(0, 0, 0, 255, 255, 255), [0, 0, 0, 1, 1, 1])
    with pytest.raises(UserError, match=r"labels of shape \(1,\) for 2 images"):
        judge.accuracy(flat(0, 1), [0])


def test_grey_pixels_are_area_means():
    row = np.array([0, 51, 102, 255], np.uint8)[None, None, :, None]
    image = np.broadcast_to(row, (1, 4, 4, 3))
    np.testing.assert_allclose(grey_pixels(image, side=2), [[0.1, 0.7, 0.1, 0.7]])
    # 3 pixels to 2: the middle one is shared, (2/3) 0 + (1/3) 51 and (1/3) 51 + (2/3) 102.
    image = np.broadcast_to(row[:, :, :3], (1, 3, 3, 3))
    np.testing.assert_allclose(grey_pixels(image, side=2)[0, :2] * 255, [17, 85])
    colour = np.zeros((1, 16, 16, 3), np.uint8)
    colour[..., 1] = 255
    np.testing.assert_allclose(grey_pixels(colour), np.full((1, 256), 1 / 3))
