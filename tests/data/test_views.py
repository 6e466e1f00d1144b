"""Views for pretraining: what is cut out, where it lies, on which ground."""

import dataclasses

import numpy as np
import pytest

from maskgit_prompt.data.images import ImageSet
from maskgit_prompt.data.views import ViewConfig, ViewMaker
from maskgit_prompt.errors import UsageError

RED = (200, 0, 0)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def opaque(size: int = 16) -> np.ndarray:
    """Red rises to the right, green downwards; no blue."""
    x = np.arange(size) * 255 // (size - 1)
    across, down = np.meshgrid(x, x)
    return np.stack([across, down, 0 * down], -1).astype(np.uint8)


def icon(size: int = 16) -> np.ndarray:
    """A red square of half the side in the middle of nothing, [S, S, 4]."""
    pixels = np.zeros((size, size, 4), np.uint8)
    quarter = size // 4
    pixels[quarter:-quarter, quarter:-quarter] = (*RED, 255)
    return pixels


def is_red(view: np.ndarray) -> np.ndarray:
    """[S, S] bool; resizing goes a little beyond the colours of an edge."""
    return (view[..., 0] > 150) & (view[..., 1] < 90) & (view[..., 2] < 90)


def test_the_plain_view_is_the_whole_image_on_white():
    config = ViewConfig(16)
    np.testing.assert_array_equal(config.plain(opaque()), opaque())
    view = config.plain(icon())
    assert tuple(view[0, 0]) == (255, 255, 255)
    assert tuple(view[8, 8]) == RED
    half = ViewConfig(8).plain(icon())
    assert half.shape == (8, 8, 3)
    assert is_red(half)[3:5, 3:5].all()


def test_an_opaque_image_is_cut_out_of_itself_and_never_mirrored_unless_it_may_be():
    config = ViewConfig(8, zoom=(0.5, 2.0))
    for seed in range(40):
        view = config(opaque(), rng(seed), flip=False).astype(int)
        assert view[4, -1, 0] > view[4, 0, 0]  # red still rises to the right
        assert view[-1, 4, 1] > view[0, 4, 1]
        assert view[..., 2].max() == 0  # nothing from outside of the image
    mirrored = [config(opaque(), rng(seed), flip=True).astype(int) for seed in range(40)]
    falls = sum(view[4, -1, 0] < view[4, 0, 0] for view in mirrored)
    assert 10 < falls < 30


def test_the_square_is_of_the_sizes_that_zoom_says():
    ranges = []
    for seed in range(60):
        view = ViewConfig(16, zoom=(0.5, 1.0))(opaque(64), rng(seed), flip=False)
        ranges.append(np.ptp(view[8, :, 0].astype(int)) / 255)
    assert 0.44 < min(ranges) < 0.56
    assert 0.9 < max(ranges) <= 1.0


def test_a_transparent_image_gets_smaller_and_moves_when_zoom_exceeds_one():
    config = ViewConfig(32, zoom=(2.0, 2.0))
    places = set()
    for seed in range(20):
        red = is_red(config(icon(32), rng(seed), flip=False))
        assert 36 <= red.sum() <= 81  # 8 x 8 of 32 x 32, with soft edges
        places.add((int(red.any(1).argmax()), int(red.any(0).argmax())))
    assert len(places) > 10


def test_grounds_have_their_shares():
    config = ViewConfig(16, grounds=(0.4, 0.2, 0.3, 0.1))
    photograph = lambda rng: np.full((16, 16, 3), (1, 2, 3), np.uint8)
    counts = dict.fromkeys(("white", "black", "photograph", "colour"), 0)
    for seed in range(500):
        view = config(icon(), rng(seed), False, photograph)
        assert tuple(view[8, 8]) == RED
        names = {(255, 255, 255): "white", (0, 0, 0): "black", (1, 2, 3): "photograph"}
        counts[names.get(tuple(view[0, 0].tolist()), "colour")] += 1
    shares = {name: count / 500 for name, count in counts.items()}
    wanted = {"white": 0.4, "black": 0.2, "photograph": 0.1, "colour": 0.3}
    assert all(abs(shares[name] - share) < 0.06 for name, share in wanted.items()), shares


def test_half_transparent_pixels_are_mixed_with_the_ground():
    pixels = np.full((8, 8, 4), (200, 100, 0, 51), np.uint8)  # a fifth
    black = ViewConfig(8, grounds=(0, 1, 0, 0))(pixels, rng(), flip=False)
    assert black[3, 3].tolist() == [40, 20, 0]
    assert ViewConfig(8).plain(pixels)[3, 3].tolist() == [244, 224, 204]


def view_maker(pixels: np.ndarray, photographs=(), seed: int = 0, **config) -> ViewMaker:
    images = ImageSet(
        "set", ("a", "b"), np.array([0, 1, 1]), ("x", "y", "z"), "f", lambda rows: pixels[rows]
    )
    flips = np.array([False, False, False])
    return ViewMaker(images, ViewConfig(8, **config), flips, np.array(photographs, np.int64), seed)


def three() -> np.ndarray:
    """Two icons, and a picture of one colour."""
    return np.stack([icon(), icon()[::-1], np.full((16, 16, 4), (9, 8, 7, 255), np.uint8)])


def test_views_are_functions_of_seed_image_and_number():
    moving = dict(zoom=(0.5, 1.5), grounds=(0.2, 0.2, 0.6, 0.0))
    made = view_maker(three(), **moving)
    views = made(np.array([0, 1, 0, 0]), np.array([3, 3, 3, 4]))
    np.testing.assert_array_equal(views[0], views[2])
    assert (views[0] != views[1]).any() and (views[0] != views[3]).any()
    np.testing.assert_array_equal(made(np.array([0]), np.array([3]))[0], views[0])
    other = view_maker(three(), seed=1, **moving)(np.array([0]), np.array([3]))[0]
    assert (other != views[0]).any()


def test_photographs_of_the_set_are_grounds():
    made = view_maker(three(), photographs=[2], grounds=(0, 0, 0, 1))
    view = made(np.array([0]), np.array([1]))[0]
    assert view[0, 0].tolist() == [9, 8, 7] and is_red(view)[4, 4]
    without = view_maker(three(), grounds=(0, 0, 0, 1))(np.array([0]), np.array([1]))[0]
    assert without[0, 0].tolist() != [9, 8, 7]


def test_stored_views_are_a_set_of_their_own():
    made = view_maker(three(), zoom=(0.5, 1.5))
    stored = made.stored(np.array([2, 0]), 3)
    assert stored.labels.tolist() == [1, 1, 1, 0, 0, 0]
    assert list(stored.ids) == ["z"] * 3 + ["x"] * 3
    np.testing.assert_array_equal(stored.read(np.array([3]))[0], made._config.plain(icon()))
    np.testing.assert_array_equal(
        stored.read(np.array([5, 1])), made(np.array([0, 2]), np.array([2, 1]))
    )
    others = [
        made.stored(np.array([0, 2]), 3),
        made.stored(np.array([2, 0]), 2),
        view_maker(three(), zoom=(0.5, 1.4)).stored(np.array([2, 0]), 3),
        view_maker(three(), zoom=(0.5, 1.5), seed=1).stored(np.array([2, 0]), 3),
    ]
    prints = [stored.fingerprint, *(other.fingerprint for other in others)]
    assert len(set(prints)) == 5
    assert made.stored(np.array([2, 0]), 3).fingerprint == stored.fingerprint


def test_images_are_read_large_enough_for_the_smallest_square():
    assert ViewConfig(64, zoom=(0.5, 1.0)).source_size == 128
    assert ViewConfig(64, zoom=(1.0, 1.5)).source_size == 64
    config = dataclasses.replace(ViewConfig(64), zoom=(0.75, 1.2))
    assert config.source_size == 85


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"zoom": (0.0, 1.0)}, "0 < least <= most"),
        ({"zoom": (1.0, 0.5)}, "0 < least <= most"),
        ({"grounds": (0.5, 0.5, 0.5, 0.0)}, "that sum to 1"),
        ({"grounds": (1.5, -0.5, 0.0, 0.0)}, "that sum to 1"),
    ],
)
def test_scenes_that_make_no_sense(changes, message):
    with pytest.raises(UsageError, match=message):
        ViewConfig(8, **changes)
