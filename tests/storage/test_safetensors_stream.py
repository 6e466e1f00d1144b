"""safetensors files: written one array at a time, read lazily, both held against the library."""

import errno
import hashlib
import json
import weakref

import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from maskgit_prompt.errors import UserError
from maskgit_prompt.storage import safetensors_stream
from tests.importers.bad_files import BAD, check_bad, check_cut, check_flipped, refusal

ARRAYS = {
    "half": np.array([1.5], np.float16),
    "whole": np.arange(6, dtype=np.float32).reshape(2, 3),
    "turned": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "brain": np.array([0.5, -2.0], ml_dtypes.bfloat16),
    "mask": np.array([True, False, True]),
    "empty": np.zeros((0, 3), np.float32),
    "steps": np.array(7),
    "bytes": np.arange(5, dtype=np.uint8),
}


def write(path, arrays) -> str:
    specs = {name: (x.shape, x.dtype) for name, x in arrays.items()}
    return safetensors_stream.write(path, specs, arrays.__getitem__)


def header_and_start(path) -> tuple[dict, int]:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), 8 + length


def test_the_library_reads_what_is_written(tmp_path):
    digest = write(tmp_path / "a.safetensors", ARRAYS)
    assert digest == hashlib.sha256((tmp_path / "a.safetensors").read_bytes()).hexdigest()
    found = safetensors.numpy.load_file(tmp_path / "a.safetensors")
    assert set(found) == set(ARRAYS)
    for name, x in ARRAYS.items():
        assert found[name].dtype == x.dtype
        np.testing.assert_array_equal(found[name], x)


def test_what_the_library_writes_is_read(tmp_path):
    arrays = {name: np.ascontiguousarray(x).reshape(x.shape) for name, x in ARRAYS.items()}
    safetensors.numpy.save_file(arrays, tmp_path / "a.safetensors", {"note": "text"})
    found = safetensors_stream.read(tmp_path / "a.safetensors")
    assert set(found) == set(ARRAYS)
    for name, x in ARRAYS.items():
        assert (found[name].shape, found[name].dtype) == (x.shape, x.dtype)
        np.testing.assert_array_equal(found[name].read(), x)


def test_arrays_start_at_multiples_of_their_items(tmp_path):
    write(tmp_path / "a.safetensors", ARRAYS)
    header, start = header_and_start(tmp_path / "a.safetensors")
    assert start % 64 == 0
    # 8 bytes of steps, then float32 of 24, 24 and 0, then two bytes, then one.
    places = {name: entry["data_offsets"] for name, entry in header.items()}
    assert places == {
        "steps": [0, 8], "empty": [8, 8], "turned": [8, 32], "whole": [32, 56],
        "brain": [56, 60], "half": [60, 62], "bytes": [62, 67], "mask": [67, 70],
    }  # fmt: skip
    found = safetensors_stream.read(tmp_path / "a.safetensors")
    assert found["turned"].offset == start + 8
    assert found["turned"].read().tolist() == [[0, 3], [1, 4], [2, 5]]


def test_no_array_is_held_while_the_next_is_made(tmp_path):
    made = []

    def array(name):
        assert all(old() is None for old in made)
        x = np.full((3, 2), int(name), np.float32).T
        made.append(weakref.ref(x.base))
        return x

    specs = {str(i): ((2, 3), np.dtype(np.float32)) for i in range(4)}
    safetensors_stream.write(tmp_path / "a.safetensors", specs, array)
    assert len(made) == 4
    found = safetensors_stream.read(tmp_path / "a.safetensors")
    assert [x.read().max() for x in found.values()] == [0, 1, 2, 3]


def test_a_transposed_array_is_written_by_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(safetensors_stream, "BLOCK", 24)
    x = np.arange(35, dtype=np.int16).reshape(5, 7)  # rows of 10 bytes: two at a time
    write(tmp_path / "a.safetensors", {"turned": x.T, "long": np.arange(100), "one": np.array(3)})
    found = safetensors.numpy.load_file(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(found["turned"], x.T)
    np.testing.assert_array_equal(found["long"], np.arange(100))
    assert found["one"] == 3


def test_equal_arrays_are_equal_bytes(tmp_path):
    assert write(tmp_path / "a", ARRAYS) == write(tmp_path / "b", ARRAYS)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    turned = dict(reversed(ARRAYS.items()))
    assert write(tmp_path / "c", turned) == write(tmp_path / "a", ARRAYS)


def test_no_arrays_at_all(tmp_path):
    write(tmp_path / "a.safetensors", {})
    assert safetensors_stream.read(tmp_path / "a.safetensors") == {}
    assert safetensors.numpy.load_file(tmp_path / "a.safetensors") == {}


@pytest.mark.parametrize("given", [np.zeros((3, 2), np.float32), np.zeros((2, 3), np.float64)])
def test_an_array_that_is_not_as_announced(tmp_path, given):
    specs = {"w": ((2, 3), np.dtype(np.float32))}
    message = rf"w is {given.dtype} of shape .*, expected float32 of \(2, 3\)"
    with pytest.raises(ValueError, match=message):
        safetensors_stream.write(tmp_path / "a.safetensors", specs, lambda name: given)


@pytest.mark.parametrize("dtype", ["c16", "O", ">f4"])
def test_a_dtype_that_the_format_does_not_have(tmp_path, dtype):
    with pytest.raises(ValueError, match="w is .*, expected one of float64, float32"):
        write(tmp_path / "a.safetensors", {"w": np.zeros(2, dtype)})


def test_a_full_disk():
    with pytest.raises(UserError, match="cannot write /dev/full: No space left on device; free"):
        write("/dev/full", ARRAYS)


def test_a_disk_that_is_full_only_when_the_data_must_get_there(tmp_path, monkeypatch):
    def full(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors_stream.os, "fsync", full)
    with pytest.raises(UserError, match="cannot write .*a.safetensors: No space left on device"):
        write(tmp_path / "a.safetensors", ARRAYS)


def test_what_one_may_not_write(tmp_path, monkeypatch):
    def forbidden(file):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(safetensors_stream.os, "fsync", forbidden)
    message = "a.safetensors: Permission denied; choose a folder that you may write to$"
    with pytest.raises(UserError, match=message):
        write(tmp_path / "a.safetensors", ARRAYS)


def test_a_missing_folder(tmp_path):
    message = (
        "cannot write .*/none/a.safetensors: No such file or directory; choose another folder$"
    )
    with pytest.raises(UserError, match=message):
        write(tmp_path / "none" / "a.safetensors", ARRAYS)


# ---- bad files


@pytest.mark.parametrize("name", [n for n in BAD if n != "safetensors"])
def test_other_files(tmp_path, name):
    check_bad(safetensors_stream.read, tmp_path, name, "a safetensors file")


def test_files_cut_short_anywhere(tmp_path):
    path = tmp_path / "a.safetensors"
    write(path, ARRAYS)
    check_cut(safetensors_stream.read, path, path.read_bytes())


def test_wrong_bytes_are_read_or_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    write(path, ARRAYS)
    check_flipped(safetensors_stream.read, path, path.read_bytes(), 500)


def entry(dtype="F32", shape=(2,), offsets=(0, 8)) -> str:
    return json.dumps({"w": {"dtype": dtype, "shape": shape, "data_offsets": offsets}})


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (entry(offsets=(0, 12)), "w of shape [2] has 12 bytes, not 8"),
        (entry(shape=(4,), offsets=(0, 16)), "w ends at byte"),
        (entry(offsets=(8, 0)), "has -8 bytes, not 8"),
        (entry(offsets=(-8, 0)), "the shape or place of w"),
        (entry(shape=(-2,)), "the shape or place of w"),
        (entry(shape=(2.0,)), "the shape or place of w"),
        (entry(shape=(2**64,)), "the shape or place of w"),
        (entry(shape="ab"), "the entry of w in its header"),
        (entry(offsets=(0, 8, 9)), "the entry of w in its header"),
        ('{"w": 3}', "the entry of w in its header"),
        (entry(dtype="F8_E4M3"), "holds w as F8_E4M3, expected one of F64, F32"),
        (entry(dtype="x\ny"), r"holds w as x\ny, expected one of"),
        (entry()[:-1] + "," + entry()[1:], "a name stands there twice"),
        ("{" * 100_000, "its header: "),
        ('{"w": \xff}', "its header: "),
    ],
)
def test_damaged_headers(tmp_path, header, found):
    text = header.encode("latin1")
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(12))
    assert found in refusal(safetensors_stream.read, path)


def test_a_header_longer_than_the_file(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes((10**6).to_bytes(8, "little") + b"{}")
    message = "its header of 1,000,000 bytes is longer than the file of 10"
    assert message in refusal(safetensors_stream.read, path)
