"""What pixels are made of an image file: every mode, every fit."""

import numpy as np
import pytest
from PIL import Image

from maskgit_prompt.data.pixels import FITS, Preprocessing, decode_image
from maskgit_prompt.errors import UsageError
from tests.data.pictures import encoded


def test_sixteen_bits_are_scaled_to_eight():
    values = np.array([[0, 257], [32896, 65535]], np.uint16)
    pixels = decode_image(encoded(Image.fromarray(values)), Preprocessing(2))
    assert pixels.shape == (2, 2, 3)
    assert pixels[..., 0].tolist() == [[0, 1], [128, 255]]
    assert (pixels[..., 0] == pixels[..., 2]).all()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 65535], [257, -5]], np.int32), [[0, 255], [1, 0]]),
        (np.array([[0, 2147483647], [1073741824, 0]], np.int32), [[0, 255], [128, 0]]),
        (np.array([[0.0, 1.0], [0.2, -1.0]], np.float32), [[0, 255], [51, 0]]),
        (np.array([[0.0, 255.0], [51.0, np.nan]], np.float32), [[0, 255], [51, 0]]),
        (np.array([[0.0, 65535.0], [257.0, 514.0]], np.float32), [[0, 255], [1, 2]]),
        (np.array([[0.0, 1e6], [2e5, 0.0]], np.float32), [[0, 255], [51, 0]]),
    ],
)
def test_integers_and_floats_are_scaled_by_their_full_scale(values, expected):
    pixels = decode_image(encoded(Image.fromarray(values), "TIFF"), Preprocessing(2))
    assert pixels[..., 1].tolist() == expected


def test_transparent_images_lie_on_white():
    image = Image.new("RGBA", (2, 2), (0, 0, 0, 0))
    image.putpixel((0, 0), (10, 20, 30, 255))
    image.putpixel((1, 0), (0, 0, 0, 128))
    pixels = decode_image(encoded(image), Preprocessing(2))
    # Half black over white: 255 * (1 - 128/255) = 127.
    assert pixels.tolist() == [[[10, 20, 30], [127] * 3], [[255] * 3, [255] * 3]]


def test_palette_images_with_and_without_transparency():
    image = Image.new("P", (2, 2), 0)
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 1), 1)
    opaque = decode_image(encoded(image), Preprocessing(2))
    assert opaque[0, 0].tolist() == [10, 20, 30] and opaque[1, 1].tolist() == [40, 50, 60]
    see_through = decode_image(encoded(image, transparency=0), Preprocessing(2))
    assert see_through[0, 0].tolist() == [255] * 3 and see_through[1, 1].tolist() == [40, 50, 60]


def test_grey_one_bit_and_cmyk_become_rgb():
    assert (
        decode_image(encoded(Image.new("L", (3, 3), 77)), Preprocessing(3))[1, 1].tolist()
        == [77] * 3
    )
    assert (
        decode_image(encoded(Image.new("1", (3, 3), 1)), Preprocessing(3))[1, 1].tolist()
        == [255] * 3
    )
    cyan = decode_image(
        encoded(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "JPEG"), Preprocessing(8)
    )[4, 4]
    assert cyan[0] < 10 and cyan[1] > 245 and cyan[2] > 245


def test_exif_turns_the_image_upright():
    image = Image.new("RGB", (8, 8), (255, 0, 0))
    image.paste((0, 0, 255), (0, 0, 8, 4))  # blue above red, as stored
    exif = Image.Exif()
    exif[0x0112] = 6  # turn 90 degrees clockwise to show: what was above is now at the right
    for format in ("PNG", "JPEG"):
        options = {} if format == "PNG" else {"quality": 100, "subsampling": 0}
        pixels = decode_image(encoded(image, format, exif=exif, **options), Preprocessing(8))
        assert pixels[4, 6, 2] > 200 > 50 > pixels[4, 6, 0], format
        assert pixels[4, 1, 0] > 200 > 50 > pixels[4, 1, 2], format


def test_the_middle_square_is_cut_out_and_resized_with_antialias():
    image = Image.new("RGB", (12, 4), (255, 0, 0))
    image.paste((0, 255, 0), (4, 0, 8, 4))  # the middle 4 x 4 is green
    assert (decode_image(encoded(image), Preprocessing(4)) == [0, 255, 0]).all()
    checks = np.indices([64, 64]).sum(0) % 2 * 255  # single-pixel black and white
    small = decode_image(encoded(Image.fromarray(checks.astype(np.uint8))), Preprocessing(8))
    assert abs(small.astype(int) - 127).max() <= 2  # without antialias: 0 or 255
    assert decode_image(encoded(Image.new("RGB", (1, 1), (9, 8, 7))), Preprocessing(4))[
        3, 3
    ].tolist() == [9, 8, 7]


def test_a_large_jpeg_decoded_at_reduced_scale_keeps_its_look():
    ramp = np.linspace(0, 255, 512).round().astype(np.uint8)
    image = Image.fromarray(np.tile(ramp, (512, 1)))
    small = decode_image(encoded(image, "JPEG", quality=95), Preprocessing(16))
    assert small.shape == (16, 16, 3)
    # Column c is the mean of 32 columns of the ramp: (32 c + 15.5) / 511 of 255.
    means = (32 * np.arange(1, 15) + 15.5) / 511 * 255
    assert np.abs(small[8, 1:15, 0] - means).max() <= 2


# How an image becomes square.

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def two_by_one() -> bytes:
    """One red pixel, then a green one."""
    image = Image.new("RGB", (2, 1), RED)
    image.putpixel((1, 0), GREEN)
    return encoded(image)


def test_crop_takes_the_middle_and_resize_the_whole_of_a_wide_image():
    crop = decode_image(two_by_one(), Preprocessing(2, "crop"))
    assert crop.tolist() == [[[*RED], [*RED]], [[*RED], [*RED]]]
    resized = decode_image(two_by_one(), Preprocessing(2, "resize"))
    assert resized.tolist() == [[[*RED], [*GREEN]], [[*RED], [*GREEN]]]


def test_resize_keeps_the_ends_of_a_tall_image():
    image = Image.new("RGB", (8, 16), GREEN)
    image.paste(RED, (0, 0, 8, 4))
    image.paste(BLUE, (0, 12, 8, 16))
    brightest = lambda fit: decode_image(encoded(image), Preprocessing(4, fit)).argmax(-1).tolist()
    assert brightest("crop") == [[1] * 4] * 4
    assert brightest("resize") == [[0] * 4, [1] * 4, [1] * 4, [2] * 4]


def test_pad_keeps_the_shape_and_fills_with_the_colour_of_the_edge():
    image = Image.new("RGB", (4, 2), RED)
    image.paste(BLUE, (1, 0, 2, 2))
    padded = decode_image(encoded(image), Preprocessing(4, "pad"))
    middle = [[*RED], [*BLUE], [*RED], [*RED]]
    assert padded.tolist() == [[[*RED]] * 4, middle, middle, [[*RED]] * 4]
    tall = decode_image(
        encoded(image.transpose(Image.Transpose.ROTATE_90)), Preprocessing(4, "pad")
    )
    assert tall[:, 0].tolist() == tall[:, 3].tolist() == [[*RED]] * 4
    # A line across: one pixel at least is left of it.
    line = decode_image(encoded(Image.new("L", (64, 1), 77)), Preprocessing(4, "pad"))
    assert (line == 77).all()


def test_pad_of_a_transparent_image_is_white():
    image = Image.new("RGBA", (8, 4), (0, 0, 0, 0))
    image.paste((255, 0, 0, 255), (3, 1, 5, 3))
    padded = decode_image(encoded(image), Preprocessing(8, "pad"))
    assert (padded[[0, 1, 6, 7]] == 255).all() and padded[4, 4].tolist() == [255, 0, 0]


def test_a_square_image_has_the_same_pixels_with_every_fit_that_keeps_its_edge():
    data = encoded(Image.effect_noise((24, 24), 50))
    fits = [fit for fit in FITS if fit != "inside"]
    crop, *others = (decode_image(data, Preprocessing(8, fit)) for fit in fits)
    for other in others:
        np.testing.assert_array_equal(crop, other)


def test_gain_multiplies_and_is_cut_at_255():
    image = Image.fromarray(np.array([[0, 1], [2, 100]], np.uint8))
    assert decode_image(encoded(image), Preprocessing(2, gain=3))[..., 0].tolist() == [
        [0, 3],
        [6, 255],
    ]


@pytest.mark.parametrize(
    ("resample", "expected"),
    [
        # White and black, made twice as wide: the second column lies 1/4 of a pixel from white and
        # 3/4 from black, which bicubic weighs 0.867 to 0.227 and Lanczos 0.890 to 0.270.
        ("bicubic", [255, 202, 53, 0]),
        ("lanczos", [255, 196, 59, 0]),
    ],
)
def test_the_filter_is_the_one_asked_for(resample, expected):
    image = Image.fromarray(np.array([[255, 0]], np.uint8))
    found = decode_image(encoded(image), Preprocessing(4, "resize", resample=resample))
    assert found[0, :, 0].tolist() == expected


@pytest.mark.parametrize(
    ("options", "recipe"),
    [
        ({}, "centre crop, lanczos|32"),
        ({"resample": "bicubic"}, "centre crop, bicubic|32"),
        ({"fit": "resize"}, "resized straight, lanczos|32"),
        ({"fit": "pad"}, "padded with its edge, lanczos|32"),
        ({"gain": 255}, "centre crop, lanczos|32|255"),
    ],
)
def test_a_recipe_names_everything_that_changes_pixels(options, recipe):
    assert Preprocessing(32, **options).recipe == f"folder-1: exif, 8 bit, on white, {recipe}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((0,), "image size 0: expected at least 1 pixel"),
        ((8, "squash"), "fit 'squash': expected crop or resize or pad"),
    ],
)
def test_preprocessing_that_makes_no_pixels_is_refused(options, message):
    with pytest.raises(UsageError, match=message):
        Preprocessing(*options)
