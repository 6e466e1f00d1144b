"""Copies: which are left out, and that none is on both sides of a cut."""

import numpy as np
import pytest
from PIL import Image

from maskgit_prompt.config import defaults
from maskgit_prompt.data import loading
from maskgit_prompt.data.pixels import Preprocessing
from maskgit_prompt.data.sets.folder import image_folder
from tests.data.pictures import encoded

RNG = np.random.default_rng(0)


def noise() -> Image.Image:
    return Image.fromarray(RNG.integers(0, 256, (40, 48, 3), np.uint8))


def write(path, image: Image.Image, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


def load(folder, seed: int = 0) -> loading.Splits:
    config = defaults.folder(defaults.transfer(), "", "folder.py").data
    config.path, config.seed = str(folder), seed
    return loading.load(config, 8)


def test_float_images_that_differ_in_scale_alone_are_not_copies(tmp_path):
    """Taken each at its own scale they look the same; the folder has one for all."""
    values = np.random.default_rng(1).uniform(0, 1, (12, 16, 16)).astype(np.float32)
    for i, image in enumerate(values):
        write(tmp_path / "a" / f"u{i}.tif", Image.fromarray(image[:, :8]))
        write(tmp_path / "a" / f"v{i}.tif", Image.fromarray(image[:, :8] * 255))
        write(tmp_path / "a" / f"w{i}.tif", Image.fromarray(image[:, 8:] * 255))
    write(tmp_path / "a" / "copy of v0.tif", Image.fromarray(values[0][:, :8] * 255))
    found = image_folder(tmp_path / "a", Preprocessing(8))
    assert len(found.ids) == 36 and {"u0.tif", "v0.tif"} <= set(found.ids)
    assert [x.line() for x in found.found.left_out] == [
        "copies of others of the class: 1 (copy of v0.tif)"
    ]
    assert len({look.tobytes() for look in found.looks}) == 36


def test_copies_in_a_class_are_left_out_and_counted(tmp_path):
    for i in range(20):
        image = noise()
        write(tmp_path / "a" / f"{i}.png", image)
        write(tmp_path / "a" / f"{i} copy.png", image)
    found = image_folder(tmp_path / "a", Preprocessing(8))
    assert sorted(found.ids) == sorted(f"{i}.png" for i in range(20))
    [left_out] = found.found.left_out
    assert left_out.line() == (
        "copies of others of the class: 20 (0 copy.png, 1 copy.png, 10 copy.png, ...)"
    )


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(lambda image: encoded(image, "BMP"), id="another format"),
        pytest.param(lambda image: encoded(image, "PNG", compress_level=1), id="compression"),
        pytest.param(lambda image: encoded(image, "TIFF", software="x"), id="other metadata"),
        pytest.param(
            lambda image: encoded(image.transpose(Image.Transpose.ROTATE_90), "PNG", exif=turned()),
            id="turned by EXIF",
        ),
    ],
)
def test_copies_are_known_by_their_pixels(other, tmp_path):
    image = noise()
    write(tmp_path / "a.png", image)
    (tmp_path / "bb.png").write_bytes(other(image))
    write(tmp_path / "c.png", noise())
    assert image_folder(tmp_path, Preprocessing(8)).ids == ("a.png", "c.png")


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees clockwise
    return exif


def test_the_same_image_in_two_classes_stays_in_both_and_in_one_part(tmp_path):
    for i in range(10):
        image = noise()
        write(tmp_path / "a" / f"{i}.png", image)
        write(tmp_path / "b" / f"{i}.png", image)
    for seed in range(5):
        found = load(tmp_path, seed)
        assert len(found.images) == 20 and found.images.found.left_out == ()
        parts = [
            {found.images.ids[row][2:] for row in rows}
            for rows in (found.tune, found.judge, found.test)
        ]
        assert [len(part) for part in parts] == [6, 2, 2]
        assert len(set().union(*parts)) == 10


def test_a_class_of_copies_of_another_is_not_emptied(tmp_path):
    image = noise()
    for name in ("a/0.png", "b/0.png", "b/1.png"):
        write(tmp_path / name, image)
    found = image_folder(tmp_path, Preprocessing(8))
    assert found.ids == ("a/0.png", "b/0.png") and found.labels.tolist() == [0, 1]


def test_images_that_differ_in_one_pixel_are_no_copies(tmp_path):
    image = noise().resize((8, 8))
    write(tmp_path / "a.png", image)
    image.putpixel((3, 3), tuple(255 - x for x in image.getpixel((3, 3))))
    write(tmp_path / "b.png", image)
    assert len(image_folder(tmp_path, Preprocessing(8))) == 2


def test_a_picture_in_two_classes_is_told_of(tmp_path):
    for i in range(3):
        image = noise()
        write(tmp_path / "a" / f"{i}.png", image)
        write(tmp_path / "b" / f"{i if i else 'x'}.png", image if i != 2 else noise())
    write(tmp_path / "a" / "2 copy.png", image)  # in one class: left out, and no more is told
    found = image_folder(tmp_path, Preprocessing(8))
    assert len(found) == 6  # all are used
    [note] = found.found.notes
    assert note == (
        "pictures that stand in several classes: 2 (a/0.png and b/x.png; a/1.png and b/1.png)"
    )
