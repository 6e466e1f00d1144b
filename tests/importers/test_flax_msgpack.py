"""Arrays of flax msgpack files: against files that flax writes, and bad files."""

import subprocess
import sys

import flax.serialization
import ml_dtypes
import msgpack
import numpy as np
import pytest

from maskgit_prompt.importers import flax_msgpack
from tests.importers.bad_files import BAD, check_bad, check_cut, check_flipped, refusal

TREE = {
    "params": {
        "dense": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3), "bias": np.zeros(0)},
        "brain": np.array([[0.5, -2.0]], ml_dtypes.bfloat16),
        "turned": np.arange(6, dtype=np.int16).reshape(2, 3).T,
        "mask": np.array([True, False]),
        "bytes": np.arange(300, dtype=np.uint8),  # an ext of 16 bits
        "wide": np.zeros((70_000,), np.float16),  # an ext of 32 bits
        "scalar": np.float32(7.5),
        "point": np.array(3, np.int64),
        "layers": [np.array([1]), np.array([2])],
    },
    "step": 70_000,
    "rate": 0.5,
    "name": "café",
    "long": "x" * 300,
    "raw": b"abc",
    "negative": [-1, -200, -70_000, -(2**40)],
    "large": [200, 60_000, 2**31, 2**63],
    "nothing": None,
    "yes": True,
    "complex": 1 + 2j,
    "empty": {},
}


def write(path, tree) -> bytes:
    data = flax.serialization.msgpack_serialize(tree)
    path.write_bytes(data)
    return data


def test_what_flax_writes(tmp_path):
    write(tmp_path / "a.msgpack", TREE)
    found = flax_msgpack.read(tmp_path / "a.msgpack")
    assert {name: (x.shape, x.dtype.name) for name, x in found.items()} == {
        "params/dense/kernel": ((2, 3), "float32"),
        "params/dense/bias": ((0,), "float64"),
        "params/brain": ((1, 2), "bfloat16"),
        "params/turned": ((3, 2), "int16"),
        "params/mask": ((2,), "bool"),
        "params/bytes": ((300,), "uint8"),
        "params/wide": ((70_000,), "float16"),
        "params/scalar": ((), "float32"),
        "params/point": ((), "int64"),
        "params/layers/0": ((1,), "int64"),
        "params/layers/1": ((1,), "int64"),
    }
    assert found["params/dense/kernel"].read().tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found["params/brain"].read().tolist() == [[0.5, -2.0]]
    assert found["params/turned"].read().tolist() == [[0, 3], [1, 4], [2, 5]]
    assert found["params/mask"].read().tolist() == [True, False]
    assert found["params/bytes"][[0, 299]].tolist() == [0, 43]
    assert found["params/scalar"].read() == 7.5 and found["params/point"].read() == 3
    assert found["params/layers/1"].read().tolist() == [2]


def test_more_than_a_hundred_arrays(tmp_path):
    rng = np.random.default_rng(0)
    tree = {f"layer_{i}": {"kernel": rng.normal(size=(i % 7, 5))} for i in range(150)}
    (tmp_path / "a.msgpack").write_bytes(flax.serialization.to_bytes(tree))
    found = flax_msgpack.read(tmp_path / "a.msgpack")
    assert list(found) == [f"layer_{i}/kernel" for i in range(150)]
    for i in range(150):
        np.testing.assert_array_equal(found[f"layer_{i}/kernel"], tree[f"layer_{i}"]["kernel"])


def test_every_size_of_map_and_list(tmp_path):
    sizes = (15, 16, 70_000)
    tree = {str(n): {str(i): 0 for i in range(n)} | {"w": np.array([n])} for n in sizes}
    tree |= {f"list {n}": [0] * n + [np.array([n])] for n in sizes}
    write(tmp_path / "a.msgpack", tree)
    found = {name: int(x[0]) for name, x in flax_msgpack.read(tmp_path / "a.msgpack").items()}
    assert found == {f"{n}/w": n for n in sizes} | {f"list {n}/{n}": n for n in sizes}


# The peak of this program alone: ru_maxrss starts at that of the one that started it.
MEASURE = """
import pathlib, re, sys
from maskgit_prompt.importers import flax_msgpack
status = pathlib.Path("/proc/self/status")
peak = lambda: int(re.search("VmHWM:[^0-9]*([0-9]+) kB", status.read_text())[1])
before = peak()
found = flax_msgpack.read(sys.argv[1])
print(len(found), peak() - before)
"""


@pytest.mark.slow
def test_a_large_file_is_not_held_in_memory(tmp_path):
    array = np.zeros(2**18, np.float32)  # 200 arrays of 1 MiB, and one more of 32 MiB
    tree = {f"layer_{i}": array for i in range(200)} | {"large": np.zeros(2**23, np.float32)}
    write(tmp_path / "a.msgpack", tree)
    assert (tmp_path / "a.msgpack").stat().st_size > 200 * 2**20
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / "a.msgpack")],
        capture_output=True,
        text=True,
        check=True,
    )
    count, kilobytes = map(int, run.stdout.split())
    assert count == 201 and kilobytes < 20_000


# ---- bad files


@pytest.mark.parametrize("name", BAD)
def test_other_files(tmp_path, name):
    check_bad(flax_msgpack.read, tmp_path, name, "a flax msgpack file")


def test_a_missing_file(tmp_path):
    assert "No such file or directory" in refusal(flax_msgpack.read, tmp_path / "none.msgpack")


def test_files_cut_short_anywhere(tmp_path):
    small = TREE | {"params": {k: v for k, v in TREE["params"].items() if k != "wide"}}
    data = write(tmp_path / "a.msgpack", small)
    check_cut(flax_msgpack.read, tmp_path / "a.msgpack", data)
    (tmp_path / "a.msgpack").write_bytes(data + b"\x00")
    message = refusal(flax_msgpack.read, tmp_path / "a.msgpack")
    assert f"it ends at byte {len(data):,} of {len(data) + 1:,}" in message


def test_wrong_bytes_are_read_or_refused(tmp_path):
    data = write(tmp_path / "a.msgpack", {str(i): {"w": np.arange(3.0)} for i in range(20)})
    check_flipped(flax_msgpack.read, tmp_path / "a.msgpack", data, 500)


def ext(shape, dtype, raw, code=1) -> msgpack.ExtType:
    return msgpack.ExtType(code, msgpack.packb((shape, dtype, raw)))


NESTED = {"w": 0}
for _ in range(70):
    NESTED = {"a": NESTED}


@pytest.mark.parametrize(
    ("tree", "found"),
    [
        ({}, "holds no arrays, only an empty map; expected a flax msgpack file of parameters"),
        ({"step": 1, "note": "x"}, "holds no arrays, only step, note; "),
        ([ext([1], "int8", b"a")], "starts with the bytes 91"),
        ({"w": ext([2], "int8", b"a")}, "w of shape (2,) has 1 bytes, expected 2"),
        ({"w": ext([2**40, 2**40], "int8", b"a")}, "has 1 bytes, expected 1,208,925,819,614,629,"),
        ({"w": ext([-1], "int8", b"a")}, "the shape of w"),
        ({"w": ext("a", "int8", b"a")}, "the shape of w"),
        ({"w": ext([1] * 40, "int8", b"a")}, "the shape of w"),
        ({"w": ext([1], "<U1", b"abcd")}, "holds w as <U1, expected floats"),
        ({"w": ext([1], "object", b"abcd")}, "holds w as object, expected floats"),
        ({"w": ext([1], "int8", b"a", code=5)}, "w is of extension type 5, flax writes 1, 2 and 3"),
        ({"w": msgpack.ExtType(1, b"\x01")}, "w is a int, expected (shape, dtype, bytes)"),
        ({"w": msgpack.ExtType(1, msgpack.packb(([1], "int8", b"a")) + b"\x00")}, "w of shape"),
        ({"a/b": ext([1], "int8", b"a"), "a": {"b": ext([1], "int8", b"b")}}, "two arrays called"),
        ({None: 1}, "expected a name at byte 1"),
        (NESTED, "maps nested more than 64 deep"),
    ],
)
def test_damaged_trees(tmp_path, tree, found):
    (tmp_path / "a.msgpack").write_bytes(msgpack.packb(tree, strict_types=True))
    assert found in refusal(flax_msgpack.read, tmp_path / "a.msgpack")


def test_a_byte_that_begins_nothing_and_a_name_that_is_no_text(tmp_path):
    (tmp_path / "a.msgpack").write_bytes(b"\x81\xa1a\xc1")
    assert "no msgpack value at byte 3" in refusal(flax_msgpack.read, tmp_path / "a.msgpack")
    (tmp_path / "a.msgpack").write_bytes(b"\x81\xa1\xff\x01")
    assert "the name at byte 1 is not text" in refusal(flax_msgpack.read, tmp_path / "a.msgpack")


def test_an_array_in_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(flax.serialization, "MAX_CHUNK_SIZE", 16)
    write(tmp_path / "a.msgpack", {"params": {"words": np.arange(10, dtype=np.float32)}})
    message = refusal(flax_msgpack.read, tmp_path / "a.msgpack")
    assert "holds params/words in chunks, as flax does above 1 GiB, expected arrays in" in message


def test_one_byte_too_few(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(flax.serialization.msgpack_serialize({"a": np.zeros(3, np.float32)})[:-1])
    assert "(1 byte is missing at the end of " in refusal(flax_msgpack.read, path)
