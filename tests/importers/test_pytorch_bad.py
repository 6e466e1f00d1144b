"""PyTorch files that are damaged, cut short, or something else: one line each."""

import io
import os
import pickle
import tarfile
import zipfile

import numpy as np
import pytest

from maskgit_prompt.errors import UserError
from maskgit_prompt.importers import pytorch
from tests.importers.bad_files import BAD, check_bad, check_cut, check_flipped, refusal
from tests.importers.pytorch_files import (
    DATA,
    Call,
    Name,
    Storage,
    both,
    pickled,
    tensor,
    values,
    write_old,
    write_zip,
)


@pytest.mark.parametrize("name", [n for n in BAD if n not in ("zip", "pickle")])
def test_other_files(tmp_path, name):
    check_bad(pytorch.read, tmp_path, name, "a PyTorch checkpoint")


def test_a_missing_file_and_a_folder(tmp_path):
    assert "No such file or directory" in refusal(pytorch.read, tmp_path / "none.ckpt")
    assert "Is a directory" in refusal(pytorch.read, tmp_path)


@both
def test_files_cut_short_anywhere(tmp_path, write):
    path = tmp_path / "a.pt"
    write(path, {"a": tensor(np.arange(4.0)), "b": {"c": tensor([1])}, "n": frozenset({"x"})})
    check_cut(pytorch.read, path, path.read_bytes())


@pytest.mark.parametrize("file", ["views.pt", "views_old.pt", "lightning.ckpt"])
def test_files_of_pytorch_cut_short(tmp_path, file):
    check_cut(pytorch.read, tmp_path / "a.pt", (DATA / file).read_bytes(), step=37)


@pytest.mark.parametrize("file", ["views.pt", "views_old.pt"])
def test_wrong_bytes_are_read_or_refused(tmp_path, file):
    check_flipped(pytorch.read, tmp_path / "a.pt", (DATA / file).read_bytes(), 300)


def test_wrong_bytes_in_the_pickle_are_read_or_refused(tmp_path):
    # In a zip archive the checksum would find them all.
    with zipfile.ZipFile(DATA / "lightning.ckpt") as archive:
        whole = archive.read("archive/data.pkl")
    rng = np.random.default_rng(2)
    for _ in range(150):
        data = np.frombuffer(whole, np.uint8).copy()
        data[rng.integers(len(data), size=3)] = rng.integers(256, size=3)
        write_zip(tmp_path / "a.pt", None, data=data.tobytes())
        refusal(pytorch.read, tmp_path / "a.pt")  # its storages are not there


def test_a_zip_archive_of_something_else(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("image.png", b"")
    message = refusal(pytorch.read, tmp_path / "a.zip")
    assert "is a zip archive of image.png, expected a PyTorch checkpoint with one data" in message


def test_a_pickle_of_something_else(tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"a": 1}))
    message = refusal(pytorch.read, tmp_path / "a.pkl")
    assert "is a pickle, but torch.save did not write it, expected a PyTorch checkpoint" in message


def test_a_tar_archive(tmp_path):
    with tarfile.open(tmp_path / "a.pth", "w") as archive:
        info = tarfile.TarInfo("pickle")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
    message = refusal(pytorch.read, tmp_path / "a.pth")
    assert "is a tar archive, as PyTorch wrote before 0.1.10, expected a zip archive" in message


def test_compressed_and_big_endian_files(tmp_path):
    path = tmp_path / "a.pt"
    state = {"w": tensor([1.0])}
    write_zip(path, state, compression=zipfile.ZIP_DEFLATED)
    assert "holds archive/data.pkl compressed, expected it as" in refusal(pytorch.read, path)
    write_zip(path, state, byteorder=b"big")
    assert "was written on a big-endian machine, expected" in refusal(pytorch.read, path)
    write_old(path, state, little=False)
    assert "was written on a big-endian machine, expected" in refusal(pytorch.read, path)
    write_zip(path, state, byteorder=None)  # PyTorch before 2.1 did not say
    assert values(path) == {"w": [1.0]}


@both
@pytest.mark.parametrize(
    ("top", "found"),
    [
        ({"epoch": 3, "optimizer": {"a": tensor([1.0])}}, "no state dict, only epoch, optimizer; "),
        ({"state_dict": {}}, "holds no state dict, only state_dict; expected tensors at the top"),
        ({}, "holds no state dict, only an empty dict; "),
        ({i: 0 for i in range(9)}, "only 0, 1, 2, 3, 4, 5, 6, 7, …; "),
        ({Name("a.B"): 1}, "only a.B; "),
        (tensor([1.0]), "holds a tensor, expected a state dict; save one with torch.save"),
        ([1], "holds a list, expected a state dict"),
        ({"a.b": tensor([1]), "a": {"b": tensor([2])}}, "has two tensors called a.b"),
    ],
)
def test_files_without_a_state_dict(tmp_path, write, top, found):
    write(tmp_path / "a.pt", top)
    assert found in refusal(pytorch.read, tmp_path / "a.pt")


FOUR = np.zeros(4, np.float32)


@pytest.mark.parametrize(
    ("bad", "found"),
    [
        (tensor(Storage(FOUR), 1, (4,), (1,)), "w ends at byte"),
        (tensor(Storage(FOUR), 0, (2, 2), (3, 1)), "w ends at byte"),
        (tensor(Storage(FOUR, "Double"), 0, (1,), (1,)), "w ends at byte"),
        (tensor(Storage(FOUR, size=5), 0, (1,), (1,)), "w ends at byte"),
        (tensor(Storage(FOUR, size=2), 0, (3,), (1,)), "w ends at byte"),
        (tensor(Storage(FOUR), -1, (1,), (1,)), r"a tensor of shape \(1,\)"),
        (tensor(Storage(FOUR), 3, (2,), (-1,)), r"strides \(-1,\)"),
        (tensor(Storage(FOUR), 0, (2,), (1, 1)), r"strides \(1, 1\)"),
        (tensor(Storage(FOUR), 0, (True,), (1,)), r"shape \(True,\)"),
        (tensor(Storage(FOUR), 0, (2**5000,), (1,)), "a number of 5,001 bits"),
        (tensor(Storage(FOUR, "QInt8"), 0, (1,), (1,)), "in an unsupported type of number"),
        (Call("torch._utils._rebuild_sparse_tensor", 1), "holds w as sparse_tensor, expected a de"),
        (
            Call(
                "torch._utils._rebuild_tensor_v2", Storage(FOUR), 0, (1,), (1,), False, {}, {1: 1}
            ),
            r"holds w as conjugated_or_negated, .* or .resolve_conj\(\)",
        ),
        (
            Call("torch._utils._rebuild_tensor_v3", Storage(FOUR), 0, (1,), (1,), False, {}, 3),
            "AttributeError",
        ),
        (Call("torch._utils._rebuild_tensor", tensor(FOUR), 0, (1,), (1,)), "without a storage"),
    ],
)
def test_tensors_that_do_not_fit_their_storage(tmp_path, bad, found):
    write_zip(tmp_path / "a.pt", {"w": bad})
    with pytest.raises(UserError, match=found):
        pytorch.read(tmp_path / "a.pt")


def test_storages_that_are_missing_or_of_another_length(tmp_path):
    path = tmp_path / "a.pt"
    write_zip(path, {"w": tensor(FOUR)}, leave_out="0")
    assert "the numbers of w are missing" in refusal(pytorch.read, path)
    write_old(path, {"w": tensor(Storage(FOUR, size=3), 0, (3,), (1,))})
    assert "storage 0 of 3 elements has 4 at byte" in refusal(pytorch.read, path)
    write_old(path, {"w": tensor(Storage(FOUR, "QInt8"), 0, (1,), (1,))})
    assert "holds quantized numbers" in refusal(pytorch.read, path)
    write_old(path, {"w": tensor(FOUR)}, tail=(("1", 0, 4),))
    assert "a storage that is part of another" in refusal(pytorch.read, path)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"\x80\x02}q\x00X\x01\x00\x00\x00aq\x01h\x00s.", "dicts nested more than 32 deep"),
        (b"\x80\x02h\x05.", "KeyError: 5"),
        (b"\x80\x02s.", "IndexError"),
        (b"\x80\x02K\x01\x86.", "a tuple of too few items"),
        (b"\x80\x05\x97.", "opcode NEXT_BUFFER"),
        (b"\x80\x02\x8e\x00\x00\x00\x00\x00\x00\x00\x01abc.", "an item of 72,057,594,037,927,936"),
        (b"\x80\x02K\x01Q.", "an unknown persistent id"),
        (b"\x80\x04K\x01K\x02\x93.", "a name that is not text"),
        (b"\x80\x02}", "pickle exhausted before seeing STOP"),
    ],
)
def test_damaged_pickles(tmp_path, data, found):
    write_zip(tmp_path / "a.pt", None, data=data)
    message = refusal(pytorch.read, tmp_path / "a.pt")
    assert "is damaged or cut short (" in message and found in message


def test_a_pickle_that_would_unfold_without_end(tmp_path):
    # 30 dicts, each twice in the next: 2^30 entries.
    nested = {"x": 0}
    for _ in range(30):
        nested = {"a": nested, "b": nested}
    assert len(pickled(nested)[0]) < 1000
    write_zip(tmp_path / "a.pt", nested)
    assert "or more than 1,000,000 entries" in refusal(pytorch.read, tmp_path / "a.pt")


def test_no_file_stays_open(tmp_path):
    write_zip(tmp_path / "a.pt", {"w": tensor([1.0])})
    before = len(os.listdir("/proc/self/fd"))
    found = pytorch.read(tmp_path / "a.pt")
    assert found["w"][0] == 1.0 and len(os.listdir("/proc/self/fd")) == before
