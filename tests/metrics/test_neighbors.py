"""Near-copies: which training image is nearest, what counts as a copy, and what must not."""

import numpy as np
import pytest
from scipy import ndimage

from maskgit_prompt.errors import UserError
from maskgit_prompt.metrics import neighbors
from maskgit_prompt.metrics.neighbors import Looks, Nearest, near_copies, nearest


def flat(*values, size=4):
    """One image of each grey value."""
    values = np.array(values, np.uint8)[:, None, None, None]
    return np.broadcast_to(values, (len(values), size, size, 3)).copy()


def row(*values):
    """An image of one row of grey pixels in 0..255, [1, 1, n, 3]."""
    return np.repeat(np.array(values, np.uint8)[None, None, :, None], 3, axis=3)


def shades(images):
    """Features [n, 1]: the mean grey level."""
    return images.mean(axis=(1, 2, 3))[:, None]


def looks(images):
    return Looks(images, shades(images))


# --- Distances by hand -----------------------------------------------------------------------


def test_the_pixel_distance_is_over_the_contrast_of_both():
    """As in the docstring: an image and its negative, an image and grey."""
    found = neighbors.pixel_distances(row(0, 255), np.concatenate([row(255, 0), row(0, 255)]))
    np.testing.assert_allclose(found, [[np.sqrt(2), 0]], rtol=1e-4)
    # Grey is 128 / 255, all but 1/2, and a quarter of the mean colours' difference counts.
    assert neighbors.pixel_distances(row(0, 255), row(128, 128)) == pytest.approx(1, abs=1e-3)


def test_a_quarter_of_the_mean_colour_counts():
    """Flat images of shades 8 apart have a difference of 2 grey levels, over one grey level."""
    found = neighbors.pixel_distances(flat(100), flat(108, 100))
    np.testing.assert_allclose(found, [[2, 0]], atol=1e-6)


def test_a_pale_image_attracts_nothing():
    """In grey levels the pale one is nearest to each blob; over contrast they are all 1 away."""
    rng = np.random.default_rng(0)
    noise = ndimage.gaussian_filter(rng.normal(size=(23, 32, 32, 3)), (0, 4, 4, 0))
    noise /= noise.std()
    pale = np.clip(235 + 2 * noise[:1], 0, 255).astype(np.uint8)
    pictures = np.clip(200 + 50 * noise[1:3], 0, 255).astype(np.uint8)
    blobs = np.clip(220 + 12 * noise[3:], 0, 255).astype(np.uint8)
    training = np.concatenate([pale, pictures])
    grey_levels = np.sqrt(((blobs[:, None] / 255 - training[None] / 255) ** 2).mean((2, 3, 4)))
    assert (grey_levels.argmin(axis=1) == 0).all()
    found = neighbors.pixel_distances(blobs, training)
    assert found.min() > 0.7


def test_nearest_is_least_in_pixels_times_features():
    """Shades 10, 14 and 30 apart from 100; features make the second the nearest."""
    features = np.array([[5.0], [1.0], [9.0]])
    training = Looks(flat(110, 114, 130), features)
    found = nearest(Looks(flat(100), np.array([[0.0]])), training)
    assert found.index.tolist() == [1]
    np.testing.assert_allclose(found.pixel, [14 / 4])
    np.testing.assert_allclose(found.feature, [1.0])


def test_without_features_pixels_decide():
    found = nearest(Looks(flat(100), None), Looks(flat(114, 110, 130), None))
    assert (found.index.tolist(), found.feature) == ([1], None)


def test_the_first_of_equal_ones_is_nearest_and_an_equal_one_comes_before_all():
    found = nearest(looks(flat(9, 200)), looks(flat(1, 200, 9, 9, 200)))
    assert found.index.tolist() == [2, 1]
    # A product of 0 by the feature alone does not hide the equal image behind it.
    same = np.zeros((3, 1))
    found = nearest(Looks(flat(9), same[:1]), Looks(flat(1, 20, 9), same))
    assert found.index.tolist() == [2]


def test_blocks_of_images_give_the_same(monkeypatch):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (30, 32, 32, 3)).astype(np.uint8)
    one = nearest(looks(images[:20]), looks(images[10:]))
    monkeypatch.setattr(neighbors, "_BLOCK_NUMBERS", 50)
    some = nearest(looks(images[:20]), looks(images[10:]))
    np.testing.assert_array_equal(one.index, some.index)
    np.testing.assert_allclose(one.pixel, some.pixel, rtol=1e-12)
    assert one.index[10:].tolist() == list(range(10))


@pytest.mark.parametrize("down", (-1, 0, 1))
@pytest.mark.parametrize("right", (-1, 0, 1))
@pytest.mark.parametrize("side", (32, 64))
def test_an_image_that_is_slid_by_a_32nd_is_equal(down, right, side):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, side, side, 3)).astype(np.uint8)
    step = side // 32
    slid = np.roll(images, (step * down, step * right), axis=(1, 2))
    got = nearest(looks(slid), looks(images))
    assert got.index.tolist() == [0, 1, 2, 3]
    assert got.pixel.tolist() == [0, 0, 0, 0]
    farther = np.roll(images, (2 * step, 0), axis=(1, 2))
    assert nearest(looks(farther), looks(images)).pixel.min() > 0.3


# --- Counting by hand ------------------------------------------------------------------------


def found(pixel, feature, index=None) -> Nearest:
    index = np.zeros(len(pixel), np.int64) if index is None else np.array(index)
    return Nearest(index, np.array(pixel, float), np.array(feature, float))


HELD_OUT = found(np.arange(1, 52) / 10, np.arange(1, 52))


def test_a_copy_is_near_in_both():
    """The docstring's: of 51 held-out images the thresholds are those of the second, 0.2 and 2."""
    generated = found([0.15, 0.15, 0.25], [1.5, 3, 1.5], [1, 1, 0])
    got = near_copies(generated, HELD_OUT, ["a.png", "b.png"], 50)
    assert got["threshold"] == {"pixel": pytest.approx(0.2), "feature": pytest.approx(2)}
    assert (got["count"], got["fraction"], got["copied"]) == (1, 1 / 3, {"b.png": 1})
    assert [pair["copy"] for pair in got["pairs"]] == [True, False, False]
    assert got["median"] == {"pixel": 0.15, "feature": 1.5}
    assert got["median_heldout"] == {"pixel": pytest.approx(2.6), "feature": 26}


def test_pairs_are_the_nearest_and_name_both_images():
    generated = found([0.5, 0.1, 0.3] * 5, [2, 9, 2] * 5, [0, 1, 0] * 5)
    pairs = near_copies(generated, HELD_OUT, ["a.png", "b.png"], 50)["pairs"]
    assert len(pairs) == neighbors.PAIRS
    # Products 1, 0.9, 0.6: the third of each three first, then the second.
    assert [pair["generated"] for pair in pairs] == [2, 5, 8, 11, 14, 1, 4, 7, 10, 13, 0, 3]
    assert pairs[0] == {
        "generated": 2,
        "training": 0,
        "image": "a.png",
        "pixel": 0.3,
        "feature": 2.0,
        "copy": False,
    }


def test_images_that_are_copied_most_come_first():
    generated = found([0.1] * 4, [1] * 4, [2, 0, 2, 1])
    got = near_copies(generated, HELD_OUT, ["a", "b", "c"], 50)
    assert list(got["copied"].items()) == [("c", 2), ("a", 1), ("b", 1)]


def test_too_few_held_out_images_give_pairs_but_no_count():
    generated = found([0.15, 0.0], [1.5, 0.0])
    for heldout in (found([0.1] * 49, [1] * 49), None):
        got = near_copies(generated, heldout, ["a"], 50)
        assert (got["count"], got["fraction"], got["threshold"]) == (None, None, None)
        assert [pair["copy"] for pair in got["pairs"]] == [True, False]  # the equal one


def test_held_out_images_that_equal_a_training_image_set_no_threshold():
    equal = found([0.0] * 49, [0.0] * 49)
    joined = found([*equal.pixel, *HELD_OUT.pixel], [*equal.feature, *HELD_OUT.feature])
    generated = found([0.15, 0.0], [1.5, 0.0])
    assert near_copies(generated, joined, ["a"], 50)["count"] == 2
    assert near_copies(generated, equal, ["a"], 49)["count"] is None


def test_an_equal_image_is_a_copy_whatever_its_features():
    """As of an image that is slid: the network sees its edges elsewhere."""
    got = near_copies(found([0.0, 0.01], [9, 9]), HELD_OUT, ["a"], 50)
    assert [pair["copy"] for pair in got["pairs"]] == [True, False]
    assert got["count"] == 1


def test_what_is_far_apart_is_no_copy_whatever_is_held_out():
    heldout = found([0.9] * 60, [9.0] * 60)
    got = near_copies(found([0.41, 0.39], [1, 1]), heldout, ["a"], 50)
    assert got["threshold"]["pixel"] == neighbors.FARTHEST == 0.4
    assert got["count"] == 1


def test_without_features_nothing_is_counted():
    pixels = Nearest(np.zeros(60, int), np.full(60, 0.5), None)
    got = near_copies(Nearest(np.zeros(1, int), np.array([0.1]), None), pixels, ["a"], 50)
    assert got["count"] is None
    assert got["median"] == {"pixel": 0.1, "feature": None}


# --- Pictures: what is a copy to the eye -------------------------------------------------------


def pictures(count: int, seed: int) -> np.ndarray:
    """Shapes of several colours on light grounds, 32 x 32, no two alike."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:32, :32] / 31
    images = np.empty((count, 32, 32, 3))
    for image in images:
        image[:] = rng.uniform(180, 255, 3)
        for _ in range(3):
            cx, cy, width, height = *rng.uniform(0.2, 0.8, 2), *rng.uniform(0.08, 0.4, 2)
            inside = ((x - cx) / width) ** 2 + ((y - cy) / height) ** 2 < 1
            image[inside] = rng.uniform(0, 255, 3)
    return images.astype(np.uint8)


def coarse(images: np.ndarray) -> np.ndarray:
    """Features [n, 48]: colours of 4 x 4 fields, less most of the image's: small changes count
    for little, as with a network."""
    fields = images.reshape(len(images), 4, 8, 4, 8, 3).mean(axis=(2, 4))
    fields -= 0.75 * fields.mean(axis=(1, 2), keepdims=True)
    return fields.reshape(len(images), -1)


def blurred(images, sigma):
    return ndimage.gaussian_filter(images.astype(float), (0, sigma, sigma, 0)).round()


TRAINING = pictures(60, seed=1)
NOISE = np.random.default_rng(2).normal(size=TRAINING.shape)
KINDS = {
    "equal": TRAINING,
    "slightly blurred": blurred(TRAINING, 0.7),
    "blurred": blurred(TRAINING, 1.2),
    "a pixel to the right": np.pad(TRAINING, [(0, 0), (0, 0), (1, 0), (0, 0)], "edge")[:, :, :-1],
    "a pixel down": np.pad(TRAINING, [(0, 0), (1, 0), (0, 0), (0, 0)], "edge")[:, :-1],
    "a pixel up and left": np.pad(TRAINING, [(0, 0), (0, 1), (0, 1), (0, 0)], "edge")[:, 1:, 1:],
    "darker": TRAINING * 0.85,
    "lighter": 255 - (255 - TRAINING) * 0.85,
    "noisy": TRAINING + 8 * NOISE,
}
NO_COPIES = {
    "other pictures": pictures(60, seed=4),
    "blobs": 220 + 250 * blurred(100 * NOISE, 6) / 100,
    "faint blobs": 235 + 60 * blurred(100 * NOISE, 5) / 100,
    "textures": 128 + 60 * NOISE,
    "white": np.full_like(TRAINING, 255),
    "the mean image": np.repeat(TRAINING.mean(axis=0, keepdims=True), 60, axis=0),
    "other pictures, blurred": blurred(pictures(60, seed=4), 3),
}


def count(images) -> tuple[float, np.ndarray]:
    see = lambda images: Looks(images, coarse(images))
    images = np.clip(images, 0, 255).round().astype(np.uint8)
    # An almost white picture among those tuned on, which shapeless images are near to.
    training = np.concatenate([TRAINING, np.full((1, 32, 32, 3), 250, np.uint8)])
    training[-1, 15:18, 15:18] -= 10
    held = nearest(see(pictures(200, seed=3)), see(training))
    generated = nearest(see(images), see(training))
    names = [str(i) for i in range(len(training))]
    return near_copies(generated, held, names, 50)["fraction"], generated.index


@pytest.mark.parametrize("kind", KINDS)
def test_copies_are_found_and_named(kind):
    share, index = count(KINDS[kind])
    assert share >= 0.95
    assert np.mean(index == np.arange(60)) >= 0.95


@pytest.mark.parametrize("kind", NO_COPIES)
def test_what_is_no_copy_to_the_eye_does_not_count(kind):
    share, _ = count(NO_COPIES[kind])
    assert share <= 0.02


def test_bad_images():
    with pytest.raises(
        UserError, match=r"compared images are float64 \[1, 4, 4, 3\]: expected uin"
    ):
        Looks(flat(0) / 255.0, None)
    with pytest.raises(UserError, match="0 compared images: at least 1 are needed"):
        Looks(flat(), None)
    with pytest.raises(UserError, match="images of 4x4 and of 8x8 pixels: expected one size"):
        nearest(looks(flat(0)), looks(flat(0, size=8)))
    with pytest.raises(UserError, match="features of image 0 .* are NaN or infinite"):
        Looks(flat(0), np.array([[np.nan]]))
