"""The folder reader on every kind of file people keep in folders."""

import os

import numpy as np
import pytest
from PIL import Image

from maskgit_prompt.data import images as images_lib
from maskgit_prompt.data.pixels import Preprocessing
from maskgit_prompt.data.sets import folder as folder_lib
from maskgit_prompt.data.sets import scan
from maskgit_prompt.data.sets.folder import image_folder
from maskgit_prompt.errors import UsageError, UserError
from tests.data.pictures import encoded, save


def test_classes_are_sorted_nested_files_found_hidden_ones_not(tmp_path):
    save(tmp_path / "dog" / "deep" / "er" / "b.PNG", (0, 0, 255))
    save(tmp_path / "dog" / "a.webp")
    save(tmp_path / "cat" / "x.jpg")
    save(tmp_path / "cat" / ".hidden.png")
    save(tmp_path / ".cache" / "y.png")
    save(tmp_path / "cat" / ".thumbs" / "z.png")
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    images = image_folder(tmp_path, Preprocessing(8))
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
    assert image_folder(tmp_path / "set", Preprocessing(8)).ids == ("cat/a.png",)


def test_a_flat_folder_of_one_image_is_one_class(tmp_path):
    save(tmp_path / "birds" / "only.bmp", (1, 2, 3))
    images = image_folder(tmp_path / "birds", Preprocessing(4))
    assert images.classes == ("birds",) and images.ids == ("only.bmp",) and len(images) == 1
    assert (images.pixels() == [1, 2, 3]).all()


@pytest.mark.parametrize("small", [0, 2**12])
def test_many_images_come_in_order_whatever_the_threads(small, tmp_path, monkeypatch):
    for module in (scan, images_lib):  # images of fewer bytes are decoded in turns
        monkeypatch.setattr(module, "SMALL", small)
    for i in range(100):
        save(tmp_path / f"{i:03d}.png", (i, 0, 0), (2, 2))
    one, many = (
        image_folder(tmp_path, Preprocessing(2), threads=1),
        image_folder(tmp_path, Preprocessing(2), threads=7),
    )
    assert one.fingerprint == many.fingerprint
    order = np.random.default_rng(0).permutation(100)
    assert many.read(order)[:, 0, 0, 0].tolist() == order.tolist()


def test_the_fingerprint_covers_contents_names_and_size(tmp_path):
    def fingerprint(size=8):
        return image_folder(tmp_path / "set", Preprocessing(size)).fingerprint

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
    one, two = (image_folder(tmp_path / name / "set", Preprocessing(8)) for name in ("one", "two"))
    assert (one.name, one.ids, one.classes) == (two.name, two.ids, two.classes)
    assert one.fingerprint != two.fingerprint


# A BMP of 2 x 1 pixels, red and green, as bytes: another writer of images changes nothing here.
RED_GREEN = bytes.fromhex(
    "424d3e000000000000003600000028000000020000000100000001001800000000000800000"
    "0130b0000130b000000000000000000000000ff00ff000000"
)


def test_fingerprints_are_those_of_workdirs_that_exist(tmp_path):
    (tmp_path / "set" / "cat").mkdir(parents=True)
    (tmp_path / "set" / "cat" / "a.bmp").write_bytes(RED_GREEN)
    images = image_folder(tmp_path / "set", Preprocessing(8))
    # Codes files and images.json of a workdir hold these. Do not change them: raise the number in
    # `Preprocessing.steps`, so that other pixels are encoded again.
    assert images.fingerprint == "8238c06b9b8f8bf4c8c1f76f956fce475b45970a980b16eb39a6eac5b5d48c54"
    assert images.subset(np.array([0])).fingerprint == (
        "14ecaaff162cb1be99c6f5404d5d89f712680127d16397d8ee306109ed3f68ad"
    )


def test_another_fit_gives_other_pixels_and_another_fingerprint(tmp_path):
    (tmp_path / "a.bmp").write_bytes(RED_GREEN)
    crop, resized = (image_folder(tmp_path, Preprocessing(2, fit)) for fit in ("crop", "resize"))
    red, green = [255, 0, 0], [0, 255, 0]
    assert crop.pixels().tolist() == [[[red, red], [red, red]]]
    assert resized.pixels().tolist() == [[[red, green], [red, green]]]
    assert crop.fingerprint != resized.fingerprint
    subsets = [images.subset(np.array([0])).fingerprint for images in (crop, resized)]
    assert subsets[0] != subsets[1]


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
    images = image_folder(tmp_path, Preprocessing(8))
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
    image_folder(tmp_path, Preprocessing(8))
    assert warnings[0].startswith("skipped 12 of 13") and warnings[0].endswith(" and 2 more")
    assert "x09.png" in warnings[0] and "x10.png" not in warnings[0]


def test_strict_refuses_broken_images(tmp_path):
    save(tmp_path / "good.png")
    broken_files(tmp_path)
    with pytest.raises(UserError, match=r"4 of 5 images in .* page\.png .*mend or remove") as found:
        image_folder(tmp_path, Preprocessing(8), strict=True)
    assert "\n" not in str(found.value)


def test_a_file_that_changes_or_goes_is_named_when_read(tmp_path):
    path = save(tmp_path / "a.png")
    images = image_folder(tmp_path, Preprocessing(8))
    save(path, (0, 0, 0))
    with pytest.raises(UserError, match=r"a\.png changed while in use \(other contents\)"):
        images.pixels()
    path.unlink()
    with pytest.raises(UserError, match=r"a\.png changed while in use \(no such file"):
        images.pixels()


# Which folders are refused.


def test_a_missing_folder_and_a_file(tmp_path):
    with pytest.raises(UsageError, match=r"no folder .*/nowhere \(working folder"):
        image_folder(tmp_path / "nowhere", Preprocessing(8))
    with pytest.raises(UsageError, match=r"a\.png is a file: expected a folder"):
        image_folder(save(tmp_path / "a.png"), Preprocessing(8))


def test_no_images_at_all(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(UserError, match="no images in .* expected them in PATH/CLASS"):
        image_folder(tmp_path, Preprocessing(8))


def test_an_empty_class_is_named(tmp_path):
    save(tmp_path / "cat" / "a.png")
    (tmp_path / "dog").mkdir()
    with pytest.raises(UserError, match="class 'dog' has no images"):
        image_folder(tmp_path, Preprocessing(8))


def test_a_class_of_broken_images_is_named(tmp_path, warnings):
    save(tmp_path / "cat" / "a.png")
    (tmp_path / "dog").mkdir()
    (tmp_path / "dog" / "b.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"class 'dog' has no images left.* dog/b\.png \(the file"):
        image_folder(tmp_path, Preprocessing(8))


def test_images_beside_class_folders(tmp_path):
    save(tmp_path / "cat" / "a.png")
    save(tmp_path / "stray.png")
    with pytest.raises(UserError, match=r"holds 1 image \(stray\.png\) beside class folders \(cat"):
        image_folder(tmp_path, Preprocessing(8))


def test_an_unreadable_folder(tmp_path, monkeypatch):
    save(tmp_path / "cat" / "a.png")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("cat"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(folder_lib.os, "scandir", refuse)
    with pytest.raises(UserError, match=r"/cat cannot be read \(permission denied\)"):
        image_folder(tmp_path, Preprocessing(8))
