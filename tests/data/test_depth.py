"""Which value is white: one rule for every bit depth and format."""

import struct

import numpy as np
import pytest
from PIL import Image

from maskgit_prompt.data import depth
from maskgit_prompt.data.depth import eight_bit, found_scale, value_range
from maskgit_prompt.data.pixels import Preprocessing, decode_image, examine
from maskgit_prompt.data.sets.folder import image_folder
from maskgit_prompt.errors import UsageError
from tests.data.pictures import encoded, save

UNSIGNED, SIGNED = 1, 2


def tiff(rows: list[list[int]], bits: int, kind: int = UNSIGNED) -> bytes:
    """A greyscale TIFF of 12 or 16 bits."""
    height, width = len(rows), len(rows[0])
    if bits == 12:
        digits = "".join("".join(f"{value:03x}" for value in row) for row in rows)
        data = bytes.fromhex(digits)
    else:
        data = np.array(rows, "<i2" if kind == SIGNED else "<u2").tobytes()
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: 1, 273: 0, 277: 1, 278: height}
    tags |= {279: len(data), 339: kind}
    tags[273] = 8 + 2 + 12 * len(tags) + 4  # where the data begin
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, x) for tag, x in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + data


def floats(*rows: list[float]) -> bytes:
    return encoded(Image.fromarray(np.array(rows, np.float32)), "TIFF")


def reds(data: bytes, **options) -> list[list[int]]:
    """Of an image of 2 x 2."""
    return decode_image(data, Preprocessing(2, **options))[..., 0].tolist()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(tiff([[0, 4095], [2048, 16]], 12), [[0, 255], [128, 1]], id="12 bits"),
        pytest.param(tiff([[0, 65535], [32896, 257]], 16), [[0, 255], [128, 1]], id="16 bits"),
        pytest.param(
            tiff([[-5, 32767], [16384, 129]], 16, SIGNED), [[0, 255], [128, 1]], id="16 with a sign"
        ),
        pytest.param(
            b"P5 2 2 4095\n" + np.array([0, 4095, 2048, 16], ">u2").tobytes(),
            [[0, 255], [128, 1]],
            id="PGM up to 4095",
        ),
        pytest.param(b"P2 2 2 15\n0 15 3 1\n", [[0, 255], [51, 17]], id="PGM up to 15"),
        pytest.param(
            encoded(Image.fromarray(np.array([[0, 65535], [257, 0]], np.uint16)), "JPEG2000"),
            [[0, 255], [1, 0]],
            id="JPEG 2000 of 16 bits",
        ),
    ],
)
def test_a_scale_that_the_format_states_holds(data, expected):
    assert reds(data) == expected
    # Nor does a folder's scale change it.
    assert reds(data, unstated_scale=0.5) == expected


def test_an_infinite_value_is_white_and_what_is_no_number_black():
    assert reds(floats([np.inf, np.nan], [-np.inf, 0.2])) == [[255, 0], [0, 51]]


@pytest.mark.parametrize(
    ("ranges", "scale"),
    [
        ([(0.98, 0.98), (1.04, 1.05), (0.9, 300.0)], 1.0),  # a highlight
        ([(0.98, 0.98), (1.04, 1.05), (297.0, 300.0)], 1.0),  # one image of three
        ([(250.0, 255.0)], 255.0),
        ([(260.0, 270.0), (250.0, 255.0)], 255.0),  # edges overshoot
        ([(900.0, 1000.0)], 1023.0),
        ([(3000.0, 4000.0), (0.5, 0.9), (3900.0, 4095.0)], 4095.0),
        ([(65535.0, 65535.0)], 65535.0),
        ([(2e6, 3e6), (2e6, 4e6), (2e6, 1e9)], 4e6),
        ([(0.0, 0.0)], 1.0),
    ],
)
def test_one_scale_is_found_for_all(ranges, scale):
    assert found_scale(np.array(ranges)) == scale


def test_the_range_of_values_leaves_highlights_and_what_is_no_number_out():
    values = np.array([*range(100), np.nan, np.inf], np.float64)
    values[7] = 1000
    assert value_range(values.reshape(2, 51)) == (99.0, 1000.0)
    assert value_range(np.array([[np.nan]])) == (0.0, 0.0)


def test_a_large_image_is_scaled_a_few_rows_at_a_time(monkeypatch):
    values = np.linspace(0, 1, 600).reshape(30, 20)
    values[17, 3] = 9.0
    whole, range_ = np.asarray(eight_bit(values, 1.0)), value_range(values)
    monkeypatch.setattr(depth, "_ENOUGH", 50)
    np.testing.assert_array_equal(np.asarray(eight_bit(values, 1.0)), whole)
    typical, brightest = value_range(values)
    assert brightest == range_[1] == 9.0 and abs(typical - range_[0]) < 0.02


# A folder.


def ramp(path, top: float, highlight: float | None = None) -> None:
    values = np.linspace(0, top, 400, dtype=np.float32).reshape(20, 20)
    if highlight:
        values[0, 0] = highlight
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(values).save(path)


def test_a_highlight_does_not_make_its_image_black_beside_others(tmp_path, warnings):
    for name, top, highlight in (("a", 0.98, None), ("b", 1.05, None), ("c", 0.9, 300.0)):
        ramp(tmp_path / "set" / f"{name}.tif", top, highlight)
    images = image_folder(tmp_path / "set", Preprocessing(20))
    middle = images.pixels()[:, 10, 10, 0].tolist()
    assert middle == [round(255 * top * 210 / 399) for top in (0.98, 1.05, 0.9)]
    assert warnings == []
    assert images.found.notes == (
        "32-bit and float images do not say which value is white: 1 is taken for all 3; brighter "
        "pixels in 2 images; --config.data.full_scale takes another",
    )


def test_an_image_of_another_scale_than_most_is_told_to_be_black(tmp_path, warnings):
    for i in range(3):
        ramp(tmp_path / "set" / f"{i}.tif", 250.0 + i)
    ramp(tmp_path / "set" / "dim.tif", 0.9)
    image_folder(tmp_path / "set", Preprocessing(20))
    assert warnings == [
        f"nearly black: 1 of 4 images in {tmp_path / 'set'} (dim.tif); if they should not be, "
        "give the value that is white, as --config.data.full_scale=4095 for 12 bits"
    ]


def test_twelve_bits_stored_as_sixteen_are_told_and_mended_by_the_setting(tmp_path, warnings):
    (tmp_path / "a.tif").write_bytes(tiff([[100, 3000], [4000, 2000]], 16))
    dark = image_folder(tmp_path, Preprocessing(2))
    assert (
        len(warnings) == 1 and "1 of 1 image " in warnings[0] and "full_scale=4095" in warnings[0]
    )
    bright = image_folder(tmp_path, Preprocessing(2, full_scale=4000))
    assert len(warnings) == 1
    assert bright.pixels()[0, ..., 0].tolist() == [[6, 191], [255, 128]]
    assert bright.fingerprint != dark.fingerprint


def test_black_masks_of_eight_bits_are_told_too(tmp_path, warnings):
    save(tmp_path / "set" / "mask.png", (1, 1, 1))
    save(tmp_path / "set" / "photo.png")
    image_folder(tmp_path / "set", Preprocessing(8))
    assert warnings == [f"nearly black: 1 of 2 images in {tmp_path / 'set'} (mask.png)"]


def test_fingerprints_change_for_the_images_that_a_rule_changes_alone(tmp_path):
    recipe = lambda **options: image_folder(tmp_path, Preprocessing(2, **options)).recipe
    before = "folder-1: exif, 8 bit, on white, centre crop, lanczos|2"
    save(tmp_path / "a.png")
    assert recipe() == recipe(full_scale=4095) == before
    Image.fromarray(np.array([[0, 65535]], np.uint16)).save(tmp_path / "deep.png")
    assert recipe() == before
    assert recipe(full_scale=4095) == f"{before}|full scale 4095"
    (tmp_path / "b.tif").write_bytes(tiff([[0, 4095], [2048, 16]], 12))
    assert recipe() == f"{before}|stated depths"
    (tmp_path / "c.tif").write_bytes(floats([0.0, 1.0]))
    assert recipe() == f"{before}|where none is stated 1|stated depths"


@pytest.mark.parametrize("scale", [-1.0, float("nan"), float("inf")])
def test_a_full_scale_that_makes_no_sense(scale):
    with pytest.raises(UsageError, match=r"config\.data\.full_scale = .*expected the value that"):
        Preprocessing(8, full_scale=scale)


def test_what_was_examined_says_how_deep_an_image_is():
    deep = examine(tiff([[0, 4095], [2048, 16]], 12), Preprocessing(2))
    assert (deep.deep, deep.stated, deep.value_range, deep.dark) == (True, 4095.0, None, False)
    free = examine(floats([0.5, 0.25], [0.0, 0.0]), Preprocessing(2))
    assert (free.deep, free.stated, free.value_range) == (True, None, (0.5, 0.5))
    plain = examine(encoded(Image.new("RGB", (3, 5))), Preprocessing(2))
    assert (plain.deep, plain.size, plain.dark) == (False, (3, 5), True)


def test_values_that_no_grey_level_stands_for_are_told(tmp_path):
    assert depth.lost(np.array([[-1, 0], [np.nan, 4]])) == (
        "25 % of its pixels are below 0 and become black; 25 % of its pixels are not finite: "
        "infinity becomes white, the others black"
    )
    assert depth.lost(np.array([[0.0, 0.5]])) == ""
    pixels = (np.arange(-16, 48, dtype=np.float32) / 48).reshape(8, 8)
    seen = examine(encoded(Image.fromarray(pixels), "TIFF"), Preprocessing(8))
    assert seen.notes == ("25 % of its pixels are below 0 and become black",)


def test_a_picture_without_any_finite_value_is_broken():
    nothing = Image.fromarray(np.full((8, 8), np.nan, np.float32))
    with pytest.raises(ValueError, match="no pixel has a finite value"):
        examine(encoded(nothing, "TIFF"), Preprocessing(8))
