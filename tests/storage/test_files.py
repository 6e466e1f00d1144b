"""Files whole or not at all, and strict JSON."""

import json
import os
import pathlib

import numpy as np
import pytest

from maskgit_prompt.errors import UserError
from maskgit_prompt.report.results import to_json, write_json
from maskgit_prompt.storage.files import read_json, write_whole


def test_write_whole_makes_folders_and_leaves_one_file(tmp_path):
    write_whole(tmp_path / "new" / "a.bin", b"one")
    write_whole(tmp_path / "new" / "a.bin", b"two")
    assert (tmp_path / "new" / "a.bin").read_bytes() == b"two"
    assert os.listdir(tmp_path / "new") == ["a.bin"]


def test_a_full_disk_keeps_the_earlier_file(tmp_path, monkeypatch):
    write_whole(tmp_path / "a.bin", b"one")

    def full(file):  # most file systems notice that they are full when the data must get to disk
        os.truncate(file, 3)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="cannot write .*a.bin: No space left on device"):
        write_whole(tmp_path / "a.bin", b"two two")
    assert (tmp_path / "a.bin").read_bytes() == b"one"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_file_where_a_folder_should_be(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(UserError, match="cannot write .*runs/a.json: .*; choose another folder"):
        write_json(tmp_path / "runs" / "a.json", {})


def test_json_by_hand(tmp_path):
    write_json(
        tmp_path / "a.json",
        {
            "b": np.float32(0.5),
            "a": {"n": np.int64(3), "yes": np.bool_(True), "none": None, 7: "seven"},
            "list": (1, np.array([[1, 2]]), pathlib.Path("x/y")),
        },
    )
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text) == {
        "a": {"7": "seven", "n": 3, "none": None, "yes": True},
        "b": 0.5,
        "list": [1, [[1, 2]], "x/y"],
    }
    assert text.index('"a"') < text.index('"b"') < text.index('"list"')


def test_equal_results_are_equal_bytes(tmp_path):
    write_json(tmp_path / "a.json", {"x": 1, "y": 2.0})
    write_json(tmp_path / "b.json", {"y": np.float64(2), "x": np.int32(1)})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


@pytest.mark.parametrize(
    "value, message",
    [
        ({"accuracy": {"prompt": float("nan")}}, "'accuracy.prompt' is nan: expected a finite"),
        ({"marquee": [{"d": 1.0}, {"d": np.inf}]}, r"'marquee\[1\].d' is inf"),
        ({"kid": np.array([1, -np.inf])}, r"'kid\[1\]' is -inf"),
        ({"a": {"f": object()}}, "'a.f' is a object: expected numbers"),
        ({"a": {1: 0, "1": 0}}, "'a.1' stands twice"),
        ({(1, 2): 0}, r"'\(1, 2\)' is a tuple: expected a string"),
    ],
)
def test_what_json_cannot_hold_is_named_and_nothing_is_written(tmp_path, value, message):
    with pytest.raises(UserError, match=message):
        write_json(tmp_path / "a.json", value)
    assert os.listdir(tmp_path) == []


def test_bools_stay_bools():
    assert to_json({"a": True, "b": 1}) == {"a": True, "b": 1}
    assert to_json({"a": np.True_})["a"] is True


@pytest.mark.parametrize("text", [b"", b"{", b"3", b'["a"]', b"\xff\xfe", b"[" * 100_000, b"null"])
def test_json_that_is_damaged(text, tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(text)
    with pytest.raises(UserError, match=f"^{path} is damaged .*; make it again$") as error:
        read_json(path, "make it again")
    assert "\n" not in str(error.value)


def test_json_that_is_read(tmp_path):
    write_json(tmp_path / "a.json", {"a": [1, "é"]})
    assert read_json(tmp_path / "a.json", "") == {"a": [1, "é"]}
    with pytest.raises(UserError, match="cannot read .*b.json: No such file or directory; look"):
        read_json(tmp_path / "b.json", "look")
