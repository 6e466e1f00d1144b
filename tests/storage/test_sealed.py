"""Small files with a checksum: any bit that is another is told."""

import numpy as np
import pytest
import safetensors.numpy

from maskgit_prompt.errors import UserError
from maskgit_prompt.storage import sealed

TENSORS = {
    "a/x": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.array([1, 2], np.int32),
    "half": np.array([0.5, -2], np.float16),
}


@pytest.fixture
def path(tmp_path):
    sealed.save(tmp_path / "file", TENSORS, {"text": "é", "more": ""})
    return tmp_path / "file"


def load(path):
    return sealed.load(path, {"text", "more"}, "make it again")


def test_what_is_saved_is_loaded(path):
    tensors, header = load(path)
    assert header == {"text": "é", "more": ""}
    assert tensors.keys() == TENSORS.keys()
    for name, x in TENSORS.items():
        assert tensors[name].dtype == x.dtype
        np.testing.assert_array_equal(tensors[name], x)


def test_equal_contents_are_equal_bytes(path, tmp_path):
    """The library writes text in an order of its own in each call."""
    for number in range(8):
        other = tmp_path / str(number)
        sealed.save(other, TENSORS, {"more": "", "text": "é"})
        assert other.read_bytes() == path.read_bytes()


def test_any_flipped_bit_is_told_or_changes_nothing(path):
    """Spaces and the order of names mean nothing; every bit of the file is tried."""
    whole, told = path.read_bytes(), 0
    for place in range(len(whole)):
        for bit in range(8):
            data = bytearray(whole)
            data[place] ^= 1 << bit
            path.write_bytes(data)
            try:
                tensors, header = load(path)
            except UserError as error:
                assert str(path) in str(error) and str(error).endswith("; make it again")
                assert "\n" not in str(error)
                told += 1
            else:
                assert header == {"text": "é", "more": ""}
                assert all((tensors[name] == x).all() for name, x in TENSORS.items())
    assert told > 0.95 * 8 * len(whole)


@pytest.mark.parametrize("size", [0, 4, 8, 50, -1])
def test_a_file_that_is_cut_short(size, path):
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(UserError, match=f"{path} is damaged or cut short .*; make it again"):
        load(path)


def test_a_file_without_a_checksum_is_read(path):
    safetensors.numpy.save_file(TENSORS, path, {"text": "old"})
    tensors, header = load(path)
    assert header == {"text": "old"}
    np.testing.assert_array_equal(tensors["b"], [1, 2])


def test_the_checksum_is_of_names_types_shapes_values_and_text(tmp_path):
    def seal(tensors, header):
        sealed.save(tmp_path / "f", tensors, header)
        with safetensors.safe_open(tmp_path / "f", "numpy") as file:
            return file.metadata()["sha256"]

    x = np.zeros((2, 3), np.float32)
    found = [
        seal({"a": x}, {}),
        seal({"b": x}, {}),
        seal({"a": x.T}, {}),
        seal({"a": x.astype(np.int32)}, {}),
        seal({"a": x + 1}, {}),
        seal({"a": x}, {"t": ""}),
        seal({"a": x}, {"t": "1"}),
    ]
    assert len(set(found)) == len(found)
    assert seal({"a": x}, {}) == found[0]
