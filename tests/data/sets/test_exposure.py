"""Images whose white looks wrong are told of, and a full scale that no image takes."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from maskgit_prompt.data import depth
from maskgit_prompt.data.pixels import Preprocessing, examine
from maskgit_prompt.data.sets.folder import image_folder
from tests.data.pictures import encoded, save

GREY, COLOUR, GREY_AND_ALPHA, COLOUR_AND_ALPHA = 0, 2, 4, 6  # of PNG


def png(kind: int, channels: int, value: int = 4095) -> bytes:
    """One value, in 2 x 2 pixels of 16 bits a channel."""
    line = b"\0" + struct.pack(">H", value) * channels * 2
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", 2, 2, 16, kind, 0, 0, 0),
        b"IDAT": zlib.compress(2 * line),
        b"IEND": b"",
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts.items()
    )


def floats(top: float) -> bytes:
    """100 values from top / 100 to top."""
    values = np.arange(1, 101, dtype=np.float32).reshape(10, 10) * top / 100
    return encoded(Image.fromarray(values), "TIFF")


def flags(data: bytes, **options) -> tuple[bool, bool]:
    seen = examine(data, Preprocessing(2, **options))
    return seen.scalable, seen.halved


@pytest.mark.parametrize(
    ("data", "scalable", "halved"),
    [
        (png(GREY, 1), True, False),
        (png(COLOUR, 3), False, True),
        (png(GREY_AND_ALPHA, 2), False, True),
        (png(COLOUR_AND_ALPHA, 4), False, True),
        (floats(1.0), True, False),
        (b"P5 1 1 4095\n" + bytes(2), False, False),
        (encoded(Image.new("RGB", (2, 2))), False, False),
        (encoded(Image.new("L", (2, 2)), "JPEG"), False, False),
    ],
)
def test_which_images_a_full_scale_is_for(data, scalable, halved):
    assert flags(data) == (scalable, halved)


def test_a_full_scale_that_no_image_takes_is_told(tmp_path, warnings):
    folder = tmp_path / "set"
    save(folder / "a.png")
    image_folder(folder, Preprocessing(2, full_scale=4095))
    begin = f"config.data.full_scale = 4095 changes nothing in {folder} "
    why = "it is for greyscale of more than 8 bits in PNG and TIFF"
    assert warnings == [f"{begin}(1 image): {why}"]
    (folder / "b.png").write_bytes(png(COLOUR, 3, 40000))
    (folder / "c.pgm").write_bytes(b"P5 1 1 4095\n" + struct.pack(">H", 2000))
    image_folder(folder, Preprocessing(2, full_scale=4095))
    assert warnings[1:] == [
        f"{begin}(3 images): {why}; images with 16 bits in colour or with transparency, of which "
        "the upper 8 are read: 1; scale their values up to 65535; PGM and JPEG 2000, which state "
        "their own white: 1"
    ]
    (folder / "d.png").write_bytes(png(GREY, 1, 2000))
    found = image_folder(folder, Preprocessing(2, full_scale=4095)).found
    assert len(warnings) == 2
    assert found.notes == ("4095 is white in images of more than 8 bits: 1",)


def test_twelve_bits_in_colour_have_a_way_out_that_helps(tmp_path, warnings):
    (tmp_path / "a.png").write_bytes(png(COLOUR, 3))
    image_folder(tmp_path, Preprocessing(2))
    assert warnings == [
        f"nearly black: 1 of 1 image in {tmp_path} (a.png); 1 with 16 bits in colour or with "
        "transparency, of which the upper 8 are read: scale their values up to 65535"
    ]


def test_what_nearly_all_values_are_not_below():
    assert depth.darkest(np.array([*range(100), np.nan, -np.inf]).reshape(2, 51)) == 1.0
    assert depth.darkest(np.array([[np.nan]])) == 0.0


def test_an_image_above_the_scale_of_most_is_told_to_be_white(tmp_path, warnings):
    for name, top in (("a", 1.0), ("b", 0.9), ("c", 300.0)):
        (tmp_path / f"{name}.tif").write_bytes(floats(top))
    image_folder(tmp_path, Preprocessing(10))
    assert warnings == [
        f"nearly white: 1 of 3 images in {tmp_path} (c.tif); if they should not be, 1 is too low "
        "for white: give a higher --config.data.full_scale"
    ]
    image_folder(tmp_path, Preprocessing(10, full_scale=0.005))
    assert warnings[1].startswith(f"nearly white: 3 of 3 images in {tmp_path} (a.tif, b.tif, ")


@pytest.mark.parametrize(
    ("red", "alpha", "bright"),
    [(255, 255, True), (236, 255, True), (230, 255, False), (255, 0, False)],
)
def test_white_is_opaque_where_alpha_is_kept(red, alpha, bright):
    data = encoded(Image.new("RGBA", (4, 4), (red, 255, 255, alpha)))
    assert examine(data, Preprocessing(4, alpha=True)).bright == bright


def test_white_pages_are_told(tmp_path, warnings):
    save(tmp_path / "page.png", (255, 255, 250))
    save(tmp_path / "photo.png")
    image_folder(tmp_path, Preprocessing(8))
    assert warnings == [f"nearly white: 1 of 2 images in {tmp_path} (page.png)"]
