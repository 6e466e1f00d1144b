"""The folder reader on every kind of file people keep in folders."""

import os

import numpy as np
import pytest
from PIL import Image

from maskgit_prompt.data import folder as folder_lib
from maskgit_prompt.data import images as images_lib
from maskgit_prompt.data import scan
from maskgit_prompt.data.folder import decode_image, image_folder
from maskgit_prompt.errors import UsageError, UserError
from tests.data.pictures import encoded, save

# What pixels come out.


def test_sixteen_bits_are_scaled_to_eight():
    values = np.array([[0, 257], [32896, 65535]], np.uint16)
    pixels = decode_image(encoded(Image.fromarray(values)), 2)
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
    pixels = decode_image(encoded(Image.fromarray(values), "TIFF"), 2)
    assert pixels[..., 1].tolist() == expected


def test_transparent_images_lie_on_white():
    image = Image.new("RGBA", (2, 2), (0, 0, 0, 0))
    image.putpixel((0, 0), (10, 20, 30, 255))
    image.putpixel((1, 0), (0, 0, 0, 128))
    pixels = decode_image(encoded(image), 2)
    # Half black over white: 255 * (1 - 128/255) = 127.
    assert pixels.tolist() == [[[10, 20, 30], [127] * 3], [[255] * 3, [255] * 3]]


def test_palette_images_with_and_without_transparency():
    image = Image.new("P", (2, 2), 0)
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 1), 1)
    opaque = decode_image(encoded(image), 2)
    assert opaque[0, 0].tolist() == [10, 20, 30] and opaque[1, 1].tolist() == [40, 50, 60]
    see_through = decode_image(encoded(image, transparency=0), 2)
    assert see_through[0, 0].tolist() == [255] * 3 and see_through[1, 1].tolist() == [40, 50, 60]


def test_grey_one_bit_and_cmyk_become_rgb():
    assert decode_image(encoded(Image.new("L", (3, 3), 77)), 3)[1, 1].tolist() == [77] * 3
    assert decode_image(encoded(Image.new("1", (3, 3), 1)), 3)[1, 1].tolist() == [255] * 3
    cyan = decode_image(encoded(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "JPEG"), 8)[4, 4]
    assert cyan[0] < 10 and cyan[1] > 245 and cyan[2] > 245


def test_exif_turns_the_image_upright():
    image = Image.new("RGB", (8, 8), (255, 0, 0))
    image.paste((0, 0, 255), (0, 0, 8, 4))  # blue above red, as stored
    exif = Image.Exif()
    exif[0x0112] = 6  # turn 90 degrees clockwise to show: what was above is now at the right
    for format in ("PNG", "JPEG"):
        options = {} if format == "PNG" else {"quality": 100, "subsampling": 0}
        pixels = decode_image(encoded(image, format, exif=exif, **options), 8)
        assert pixels[4, 6, 2] > 200 > 50 > pixels[4, 6, 0], format
        assert pixels[4, 1, 0] > 200 > 50 > pixels[4, 1, 2], format


def test_the_middle_square_is_cut_out_and_resized_with_antialias():
    image = Image.new("RGB", (12, 4), (255, 0, 0))
    image.paste((0, 255, 0), (4, 0, 8, 4))  # the middle 4 x 4 is green
    assert (decode_image(encoded(image), 4) == [0, 255, 0]).all()
    checks = np.indices([64, 64]).sum(0) % 2 * 255  # single-pixel black and white
    small = decode_image(encoded(Image.fromarray(checks.astype(np.uint8))), 8)
    assert abs(small.astype(int) - 127).max() <= 2  # without antialias: 0 or 255
    assert decode_image(encoded(Image.new("RGB", (1, 1), (9, 8, 7))), 4)[3, 3].tolist() == [9, 8, 7]


def test_a_large_jpeg_decoded_at_reduced_scale_keeps_its_look():
    ramp = np.linspace(0, 255, 512).round().astype(np.uint8)
    image = Image.fromarray(np.tile(ramp, (512, 1)))
    small = decode_image(encoded(image, "JPEG", quality=95), 16)
    assert small.shape == (16, 16, 3)
    # Column c is the mean of 32 columns of the ramp: (32 c + 15.5) / 511 of 255.
    means = (32 * np.arange(1, 15) + 15.5) / 511 * 255
    assert np.abs(small[8, 1:15, 0] - means).max() <= 2


# Which images there are.


def test_classes_are_sorted_nested_files_found_hidden_ones_not(tmp_path):
    save(tmp_path / "dog" / "deep" / "er" / "b.PNG", (0, 0, 255))
    save(tmp_path / "dog" / "a.webp")
    save(tmp_path / "cat" / "x.jpg")
    save(tmp_path / "cat" / ".hidden.png")
    save(tmp_path / ".cache" / "y.png")
    save(tmp_path / "cat" / ".thumbs" / "z.png")
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    images = image_folder(tmp_path, 8)
    assert images.classes == ("cat", "dog")
    assert images.ids == ("cat/x.jpg", "dog/a.webp", "dog/deep/er/b.PNG")
    assert images.labels.tolist() == [0, 1, 1] and images.labels.dtype == np.int32
    pixels = images.read(np.array([2, 2, 0]))
    assert pixels.shape == (3, 8, 8, 3) and pixels.dtype == np.uint8
    assert pixels[0, 0, 0].tolist() == pixels[1, 7, 7].tolist() == [0, 0, 255]


def test_a_class_may_be_a_link_and_links_below_do_not_loop(tmp_path):
    save(tmp_path / "elsewhere" / "a.png")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "cat").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "loop").symlink_to(tmp_path / "set")
    assert image_folder(tmp_path / "set", 8).ids == ("cat/a.png",)


def test_a_flat_folder_of_one_image_is_one_class(tmp_path):
    save(tmp_path / "birds" / "only.bmp", (1, 2, 3))
    images = image_folder(tmp_path / "birds", 4)
    assert images.classes == ("birds",) and images.ids == ("only.bmp",) and len(images) == 1
    assert (images.pixels() == [1, 2, 3]).all()


@pytest.mark.parametrize("small", [0, 2**12])
def test_many_images_come_in_order_whatever_the_threads(small, tmp_path, monkeypatch):
    for module in (scan, images_lib):  # images of fewer bytes are decoded in turns
        monkeypatch.setattr(module, "SMALL", small)
    for i in range(100):
        save(tmp_path / f"{i:03d}.png", (i, 0, 0), (2, 2))
    one, many = image_folder(tmp_path, 2, threads=1), image_folder(tmp_path, 2, threads=7)
    assert one.fingerprint == many.fingerprint
    order = np.random.default_rng(0).permutation(100)
    assert many.read(order)[:, 0, 0, 0].tolist() == order.tolist()


def test_the_fingerprint_covers_contents_names_and_size(tmp_path):
    def fingerprint(size=8):
        return image_folder(tmp_path / "set", size).fingerprint

    path = save(tmp_path / "set" / "c" / "a.png")
    first = fingerprint()
    assert fingerprint() == first != fingerprint(size=4)
    before = os.stat(path)
    save(path, (200, 100, 51))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert fingerprint() != first  # same name, same time, one colour step
    save(path)
    assert fingerprint() == first
    path.rename(path.with_name("b.png"))
    assert fingerprint() != first


def test_folders_of_the_same_names_and_other_contents_have_other_fingerprints(tmp_path):
    for name, colour in (("one", (0, 0, 0)), ("two", (0, 0, 1))):
        save(tmp_path / name / "set" / "cat" / "a.png", colour)
        save(tmp_path / name / "set" / "dog" / "b.png")
    one, two = (image_folder(tmp_path / name / "set", 8) for name in ("one", "two"))
    assert (one.name, one.ids, one.classes) == (two.name, two.ids, two.classes)
    assert one.fingerprint != two.fingerprint


def broken_files(folder):
    whole = encoded(Image.effect_noise((64, 64), 50))
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    jpeg = encoded(Image.effect_noise((64, 64), 50), "JPEG")
    (folder / "cut.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (folder / "page.png").write_text("<html><body>404 Not Found</body></html>")
    (folder / "zero.gif").write_bytes(b"")
    return ["cut.jpg", "cut.png", "page.png", "zero.gif"]


def test_broken_images_are_skipped_named_and_counted(tmp_path, warnings):
    save(tmp_path / "good.png")
    names = broken_files(tmp_path)
    images = image_folder(tmp_path, 8)
    assert images.ids == ("good.png",) and len(images.pixels()) == 1
    assert len(warnings) == 1
    assert warnings[0].startswith(f"skipped 4 of 5 images in {tmp_path}: cut.jpg (")
    assert all(f"{name} (" in warnings[0] for name in names)
    assert "page.png (not an image)" in warnings[0]
    assert "zero.gif (the file is empty)" in warnings[0]


def test_a_warning_names_ten_and_counts_the_others(tmp_path, warnings):
    save(tmp_path / "good.png")
    for i in range(12):
        (tmp_path / f"x{i:02d}.png").write_bytes(b"")
    image_folder(tmp_path, 8)
    assert warnings[0].startswith("skipped 12 of 13") and warnings[0].endswith(" and 2 more")
    assert "x09.png" in warnings[0] and "x10.png" not in warnings[0]


def test_strict_refuses_broken_images(tmp_path):
    save(tmp_path / "good.png")
    broken_files(tmp_path)
    with pytest.raises(UserError, match=r"4 of 5 images in .* page\.png .*mend or remove") as found:
        image_folder(tmp_path, 8, strict=True)
    assert "\n" not in str(found.value)


def test_a_file_that_changes_or_goes_is_named_when_read(tmp_path):
    path = save(tmp_path / "a.png")
    images = image_folder(tmp_path, 8)
    save(path, (0, 0, 0))
    with pytest.raises(UserError, match=r"a\.png changed while in use \(other contents\)"):
        images.pixels()
    path.unlink()
    with pytest.raises(UserError, match=r"a\.png changed while in use \(no such file"):
        images.pixels()


# Which folders are refused.


def test_missing_folder_file_and_size(tmp_path):
    with pytest.raises(UsageError, match=r"no folder .*/nowhere \(working folder"):
        image_folder(tmp_path / "nowhere", 8)
    with pytest.raises(UsageError, match=r"a\.png is a file: expected a folder"):
        image_folder(save(tmp_path / "a.png"), 8)
    with pytest.raises(UsageError, match="image size 0"):
        image_folder(tmp_path, 0)


def test_no_images_at_all(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(UserError, match="no images in .* expected PATH/CLASS"):
        image_folder(tmp_path, 8)


def test_an_empty_class_is_named(tmp_path):
    save(tmp_path / "cat" / "a.png")
    (tmp_path / "dog").mkdir()
    with pytest.raises(UserError, match="class 'dog' has no images"):
        image_folder(tmp_path, 8)


def test_a_class_of_broken_images_is_named(tmp_path, warnings):
    save(tmp_path / "cat" / "a.png")
    (tmp_path / "dog").mkdir()
    (tmp_path / "dog" / "b.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"class 'dog' has no images left.* dog/b\.png \(the file"):
        image_folder(tmp_path, 8)


def test_images_beside_class_folders(tmp_path):
    save(tmp_path / "cat" / "a.png")
    save(tmp_path / "stray.png")
    with pytest.raises(UserError, match=r"1 images \(stray\.png, .* beside class folders \(cat"):
        image_folder(tmp_path, 8)


def test_an_unreadable_folder(tmp_path, monkeypatch):
    save(tmp_path / "cat" / "a.png")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("cat"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(folder_lib.os, "scandir", refuse)
    with pytest.raises(UserError, match=r"/cat cannot be read \(permission denied\)"):
        image_folder(tmp_path, 8)
