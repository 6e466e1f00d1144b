"""VTAB-1k as a folder of lists and images: read, and refused in one line."""

import io

import numpy as np
import pytest
from PIL import Image

from maskgit_prompt import config as defaults
from maskgit_prompt.data import loading
from maskgit_prompt.data.sets import vtab, vtab_lists
from maskgit_prompt.errors import UsageError, UserError

LISTS = {
    "train800": "images/0.png 3\nimages/1.png 0\n",
    "val200": "images/2.png 9\n",
    "train800val200": "images/0.png 3\nimages/1.png 0\nimages/2.png 9\n",
    "test": "images/3.png 0\nimages/a b.png 3\n",
}


def write(folder, task="svhn", lists=LISTS):
    home = folder / task
    (home / "images").mkdir(parents=True)
    for i, name in enumerate(("0", "1", "2", "3", "a b")):
        Image.new("RGB", (12, 8), (i, 0, 0)).save(home / "images" / f"{name}.png")
    for name, text in lists.items():
        (home / f"{name}.txt").write_text(text)
    return home


def settings(folder, task="svhn", **changes):
    found = defaults.vpt_vtab(defaults.sweep(), f"folder={folder}", "vpt_vtab.py").data
    found.task = task
    found.update(changes)
    return found


def test_lists_of_a_folder(tmp_path):
    write(tmp_path)
    found = loading.load(settings(tmp_path), 8)
    numbers = lambda rows: found.images.read(rows)[:, 0, 0, 0].tolist()
    assert (numbers(found.tune), numbers(found.judge), numbers(found.test)) == ([0, 1], [2], [3, 4])
    assert found.labels(found.tune).tolist() == [3, 0]
    assert found.labels(found.test).tolist() == [0, 3]
    assert found.images.classes == tuple("0123456789")
    both = loading.load(settings(tmp_path, split="train800val200", validation=""), 8)
    assert len(both.tune) == 3 and not len(both.judge)


def test_the_names_that_papers_have():
    assert len(vtab.TASKS) == 19
    assert [vtab_lists.short(task) for task in vtab.TASKS if task.group == "structured"] == [
        *("kitti", "smallnorb_azi", "smallnorb_ele", "dsprites_loc", "dsprites_ori"),
        *("clevr_dist", "clevr_count", "dmlab"),
    ]
    assert vtab_lists.short(vtab.BY_NAME["cifar100"]) == "cifar"


@pytest.mark.parametrize("name", ["smallnorb_azi", "smallnorb_azimuth"])
def test_folders_by_either_name(name, tmp_path):
    write(tmp_path, name)
    found = loading.load(settings(tmp_path, "smallnorb_azimuth"), 8)
    assert found.images.classes[:2] == ("0°", "20°")


def test_names_of_classes(tmp_path):
    home = write(tmp_path)
    (home / "classes.txt").write_text("\n".join("abcdefghij") + "\n")
    assert loading.load(settings(tmp_path), 8).images.classes == tuple("abcdefghij")
    (home / "classes.txt").write_text("a\nb\n")
    with pytest.raises(
        UserError, match="classes.txt has 2 lines, expected a name for each of the 1"
    ):
        loading.load(settings(tmp_path), 8)


@pytest.mark.parametrize(
    "text, message",
    [
        ("images/0.png\n", "train800.txt, line 1: 'images/0.png', expected a file and its class"),
        ("images/0.png 3\nimages/1.png x\n", "line 2: 'images/1.png x', expected a file and its"),
        ("images/0.png 10\n", "line 1: class 10, expected 0 to 9; svhn has 10 classes"),
        ("\n", "train800.txt is empty, expected lines as images/0.png 3"),
        ("images/9.png 3\n", "names 1 image that .*svhn does not have, the first is images/9.png"),
        (
            "images/0.png 3\nimages/3.png 1\n",
            "images/3.png has class 1 in .*train800.txt and class 0",
        ),
    ],
)
def test_lists_that_are_wrong(text, message, tmp_path):
    write(tmp_path, lists=LISTS | {"train800": text})
    with pytest.raises(UserError, match=message):
        loading.load(settings(tmp_path), 8)


def test_lists_that_are_not_there(tmp_path):
    home = write(tmp_path)
    with pytest.raises(
        UserError, match="no folder of dtd in .*: put train800.txt, …, test.txt and "
    ):
        loading.load(settings(tmp_path, "dtd"), 8)
    with pytest.raises(
        UsageError, match="split 'train' of a folder of lists, expected train800, va"
    ):
        loading.load(settings(tmp_path, split="train"), 8)
    (home / "val200.txt").unlink()
    with pytest.raises(
        UserError, match="val200.txt cannot be read in .*svhn, which has test.txt, tr"
    ):
        loading.load(settings(tmp_path), 8)


def encoded(image: Image.Image, form: str, **more) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **more)
    return buffer.getvalue()


def test_png_files_of_the_same_pixels():
    grey = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8))
    as_it_is = encoded(grey, "PNG")
    assert vtab_lists.as_png(as_it_is) is as_it_is
    white = Image.open(io.BytesIO(vtab_lists.as_png(as_it_is, 255)))
    assert white.mode == "L" and np.asarray(white).tolist() == [[0, 255], [255, 0]]
    noise = np.random.default_rng(0).integers(0, 256, (8, 6, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned to the right
    turned = encoded(Image.fromarray(noise), "JPEG", exif=exif)
    found = Image.open(io.BytesIO(vtab_lists.as_png(turned)))
    plain = np.asarray(Image.open(io.BytesIO(turned)))
    assert found.format == "PNG" and found.size == (8, 6)
    np.testing.assert_array_equal(np.asarray(found), np.rot90(plain, -1))


def test_files_and_lists():
    rows = {"train800": np.array([4, 2]), "val200": np.array([1]), "test": np.array([0])}
    files = vtab_lists.files_of(rows)
    assert files["train800"] == ["images/train800/0000.png", "images/train800/0001.png"]
    images = type("Images", (), {"labels": np.array([5, 6, 7, 8, 9]), "classes": ("a", "b")})
    texts = dict(vtab_lists.lists_of(images, rows, files))
    assert list(texts) == [*(f"{s}.txt" for s in vtab_lists.SPLITS), "classes.txt"]
    assert texts["train800.txt"] == "images/train800/0000.png 9\nimages/train800/0001.png 7\n"
    assert texts["train800val200.txt"] == texts["train800.txt"] + "images/val200/0000.png 6\n"
    assert texts["test.txt"] == "images/test/0000.png 5\n" and texts["classes.txt"] == "a\nb\n"
