"""Which files are images, who reads them, and where libraries' warnings go."""

import concurrent.futures
import importlib.util
import io
import logging
import sys
import threading
import warnings as warnings_lib

import numpy as np
import PIL
import pytest
from PIL import Image, ImageFile

from maskgit_prompt.data import formats
from maskgit_prompt.data.pixels import Preprocessing, examine
from maskgit_prompt.data.sets.folder import image_folder
from maskgit_prompt.errors import UsageError, UserError
from tests.data.pictures import encoded, save

NOISE = Image.effect_noise((64, 64), 50).convert("RGB")


@pytest.mark.parametrize(
    ("format", "names"),
    [
        ("JPEG", ("a.jpg", "b.JFIF", "c.jpe", "d.jif", "e.Jpeg")),
        ("AVIF", ("a.avif",)),
        ("WEBP", ("a.webp",)),
        ("JPEG2000", ("a.jp2", "b.j2k", "c.jpx")),
        ("PPM", ("a.ppm", "b.pnm")),
        ("TGA", ("a.tga",)),
        ("ICO", ("a.ico",)),
        ("PCX", ("a.pcx",)),
        ("QOI", ("a.qoi",)),
        ("BMP", ("a.bmp", "b.dib")),
        ("PNG", ("a.png", "b.apng", "mislabelled.jpg")),
    ],
)
def test_endings_of_images_are_read_in_any_case(format, names, tmp_path, warnings):
    for i, name in enumerate(names):
        shade = Image.new("RGB", (32, 32), (200, 10 * i, 90))
        (tmp_path / name).write_bytes(encoded(shade, format))
    images = image_folder(tmp_path, Preprocessing(16))
    assert images.ids == tuple(sorted(names)) and warnings == []
    assert np.abs(images.pixels()[:, 8, 8].astype(int)[:, [0, 2]] - [200, 90]).max() <= 4


def test_a_lone_bitmap_a_portable_graymap_and_floats_are_images(tmp_path):
    (tmp_path / "a.pbm").write_bytes(encoded(Image.new("1", (8, 8), 1), "PPM"))
    (tmp_path / "b.pgm").write_bytes(encoded(Image.new("L", (8, 8), 77), "PPM"))
    (tmp_path / "c.pfm").write_bytes(encoded(Image.new("F", (8, 8), 0.2), "PPM"))
    assert image_folder(tmp_path, Preprocessing(4)).pixels()[:, 0, 0, 0].tolist() == [255, 77, 51]


def test_what_is_not_an_image_is_not_one():
    assert not any(map(formats.is_image, ("a.txt", "png", "a.png.zip", "a.svg", "a.nef", "jpg/a")))


# HEIC.

HEADER = b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf" + bytes(64)


def test_heic_without_its_package_names_the_extra(tmp_path, warnings, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # not installed
    formats._read_heif.cache_clear()
    (tmp_path / "a.heic").write_bytes(HEADER)
    (tmp_path / "b.jpg").write_bytes(HEADER)  # as programs rename it
    save(tmp_path / "c.png")
    assert image_folder(tmp_path, Preprocessing(8)).ids == ("c.png",)
    way_out = "HEIC, which pillow-heif reads: pip install -e '.[heic]'"
    assert warnings == [
        f"skipped 2 of 3 images in {tmp_path}: a.heic ({way_out}), b.jpg ({way_out})"
    ]
    (tmp_path / "c.png").unlink()
    with pytest.raises(UserError, match=r"no images left.* a\.heic \(HEIC, .*\[heic\]'\)"):
        image_folder(tmp_path, Preprocessing(8))


@pytest.mark.skipif(not importlib.util.find_spec("pillow_heif"), reason="the extra heic")
def test_heic_is_read_upright(tmp_path):
    import pillow_heif

    image = Image.new("RGB", (64, 32), (200, 100, 50))
    formats._read_heif.cache_clear()
    buffer = io.BytesIO()
    pillow_heif.from_pillow(image).save(buffer)
    (tmp_path / "a.heic").write_bytes(buffer.getvalue())
    images = image_folder(tmp_path, Preprocessing(16))
    assert np.abs(images.pixels()[0, 8, 8].astype(int) - [200, 100, 50]).max() <= 3
    assert images.found.sizes[0] == (64, 32)


def test_readers_tell_whether_heic_can_be_read(monkeypatch):
    """A kept scan is of these: what was skipped is tried again once the package is there."""
    found = []
    for spec in (None, object()):
        monkeypatch.setattr(formats.importlib.util, "find_spec", lambda name, spec=spec: spec)
        found.append(formats.readers())
    assert found == [f"pillow {PIL.__version__}, {word} heif" for word in ("without", "with")]


# Warnings.

# EXIF of an entry that is cut off.
BAD_EXIF = b"Exif\0\0II*\0\x08\0\0\0\xff\x00garbage"
TOLD = "Corrupt EXIF data. Expecting to read 12 bytes but only got 7."


def test_warnings_of_libraries_are_told_by_file_in_the_one_warning(
    tmp_path, warnings, recwarn, capfd
):
    whole = encoded(NOISE, "TIFF", compression="tiff_lzw")
    middle = len(whole) // 2
    damaged = whole[:middle] + bytes(byte ^ 255 for byte in whole[middle : middle + 40])
    (tmp_path / "bad.tif").write_bytes(damaged + whole[middle + 40 :])
    for name in ("one.jpg", "two.jpg"):
        shade = Image.new("RGB", (8, 8), (200, ord(name[0]), 0))
        (tmp_path / name).write_bytes(encoded(shade, "JPEG", exif=BAD_EXIF))
    images = image_folder(tmp_path, Preprocessing(8))
    assert warnings == [
        f"skipped 1 of 3 images in {tmp_path}: bad.tif (decoder error -2); read 2 of 3 images in "
        f"{tmp_path} with warnings: one.jpg ({TOLD}), two.jpg ({TOLD})"
    ]
    images.pixels()  # read again, not told again
    assert len(warnings) == 1
    assert not recwarn.list and capfd.readouterr() == ("", "")


def test_images_with_warnings_alone_are_told_and_not_skipped(tmp_path, warnings):
    (tmp_path / "a.jpg").write_bytes(encoded(NOISE, "JPEG", exif=BAD_EXIF))
    assert len(image_folder(tmp_path, Preprocessing(8), strict=True)) == 1
    assert warnings == [f"read 1 of 1 image in {tmp_path} with warnings: a.jpg ({TOLD})"]


def test_warnings_go_to_the_thread_that_listens():
    meet = threading.Barrier(2)

    def listen(text: str) -> list[str]:
        with formats.overheard() as lines:
            meet.wait()
            for _ in range(2):
                warnings_lib.warn(f"{text}\nof two  lines", stacklevel=1)
            meet.wait()
            return lines

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        assert list(pool.map(listen, "ab")) == [["a of two lines"], ["b of two lines"]]
    with formats.overheard() as lines:
        logging.getLogger("PIL.TiffImagePlugin").error("%d samples", 9)
        logging.getLogger("PIL.TiffImagePlugin").debug("tag")
    assert lines == ["9 samples"]
    with pytest.warns(UserWarning, match="of nobody"):
        warnings_lib.warn("of nobody", stacklevel=1)


# Limits.


def test_the_limit_of_pixels_is_named_and_raised_by_the_setting(tmp_path, warnings, recwarn):
    Image.new("1", (2000, 1500)).save(tmp_path / "large.png")
    save(tmp_path / "a.png")
    limited = Preprocessing(8, max_pixels=2_999_999)
    assert image_folder(tmp_path, limited).ids == ("a.png",)
    assert warnings == [
        f"skipped 1 of 2 images in {tmp_path}: large.png (2,000 x 1,500 pixels, more than "
        "config.data.max_pixels = 2,999,999)"
    ]
    assert len(image_folder(tmp_path, Preprocessing(8, max_pixels=3_000_000))) == 2


def test_photographs_of_200_megapixels_are_within_the_limit_and_pillow_is_silent(recwarn):
    data = encoded(Image.new("L", (16320, 12240), 90), "JPEG")  # of Samsung's telephones
    assert examine(data, Preprocessing(8)).pixels[0, 0].tolist() == [90] * 3
    assert not recwarn.list


def test_an_image_that_does_not_fit_into_memory_is_skipped_by_name(tmp_path, warnings, monkeypatch):
    save(tmp_path / "a.png")
    Image.new("RGB", (300, 200)).save(tmp_path / "large.bmp")
    load = ImageFile.ImageFile.load

    def full(image):
        if image.width == 300:
            raise MemoryError
        return load(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load", full)
    assert image_folder(tmp_path, Preprocessing(8)).ids == ("a.png",)
    assert warnings == [
        f"skipped 1 of 2 images in {tmp_path}: large.bmp (300 x 200 pixels do not fit into memory)"
    ]


@pytest.mark.parametrize("most", [0, -1])
def test_a_limit_that_makes_no_sense(most):
    with pytest.raises(
        UsageError, match=rf"config\.data\.max_pixels = {most}, expected at least 1"
    ):
        Preprocessing(8, max_pixels=most)
