"""Boxes and their bins, in digits."""

import numpy as np
import pytest

from maskgit_prompt.data import boxes
from maskgit_prompt.data.pixels import Preprocessing
from maskgit_prompt.data.sets.image_text import image_text
from maskgit_prompt.errors import UsageError, UserError
from tests.data.drawn_examples import csv_of, folder

BOX, SIZE = [(64, 48, 480, 240)], [(640, 480)]


@pytest.mark.parametrize(("side", "bins"), [(512, [100, 100, 749, 500]), (256, [50, 50, 375, 250])])
def test_bins_by_hand(side, bins):
    assert boxes.to_bins(BOX, SIZE, side).tolist() == [bins]


def test_the_whole_image_takes_all_bins_at_512_only():
    assert boxes.to_bins([(0, 0, 640, 480)], SIZE, 512).tolist() == [[0, 0, 999, 999]]
    assert boxes.to_bins([(0, 0, 640, 480)], SIZE, 480).tolist() == [[0, 0, 937, 937]]
    assert boxes.to_bins([(0, 0, 9, 3)], [(9, 3)], 64, bins=65, frame=64).tolist() == [
        [0, 0, 64, 64]
    ]


def test_back_within_half_a_bin():
    rng = np.random.default_rng(0)
    sizes = rng.integers(50, 900, (100, 2))
    found = rng.uniform(0, 1, (100, 4)) * np.tile(sizes, 2)
    again = boxes.from_bins(boxes.to_bins(found, sizes, 480), sizes, 480)
    bin_ = np.tile(sizes, 2) / 480 * 512 / 999  # pixels
    assert (np.abs(again - found) <= bin_ / 2 + 1e-9).all()


def test_as_text():
    assert boxes.to_text(np.array([1, 20, 300, 0])) == "<bin_1> <bin_20> <bin_300> <bin_0>"
    assert boxes.from_text("<bin_1> <bin_20> <bin_300> <bin_0>") == (1, 20, 300, 0)
    assert boxes.from_text(" <bin_1><bin_2><bin_3><bin_4>") == (1, 2, 3, 4)
    for text in ("", "<bin_1> <bin_2> <bin_3>", "<bin_1> <bin_2> <bin_3> <bin_4> x", "a box"):
        assert boxes.from_text(text) is None


def test_larger_images_than_the_frame():
    with pytest.raises(UsageError, match="images of 640 pixels: bins reach to 512 pixels only"):
        boxes.to_bins(BOX, SIZE, 640)


def read(path, *lines):
    examples = image_text(csv_of(folder(path), *lines), Preprocessing(8, fit="resize"))
    return boxes.of_examples(examples)


def test_boxes_of_examples(tmp_path):
    found = read(tmp_path, 'red.png,a,"1.5,2,39,20"', 'blue.png,b,"-0.5, 0, 20.9, 30"')
    assert found.tolist() == [[1.5, 2, 39, 20], [0, 0, 20, 30]]  # less than a pixel is cut off


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            "1,2,30,22",
            r"train.csv, line 3: the box 1,2,30,22 is outside the image of 40 x 20 pixels",
        ),
        (
            "1,2,42,10",
            r"line 3: the box 1,2,42,10 is outside the image of 40 x 20 pixels: expected",
        ),
        ("-2,2,30,10", r"line 3: the box -2,2,30,10 is outside the image"),
        (
            "30,2,10,9",
            r"line 3: the box 30,2,10,9 is empty: expected left < right and top < bottom",
        ),
        ("3,9,10,9", r"line 3: the box 3,9,10,9 is empty"),
        ("40.2,0,40.6,9", r"line 3: the box 40.2,0,40.6,9 is empty"),
        (
            "1,2,3",
            r"train.csv, line 3: '1,2,3' is not a box: expected \"left,top,right,bottom\" in",
        ),
        ("1,2,3,4&&1,2,3,5", r"line 3: '1,2,3,4 and 1,2,3,5' is not a box"),
    ],
)
def test_what_is_not_a_box_of_its_image(tmp_path, target, message):
    with pytest.raises(UserError, match=message):
        read(tmp_path, 'blue.png,b,"0,0,20,30"', f'red.png,a,"{target}"')
