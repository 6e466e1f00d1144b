"""Generated images as files: their folders and names, all or none."""

import numpy as np
import pytest
from PIL import Image

from maskgit_prompt.errors import UserError
from maskgit_prompt.storage import image_files

SHADES = np.arange(1, 5, dtype=np.uint8)[:, None, None, None] * np.ones((4, 2, 2, 3), np.uint8)


def test_folder_names_are_safe_and_different_everywhere():
    names = ["a/b", "A?b", "", "..", "../../etc", "Äpfel 1", "a_b-2", "<b>x</b>", "n\nl"]
    expected = ["a_b", "A_b-2", "_", "_-2", "_.._etc", "Äpfel_1", "a_b-2-2", "_b_x__b_", "n_l"]
    assert image_files.folder_names(names) == expected


def test_images_are_numbered_in_their_group_and_replace_earlier_ones(tmp_path):
    (tmp_path / "images" / "old").mkdir(parents=True)
    names = image_files.write_images(tmp_path, ("a", "none", "b"), np.array([0, 0, 2, 2]), SHADES)
    assert names == ["images/a/00000.png", "images/a/00001.png"] + [
        "images/b/00000.png",
        "images/b/00001.png",
    ]
    there = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png"))
    assert there == names and not (tmp_path / "images" / "old").exists()
    assert [np.asarray(Image.open(tmp_path / name))[0, 0, 0] for name in names] == [1, 2, 3, 4]


def test_what_cannot_be_written_leaves_what_was_there(tmp_path, monkeypatch):
    image_files.write_images(tmp_path, ("a",), np.zeros(4, int), SHADES)

    def full(image, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(UserError, match=r"cannot write .*/images: No space left .*free some"):
        image_files.write_images(tmp_path, ("a",), np.zeros(1, int), SHADES[:1])
    assert [path.name for path in tmp_path.iterdir()] == ["images"]
    assert len(list((tmp_path / "images" / "a").iterdir())) == 4
