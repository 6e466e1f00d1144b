"""The fine-grained sets: lists in JSON, images beside, what is wrong with them in one line."""

import json

import numpy as np
import pytest
from PIL import Image

from maskgit_prompt import config as defaults
from maskgit_prompt.data import loading
from maskgit_prompt.data.pixels import Preprocessing
from maskgit_prompt.data.sets import fgvc
from maskgit_prompt.errors import UsageError, UserError

LISTS = {
    "train": {"a/0.png": 2, "b/1.png": 1, "a/2.png": 2},
    "val": {"b/3.png": 1},
    "test": {"a/4.png": 2, "b/5.png": 1},
}


def write(folder, lists=LISTS, images="images"):
    """FOLDER/cub: the lists, and for each file an image whose red is the digit in its name."""
    home = folder / "cub"
    home.mkdir(parents=True, exist_ok=True)
    for name, files in lists.items():
        (home / f"{name}.json").write_text(json.dumps(files))
        for file in files:
            path = home / images / file
            path.parent.mkdir(parents=True, exist_ok=True)
            value = int(path.stem)
            Image.new("RGB", (14, 10), (value, 0, 0)).save(path)
    return home


def settings(folder, **changes):
    found = defaults.vpt_fgvc(defaults.sweep(), str(folder), "vpt_fgvc.py").data
    found.task, found.fit = "cub", "inside"
    found.update(changes)
    return found


@pytest.mark.parametrize("images", ["", "images", "Images"])
def test_parts_labels_and_pixels(images, tmp_path):
    write(tmp_path, images=images)
    found = loading.load(settings(tmp_path), 7)
    numbers = lambda rows: found.images.read(rows)[:, 0, 0, 0].tolist()
    assert numbers(found.tune) == [0, 1, 2]
    assert (numbers(found.judge), numbers(found.test)) == ([3], [4, 5])
    # Ids 1 and 2 are classes 0 and 1.
    assert found.labels(found.tune).tolist() == [1, 0, 1]
    assert found.labels(found.test).tolist() == [1, 0]
    assert found.images.classes == ("1", "2") and found.images.name == "cub"


def test_several_splits_and_names_for_classes(tmp_path):
    lists = {"train": {"0.png": "wren"}, "val": {"1.png": "auk"}, "test": {"2.png": "wren"}}
    write(tmp_path, lists)
    found = loading.load(settings(tmp_path, split="train+val", validation=""), 7)
    assert found.images.classes == ("auk", "wren")
    assert found.labels(found.tune).tolist() == [1, 0] and not len(found.judge)


def test_ids_of_the_published_number_may_have_gaps(tmp_path, monkeypatch, caplog):
    small = fgvc.Set("cub", ("cub",), 2)
    lists = {"train": {"0.png": 5, "1.png": 900}, "test": {"2.png": 900}}
    write(tmp_path, lists)
    found = fgvc.load(small, str(tmp_path), ("train", "test"), Preprocessing(7))
    assert found.images.classes == ("5", "900") and found.images.labels.tolist() == [0, 1, 1]
    assert "published" not in caplog.text


def test_another_number_of_classes_is_told(tmp_path, caplog):
    write(tmp_path)
    loading.load(settings(tmp_path), 7)
    assert "train.json has 2 classes, and cub as published has 200" in caplog.text


@pytest.mark.parametrize(
    "split, files, message",
    [
        (
            "train",
            {"0.png": 1, "1.png": 4, "2.png": 2},
            "3 classes up to 4, but no image of 3; exp",
        ),
        ("train", {"0.png": 1, "1.png": "a"}, "classes by number and by name, expected one of the"),
        ("train", {"0.png": 1.5}, "has class 1.5, expected a number or a name"),
        ("train", ["0.png"], r"holds \['0.png'\], expected {"),
        ("train", {}, r'holds nothing, expected {"file": class, …}'),
        ("test", {"0.png": 3}, "test.json has 0.png of class 3, and .*train.json has no image of"),
    ],
)
def test_lists_that_are_wrong(split, files, message, tmp_path):
    write(tmp_path, LISTS | {split: files})
    with pytest.raises(UserError, match=message):
        loading.load(settings(tmp_path), 7)


def test_lists_and_images_that_are_not_there(tmp_path):
    home = write(tmp_path)
    (home / "images" / "b" / "5.png").unlink()
    with pytest.raises(
        UserError, match="test.json names 1 image that .*images does not have, the "
    ):
        loading.load(settings(tmp_path), 7)
    (home / "images" / "b" / "5.png").write_bytes(b"no image")
    with pytest.raises(
        UserError, match=r"b/5.png cannot be read \(not an image\), and a list name"
    ):
        loading.load(settings(tmp_path), 7)
    (home / "val.json").unlink()
    with pytest.raises(
        UserError, match="no val.json in .*cub, which has test.json, train.json; ex"
    ):
        loading.load(settings(tmp_path), 7)
    (home / "train.json").write_text("{")
    with pytest.raises(
        UserError, match=r"train.json cannot be read \(JSONDecodeError\); expected J"
    ):
        loading.load(settings(tmp_path), 7)
    with pytest.raises(
        UserError, match="no folder of dogs in .*: put the images of dogs and train"
    ):
        loading.load(settings(tmp_path, task="dogs"), 7)
    with pytest.raises(UsageError, match="no set 'birds'; expected some of cub, nabirds, flowers"):
        fgvc.chosen(["birds"])


def test_a_file_of_two_classes(tmp_path):
    write(tmp_path, LISTS | {"val": {"a/0.png": 1}})
    with pytest.raises(UserError, match="val.json: a/0.png has class 1, and 2 in an earlier list"):
        loading.load(settings(tmp_path, split="train+val", validation=""), 7)
    write(tmp_path, LISTS | {"test": {"a/0.png": 1}})
    with pytest.raises(
        UserError, match="a/0.png has class 1 in .*train.json and class 0 in .*test"
    ):
        loading.load(settings(tmp_path), 7)


# --- Windows --------------------------------------------------------------------------------------


def test_the_middle_and_other_windows(tmp_path):
    """Of 8 x 12 pixels, S = 7: 8 rows and 12 columns are left, in which 2 x 6 windows fit."""
    home = tmp_path / "cub"
    home.mkdir()
    columns = np.zeros((8, 12, 3), np.uint8)
    columns[..., 0] = np.arange(12)
    columns[..., 1] = np.arange(8)[:, None]
    Image.fromarray(columns).save(home / "0.png")
    for name in ("train", "val", "test"):
        (home / f"{name}.json").write_text(json.dumps({"0.png": 0}))
    images = loading.load(settings(tmp_path), 7).images
    first = lambda pixels: pixels[:, 0, 0, :2].tolist()
    assert first(images.read(np.array([0]))) == [[3, 1]]
    places = np.array([[0.0, 0.0], [0.999, 0.999], [0.5, 0.49], [0.17, 0.5]])
    found = images.read_windows(np.zeros(4, int), places)
    assert first(found) == [[0, 0], [5, 1], [3, 0], [1, 1]]
    assert found[1, :, :, 0].tolist() == [list(range(5, 12))] * 7
    part = images.subset(np.array([0]))
    assert first(part.read_windows(np.array([0]), places[1:2])) == [[5, 1]]


@pytest.mark.parametrize("size, shorter", [(224, 256), (384, 438), (448, 512)])
def test_the_shorter_side(size, shorter):
    """As the reference resizes: to 256, 438 and 512."""
    image = Image.new("RGB", (shorter, 2 * shorter))
    image.putpixel(((shorter - size + 1) // 2, (2 * shorter - size + 1) // 2), (9, 9, 9))
    found = np.asarray(Preprocessing(size, "inside").square(image))
    assert found.shape == (size, size, 3) and found[0, 0].tolist() == [9, 9, 9]
