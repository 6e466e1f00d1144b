"""Images with masks: folders, drawn scenes, and who is held out."""

import pathlib

import numpy as np
import pytest
from PIL import Image

from maskgit_prompt.data import masks
from maskgit_prompt.data.sets import mask_folder, scene_masks, scenes
from maskgit_prompt.errors import UsageError, UserError

CORNER = np.uint8([[2, 0], [1, 255]])  # of a mask that is enlarged to 4 x 4


def write(folder: pathlib.Path, *found: np.ndarray, mode: str | None = None) -> pathlib.Path:
    """images/0.png, … as bright as 50 times their number, and masks/0.png, …"""
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for i, mask in enumerate(found):
        pixels = np.full((*mask.shape[:2], 3), 50 * i, np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{i}.png")
        Image.fromarray(mask, mode).save(folder / "masks" / f"{i}.png")
    return folder


def big(mask: np.ndarray = CORNER) -> np.ndarray:
    return np.kron(mask, np.ones((2, 2), np.uint8))


def test_values_are_classes(tmp_path):
    found = mask_folder.load(write(tmp_path / "set", big(), big()[::-1].copy()), 2)
    assert (found.name, found.classes, found.ids) == ("set", ("0", "1", "2"), ("0", "1"))
    np.testing.assert_array_equal(found.masks(np.array([1, 0])), [CORNER[::-1], CORNER])
    assert found.read(np.array([1, 0]))[:, 0, 0, 0].tolist() == [50, 0]
    assert (found.digests[0] != found.digests[1]).any()


def test_classes_are_never_averaged_and_sides_may_differ(tmp_path):
    """Columns 0, 2, 0, 2, … at a third of the width: 0 or 2, never 1."""
    stripes = np.tile(np.uint8([0, 2]), (4, 3))  # 4 rows, 6 columns
    found = mask_folder.load(write(tmp_path / "set", stripes, stripes), 3)
    mask = found.masks(np.array([0]))
    assert mask.shape == (1, 3, 3) and set(np.unique(mask)) <= {0, 2}


def test_indices_into_a_palette_are_classes_whatever_their_colours(tmp_path):
    folder = write(tmp_path / "set", big(), big())
    for i in range(2):
        image = Image.fromarray(big(), "P")
        image.putpalette([200, 10, 10] * 256)
        image.save(folder / "masks" / f"{i}.png")
    (folder / "classes.txt").write_text("sky\nroad 2\na tree\n")
    found = mask_folder.load(folder, 2)
    assert found.classes == ("sky", "road 2", "a tree") and found.colours is None
    np.testing.assert_array_equal(found.masks(np.array([0])), [CORNER])


def test_colours_are_those_of_the_table(tmp_path):
    colours = np.uint8([[0, 0, 0], [9, 8, 7], [255, 0, 0]])
    mask = np.where(big() == 255, 0, big())
    folder = write(tmp_path / "set", colours[mask], colours[mask])
    (folder / "classes.txt").write_text("sky 0 0 0\na road 9 8 7\ntree 255 0 0\n")
    found = mask_folder.load(folder, 4)
    assert found.classes == ("sky", "a road", "tree")
    np.testing.assert_array_equal(found.colours, colours)
    np.testing.assert_array_equal(found.masks(np.array([1])), [mask])
    (folder / "classes.txt").write_text("sky 0 0 0\na road 9 8 6\ntree 255 0 0\n")
    with pytest.raises(UserError, match=r"0.png has the colour \(9, 8, 7\), which no class of cl"):
        mask_folder.load(folder, 4)


def no_masks(folder):
    (folder / "masks" / "1.png").rename(folder / "1.png")


def no_images(folder):
    (folder / "images" / "1.png").unlink()


def larger(folder):
    Image.new("L", (5, 4)).save(folder / "masks" / "1.png")


def broken(folder):
    (folder / "masks" / "1.png").write_bytes(b"PNG")


def two_of_a_name(folder):
    Image.new("RGB", (4, 4)).save(folder / "images" / "1.jpg")


def table(text):
    return lambda folder: (folder / "classes.txt").write_text(text)


@pytest.mark.parametrize(
    "change, message",
    [
        (no_masks, "set: no mask for 1; expected PATH/images/NAME.jpg and PATH/masks/NAME.png"),
        (no_images, "set: no image for 1; expected PATH/images/NAME.jpg"),
        (larger, "1.png has 5 x 4 pixels and its image 4 x 4, expected as many; mend one"),
        (broken, r"1.png cannot be read \(.*\); mend or remove it"),
        (two_of_a_name, "1.jpg and 1.png have one name; rename or remove one"),
        (table("a\nb\n"), "0.png has the value 2, but classes.txt names 2 classes; mend one"),
        (table("a\nb 1 2\nc\n"), None),  # a name may end in numbers
        (table("a\nb 1 2 300\nc\n"), "line 2: 'b 1 2 300', expected NAME or NAME RED GREEN BLUE"),
        (table("a\n\nc\n"), "line 2: '', expected NAME or NAME RED GREEN BLUE"),
        (table("a 1 2 3\nb\nc 1 2 3\n"), "line 3: 'c 1 2 3' has the colour of 'a', expected anot"),
        (lambda folder: (folder / "classes.txt").write_bytes(b"\xff"), "is not UTF-8; save it as"),
        (table("a\na\nc\n"), "expected at most 255 names, each once"),
    ],
)
def test_folders_that_do_not_fit(change, message, tmp_path):
    folder = write(tmp_path / "set", big(), big())
    change(folder)
    if message is None:
        assert mask_folder.load(folder, 2).classes == ("a", "b 1 2", "c")
        return
    with pytest.raises(UserError, match=message):
        mask_folder.load(folder, 2)


def test_folders_of_nothing(tmp_path):
    with pytest.raises(UsageError, match="no folder .*none/images: expected PATH/images/NAME.jpg"):
        mask_folder.load(tmp_path / "none", 2)
    with pytest.raises(UserError, match="no images in images/; expected PATH/images"):
        mask_folder.load(write(tmp_path / "empty"), 2)
    with pytest.raises(UserError, match="has 2 images with masks of 1 classes, expected at least"):
        mask_folder.load(write(tmp_path / "one", big() * 0, big() * 0), 2)


def test_a_scenes_mask_is_where_its_things_are():
    thing = scenes.Thing("big", "red", "square", (8, 16, 24, 32))
    other = scenes.Thing("small", "blue", "circle", (40, 40, 52, 52))
    mask = scenes.draw_mask(scenes.Scene((thing, other)))
    red, blue = (1 + list(scenes.COLOURS).index(name) for name in ("red", "blue"))
    expected = np.zeros((64, 64), np.uint8)
    expected[16:32, 8:24] = red
    np.testing.assert_array_equal(np.where(mask == blue, 0, mask), expected)
    assert scene_masks.CLASSES[red] == "red" and scene_masks.CLASSES[blue] == "blue"
    assert scene_masks.load(1, 8, 0).colours[blue].tolist() == list(scenes.COLOURS["blue"])
    rows, columns = np.nonzero(mask == blue)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (40, 51, 40, 51)
    assert mask[46, 46] == blue and mask[40, 40] == 0


def test_masks_lie_on_their_own_pictures():
    found = scene_masks.load(5, 32, seed=3)
    rows = np.array([4, 1])
    for picture, mask, row in zip(found.read(rows), found.masks(rows), rows, strict=True):
        scene = scenes.make_scene(3, int(row), 32)
        np.testing.assert_array_equal(picture, scenes.draw(scene))
        assert set(np.unique(mask)) == {
            0,
            *(scene_masks.CLASSES.index(t.colour) for t in scene.things),
        }
    assert (scene_masks.load(5, 32, seed=4).digests != found.digests).any()


def test_no_image_is_tuned_on_and_held_out():
    found = scene_masks.load(9, 16, seed=0)
    parts = masks.split(found, 0.3, seed=0)
    assert len(parts.test) == 3
    assert sorted([*parts.tune, *parts.test]) == list(range(9))
    again, other = (masks.split(found, 0.3, seed) for seed in (0, 1))
    np.testing.assert_array_equal(again.test, parts.test)
    assert list(other.test) != list(parts.test)
    assert len(masks.split(found, 0.0, 0).test) == 1 and len(masks.split(found, 0.99, 0).tune) == 1
    assert parts.digest(parts.tune) != parts.digest(parts.test)
