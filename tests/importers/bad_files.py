"""Files that people give by mistake, with what the message says of them."""

import pathlib
import pickle

import numpy as np
import pytest
import safetensors.numpy

from maskgit_prompt.errors import UserError

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
RANDOM = np.random.default_rng(0).bytes(5000)

# name -> (bytes, what is found, the way out)
BAD = {
    "empty": (b"", "is empty", "fetch it again"),
    "web page": (
        b"\n<!DOCTYPE html><html lang='en'><body>Sign in</body></html>",
        "starts with '<!DOCTYPE html': a web page",
        "download the file itself",
    ),
    "page with a comment": (b"<!-- saved from url=(0014) --><html>", "a web page", "download the"),
    "page with an odd name": (
        b"<html\tlang=de>",
        r"starts with '<html\tlang=de': a web page",
        "download the file itself",
    ),
    "old page": (b"<html><head></head>", "starts with '<html': a web page", "download the file"),
    "git-LFS pointer": (LFS, f"is a git-LFS pointer of {len(LFS)} bytes", "git lfs pull"),
    "text": (b"epoch,loss\n1,0.5\n", "is a text file that starts with 'epoch,loss", "choose a"),
    "text of accents": ("é".encode() * 400, "is a text file", "choose a"),
    "gzip": (b"\x1f\x8b\x08\x00" + RANDOM, "is compressed with gzip", "unpack it first"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + RANDOM, "is an HDF5 file", "choose a"),
    "zip": (b"PK\x03\x04" + RANDOM, "", ""),
    "pickle": (pickle.dumps({"a": 1}), "is a pickle", ""),
    "safetensors": (
        safetensors.numpy.save({"a": np.zeros(2, np.float32)}),
        "is a safetensors file",
        "choose a file of that kind",
    ),
    "random": (RANDOM, "starts with the bytes", "or fetch it again"),
    "zeros": (bytes(100), "starts with the bytes 00 00 00 00", "or fetch it again"),
}


def refusal(read, path: pathlib.Path) -> str:
    """The message of the error that read(path) must raise, checked to be one line with the path."""
    with pytest.raises(UserError) as caught:
        read(path)
    message = str(caught.value)
    assert message.isprintable() and message.startswith((f"{path} ", f"cannot read {path}: "))
    return message


def check_bad(read, tmp_path: pathlib.Path, name: str, expected: str) -> None:
    """One of BAD is refused in one line that says what it is, what was expected and the way out."""
    data, found, way_out = BAD[name]
    path = tmp_path / "given.bin"
    path.write_bytes(data)
    message = refusal(read, path)
    assert found in message and f"expected {expected}; " in message and way_out in message


def check_cut(read, path: pathlib.Path, whole: bytes, step: int = 1) -> None:
    """A file that is cut short anywhere is refused."""
    path.write_bytes(whole)
    read(path)
    for length in range(0, len(whole), step):
        path.write_bytes(whole[:length])
        refusal(read, path)


def check_flipped(read, path: pathlib.Path, whole: bytes, times: int) -> None:
    """A file with some wrong bytes is read or refused; nothing else happens."""
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(times):
        data = np.frombuffer(whole, np.uint8).copy()
        at = rng.integers(len(data), size=rng.integers(1, 4))
        data[at] = rng.integers(256, size=len(at))
        path.write_bytes(data.tobytes())
        try:
            for array in read(path).values():
                assert array.end <= len(whole)
        except UserError as error:
            assert str(error).isprintable() and str(path) in str(error)
            refused += 1
    assert refused > 0
