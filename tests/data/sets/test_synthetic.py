"""Synthetic images: drawn the same every time, every class, both styles, no digit."""

import numpy as np
import pytest

from maskgit_prompt.data.sets import drawing, glyphs, synthetic
from maskgit_prompt.data.sets.synthetic import CLASSES, draw, image_set, label_of
from maskgit_prompt.errors import UsageError, UserError


def test_same_bytes_in_any_order():
    images = image_set(50, seed=3)
    forwards = images.read(np.arange(10, 20))
    backwards = image_set(50, seed=3).read(np.arange(19, 9, -1))
    assert forwards.dtype == np.uint8 and forwards.shape == (10, 32, 32, 3)
    np.testing.assert_array_equal(forwards, backwards[::-1])
    np.testing.assert_array_equal(forwards[4], draw(3, 14))


def test_a_longer_set_begins_with_the_shorter():
    np.testing.assert_array_equal(image_set(4, 1).pixels(), image_set(400, 1).read(np.arange(4)))


def test_another_seed_draws_other_images_of_the_class():
    num = len(CLASSES)
    assert label_of(0, num) == label_of(num, 0) == 0
    assert not np.array_equal(draw(0, num), draw(num, 0))
    assert not np.array_equal(draw(0, 0), draw(0, num))


def test_labels_take_turns_from_the_seed():
    num = len(CLASSES)
    assert [label_of(num - 1, index) for index in range(3)] == [num - 1, 0, 1]
    images = image_set(2 * num, seed=7)
    assert images.labels.dtype == np.int32
    assert images.labels[:2].tolist() == [7, 8]
    assert np.bincount(images.labels, minlength=num).tolist() == [2] * num
    assert len(images) == len(images.ids) == 2 * num and images.ids[1] == "synthetic/7/1"


def test_classes_are_many_and_hold_no_digit():
    assert 120 <= len(CLASSES) == len(set(CLASSES)) <= 200
    chars = [name.split("_")[1] for name in CLASSES if name.startswith(("latin", "greek", "sym"))]
    assert len(chars) > 80
    assert not set(chars) & set("0123456789OoIl")
    assert not any(char.isnumeric() for name in CLASSES for char in name)


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_draws_something(name):
    # A scan needs ink and ground; a texture at least two colours.
    label = CLASSES.index(name)
    for index in (label, label + len(CLASSES)):
        assert np.ptp(draw(0, index).astype(int)) >= 8


def test_two_classes_differ_in_their_mean_scan():
    def mean(name: str) -> np.ndarray:
        label = CLASSES.index(name)
        scans = [draw(0, label + k * len(CLASSES)) for k in range(60)]
        grey = [scan[..., 0] for scan in scans if _is_grey(scan)]
        return np.mean(grey, axis=0)

    # The inside of a disc is full, that of its outline is empty: pixels 15 and 16 are the centre.
    assert mean("solid_disc")[15:17, 15:17].min() > 150
    assert mean("outline_disc")[15:17, 15:17].max() < 60


def _is_grey(image: np.ndarray) -> bool:
    return bool((image == image[..., :1]).all())


def test_half_of_the_images_are_scans():
    images = image_set(4 * len(CLASSES), seed=0).pixels()
    scans = [image for image in images if _is_grey(image)]
    assert 0.45 < len(scans) / len(images) < 0.55
    # As in the real digits, some pixel is (nearly) full in most, and the corners are dark.
    assert np.mean([scan.max() >= 250 for scan in scans]) > 0.6
    assert np.median([scan[0, 0, 0] for scan in scans]) < 10


def test_fingerprint_tells_sets_apart(monkeypatch):
    first = image_set(5, 1, 32).fingerprint
    assert first == image_set(5, 1, 32).fingerprint
    others = [image_set(*args).fingerprint for args in ((6, 1, 32), (5, 2, 32), (5, 1, 48))]
    monkeypatch.setattr(synthetic, "VERSION", "another")
    others.append(image_set(5, 1, 32).fingerprint)
    assert len({first, *others}) == 5


@pytest.mark.parametrize("size", [8, 20, 64])
def test_other_sizes(size):
    pixels = image_set(len(CLASSES), 0, size).pixels()
    assert pixels.shape == (len(CLASSES), size, size, 3)


def test_a_larger_image_shows_the_same_thing():
    # The star of seed 0 at 64 pixels, averaged over 2 x 2, is nearly the one at 32 pixels.
    # Classes take turns, so from the first star on every len(CLASSES)-th index is one.
    scans = []
    for index in range(CLASSES.index("solid_star"), 20 * len(CLASSES), len(CLASSES)):
        small, large = draw(0, index, 32).astype(float), draw(0, index, 64).astype(float)
        if _is_grey(small):
            halved = large.reshape(32, 2, 32, 2, 3).mean(axis=(1, 3))
            scans.append(np.corrcoef(small.ravel(), halved.ravel())[0, 1])
    assert len(scans) >= 5 and min(scans) > 0.9


def test_every_character_has_several_fonts():
    chars = synthetic.CAPITALS + synthetic.SMALL + synthetic.GREEK + synthetic.CYRILLIC
    assert min(len(glyphs.fonts_with(char)) for char in chars) >= 9
    assert min(len(glyphs.fonts_with(char)) for char in synthetic.SYMBOLS) >= 3
    assert glyphs.fonts_with("A")[0] == "DejaVuSans" and "cmr10" in glyphs.fonts_with("A")
    assert "cmr10" not in glyphs.fonts_with("λ")


def test_a_character_no_font_has():
    with pytest.raises(UserError, match=r"no font in .* has '中'; expected one of"):
        glyphs.fonts_with("中")


def test_without_matplotlib(monkeypatch):
    glyphs._font_folder.cache_clear()
    monkeypatch.setattr(glyphs.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="matplotlib is not installed, and its fonts are needed"):
        glyphs._font_folder()


def test_more_weight_is_more_ink():
    def ink(weight: float) -> list[float]:
        rng = np.random.default_rng(0)
        masks = [
            glyphs.glyph(rng, 64, weight, "T"),
            drawing.stroke(rng, 64, weight, "arc"),
            drawing.shape(rng, 64, weight, "star", filled=False),
        ]
        return [float(np.asarray(mask).mean()) for mask in masks]

    assert all(thin < broad for thin, broad in zip(ink(0.1), ink(0.9), strict=True))


@pytest.mark.parametrize(
    "args, message",
    [
        ((0, 0, 32), r"num=0 synthetic images asked for; expected at least 1"),
        ((1, -1, 32), r"seed=-1; expected 0 to 2\*\*63 - 1"),
        ((1, 0, 7), r"size=7 pixels for synthetic images; expected at least 8"),
    ],
)
def test_arguments_out_of_range(args, message):
    with pytest.raises(UsageError, match=message):
        image_set(*args)


def test_index_out_of_range():
    with pytest.raises(IndexError, match="image 5 of a set of 5"):
        image_set(5, 0).read(np.array([5]))
