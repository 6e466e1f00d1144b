"""Several sets of images as one."""

import numpy as np
import pytest
from PIL import Image

from maskgit_prompt.config.pretraining import pretrain
from maskgit_prompt.data import corpus
from maskgit_prompt.data.mixture import PERIOD, Mixture
from maskgit_prompt.errors import UsageError, UserError


def write(folder, name: str, colours: list[tuple]) -> None:
    (folder / name).mkdir(parents=True)
    for number, colour in enumerate(colours):
        mode = "RGBA" if len(colour) == 4 else "RGB"
        Image.new(mode, (16, 16), colour).save(folder / name / f"{number}.png")


@pytest.fixture
def folders(tmp_path):
    """Icons of cats and dogs on nothing; photographs of dogs and owls."""
    icons, photos = tmp_path / "icons", tmp_path / "photos"
    write(icons, "cat", [(10, n, 0, 128) for n in range(4)])
    write(icons, "dog", [(20, n, 0, 128) for n in range(4)])
    write(photos, "dog", [(30, n, 0) for n in range(4)])
    write(photos, "owl", [(40, n, 0) for n in range(8)])
    return str(icons), str(photos)


def config(*sets: str, **changes):
    found = pretrain("tokenizer").data
    found.sets, found.heldout, found.num = sets, 0.25, 356
    found.update(changes)
    return found


def test_sets_follow_one_another_and_classes_of_a_name_are_one(folders):
    found = corpus.load(config(*folders, "drawn"), 16)
    assert found.images.classes[:3] == ("cat", "dog", "owl")
    assert len(found.images.classes) == 3 + 178
    labels = found.images.labels
    assert labels[:20].tolist() == [0] * 4 + [1] * 4 + [1] * 4 + [2] * 8
    assert labels[20:].min() == 3
    pixels = found.images.read(np.array([9, 0, 19]))  # of several sets, in any order
    assert pixels.shape == (3, 16, 16, 4)
    assert pixels[:, 0, 0].tolist() == [[30, 1, 0, 255], [10, 0, 0, 128], [40, 7, 0, 255]]
    assert found.images.read(np.array([20])).shape == (1, 16, 16, 4)


def test_a_share_of_each_class_is_held_out(folders):
    found = corpus.load(config(*folders), 16)
    held = found.heldout
    assert np.bincount(found.images.labels[held]).tolist() == [1, 2, 2]
    parts = np.concatenate([*found.train, held])
    np.testing.assert_array_equal(np.sort(parts), np.arange(20))
    assert [len(rows) for rows in found.train] == [6, 9]
    assert found.weights == (6.0, 9.0)
    whole = corpus.load(config(*folders, heldout=0.0), 16)
    assert len(whole.heldout) == 0 and len(whole) == 20


def test_a_few_images_beside_very_many_are_not_left_out(folders):
    icons, _ = folders
    found = corpus.load(config(icons, "drawn", num=30_000, heldout=0.0), 16)
    rows = Mixture(found.train, found.weights, seed=0).rows(0, PERIOD)
    assert np.count_nonzero(rows < 8) == 1
    message = "expected images in each, and at least 1/1000 of all weights"
    with pytest.raises(UsageError, match=message):
        corpus.load(config(icons, "drawn", weights=(0.0001, 1.0)), 16)


def test_what_may_be_mirrored_and_what_is_a_ground(folders):
    icons, photos = folders
    found = corpus.load(config(*folders, flips=(icons,), photographs=(photos,)), 16)
    assert found.flips.tolist() == [True] * 8 + [False] * 12
    np.testing.assert_array_equal(found.photographs, found.train[1])  # none that is held out


def test_what_was_found_is_told(folders):
    said = corpus.load(config(*folders), 16).summary
    assert "found 8 images in" in said and "2 classes: cat 4, dog 4" in said
    assert "parts: 9 images to train on, 3 held out" in said


def test_the_fingerprint_is_of_contents_and_order(folders):
    icons, photos = folders
    prints = [corpus.load(config(*sets), 16).images.fingerprint for sets in (folders, folders)]
    assert prints[0] == prints[1]
    others = [corpus.load(config(photos, icons), 16), corpus.load(config(icons), 16)]
    assert len({prints[0], *(other.images.fingerprint for other in others)}) == 3


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"sets": ()}, "expected some, each once"),
        ({"sets": ("drawn", "drawn")}, "expected some, each once"),
        ({"weights": (1.0, 2.0)}, "for 1 sets: expected one for each, or none"),
        ({"sets": ("drawn",), "weights": (0.0,)}, "expected one above 0 for each"),
        ({"flips": ("photos",)}, "config.data.flips has 'photos', expected of config.data.sets"),
        ({"photographs": ("nope",)}, "config.data.photographs has 'nope'"),
        ({"sets": ("no/such/folder",)}, "no folder no/such/folder"),
        ({"sets": ("tfds:no_such_set",)}, "no_such_set"),
    ],
)
def test_sets_that_do_not_exist_or_do_not_fit(changes, message):
    with pytest.raises(UsageError, match=message):
        corpus.load(config("drawn", **changes), 16)


def test_a_folder_without_images_or_with_one(tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="none"):
        corpus.load(config(str(tmp_path / "none")), 16)
    write(tmp_path / "one", "a", [(1, 2, 3)])
    found = corpus.load(config(str(tmp_path / "one"), heldout=0.02), 16)
    assert len(found) == 1 and len(found.heldout) == 0
