"""Views of an image: crops, flips, and what names them."""

import numpy as np
import pytest

from maskgit_prompt.data import augment
from maskgit_prompt.data.augment import PLAIN, Views
from maskgit_prompt.errors import UsageError


def test_crop_and_flip_on_digits():
    pixels = np.arange(16, dtype=np.uint8).reshape(4, 4, 1).repeat(3, axis=2)
    rng = np.random.default_rng(0)
    plain, mirrored = pixels.tolist(), pixels[:, ::-1].tolist()
    shown = [augment.random_crop_flip(0.0)(pixels, rng).tolist() for _ in range(20)]
    assert all(view in (plain, mirrored) for view in shown)
    assert plain in shown and mirrored in shown
    unflipped = augment.random_crop_flip(0.0, flip=False)
    assert all(unflipped(pixels, rng).tolist() == plain for _ in range(20))
    crops = [augment.random_crop_flip(0.5, flip=False)(pixels, rng) for _ in range(20)]
    assert all(crop.shape == (4, 4, 3) and crop.dtype == np.uint8 for crop in crops)
    assert all((np.diff(crop[0, :, 0].astype(int)) >= 0).all() for crop in crops)  # not mirrored
    assert len({crop.tobytes() for crop in crops}) > 4


def test_max_crop_is_a_share():
    with pytest.raises(UsageError, match="max_crop 1.5: expected a share of the side"):
        augment.random_crop_flip(1.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "views 0: expected at least 1"),
        ({"count": 2}, "views 2 without view_fn"),
        ({"count": 2, "view_fn": lambda pixels, rng: pixels}, "does not tell its settings"),
    ],
)
def test_views_that_cannot_be_made_or_named_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        Views(**options)


def test_what_makes_views_and_their_seed_count_only_where_there_are_any():
    crop = augment.random_crop_flip(0.25)
    assert Views(1, crop, 7).key == PLAIN.key == [1]
    assert Views(2, crop, 7).key == [2, "RandomCropFlip(max_crop=0.25, flip=True)", 7]
