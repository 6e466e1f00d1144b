"""Pictures without classes: those that cannot be read."""

import pytest

from maskgit_prompt.data.sets import pictures
from maskgit_prompt.errors import UserError


def test_broken_pictures_are_named_and_the_others_are_taken(caplog):
    pictures.check_broken({"a.png": "cut short"}, 2)
    assert caplog.messages == ["left out 1 picture: a.png (cut short)"]
    caplog.clear()
    pictures.check_broken({f"{i}.png": "empty" for i in range(12)}, 13)
    assert "9.png (empty), …" in caplog.text and "10.png" not in caplog.text
    caplog.clear()
    pictures.check_broken({}, 2)
    assert not caplog.messages


def test_without_a_picture_that_can_be_read_there_is_an_error():
    with pytest.raises(UserError, match=r"none of 2 pictures can be read: a \(x\), b \(y\)"):
        pictures.check_broken({"a": "x", "b": "y"}, 2)
