"""Codes files that were stopped, damaged or built twice at once: mended, never half."""

import errno
import json
import os
import shutil
import threading
import time

import numpy as np
import pytest

from maskgit_prompt.data import codes
from maskgit_prompt.errors import UsageError, UserError
from tests.data.building import (
    Encoder,
    build,
    damage_flip,
    damage_remove,
    damage_truncate,
    files,
)


def test_a_folder_that_bears_a_wrong_key_is_not_used(tmp_path, warnings):
    first = build(tmp_path, Encoder()).folder
    second = build(tmp_path, Encoder(), key={"tokenizer": "other"}).folder
    shutil.rmtree(second)
    shutil.copytree(first, second)
    encoder = Encoder(offset=1)
    built = build(tmp_path, encoder, key={"tokenizer": "other"})
    assert built.folder == second and built.codes[0, 0].tolist() == [1, 101, 1]
    assert len(warnings) == 1 and "index.json broken, encoding again" in warnings[0]


@pytest.mark.parametrize("damage", [damage_truncate, damage_flip, damage_remove])
def test_a_broken_shard_alone_is_encoded_again_with_a_warning(tmp_path, warnings, damage):
    folder = build(tmp_path, Encoder()).folder
    before = files(tmp_path)
    damage(folder / "codes-00001.npy")
    assert codes.broken(folder, codes.read_index(folder)) == ["codes-00001.npy"]
    encoder = Encoder()
    build(tmp_path, encoder)
    assert encoder.batches == [[3, 4, 5, 5]]
    assert files(tmp_path) == before
    assert warnings == [f"codes file {folder}: codes-00001.npy broken, encoding again"]


@pytest.mark.parametrize("damage", [damage_truncate, damage_remove])
def test_a_broken_index_is_made_again(tmp_path, warnings, damage):
    folder = build(tmp_path, Encoder()).folder
    before = files(tmp_path)
    damage(folder / "index.json")
    encoder = Encoder()
    build(tmp_path, encoder)
    assert files(tmp_path) == before
    assert len(encoder.batches) == 3
    assert len(warnings) == 1 and "index.json broken" in warnings[0]


@pytest.mark.parametrize(
    "name, value",
    [("n", 9), ("n", "10"), ("n", -1), ("shard_size", 0), ("shard_size", None), ("key", [])]
    + [
        ("files", []),
        ("files", {"codes-00000.npy": 3}),
        ("format", 1),
        ("key", {"tokenizer": "x"}),
    ],
)
def test_an_index_that_says_something_else_is_made_again(tmp_path, warnings, name, value):
    folder = build(tmp_path, Encoder()).folder
    before, path = files(tmp_path), folder / "index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    build(tmp_path, Encoder())
    assert files(tmp_path) == before
    assert warnings == [f"codes file {folder}: index.json broken, encoding again"]


@pytest.mark.parametrize("name", ["n", "shard_size", "key", "files"])
def test_an_index_that_lacks_a_name_is_made_again(tmp_path, name):
    folder = build(tmp_path, Encoder()).folder
    before, path = files(tmp_path), folder / "index.json"
    index = json.loads(path.read_text())
    del index[name]
    path.write_text(json.dumps(index))
    build(tmp_path, Encoder())
    assert files(tmp_path) == before


@pytest.mark.parametrize("stop_after", [0, 1, 2])
def test_a_killed_build_goes_on_from_finished_shards(tmp_path, stop_after):
    whole, part = tmp_path / "whole", tmp_path / "part"
    build(whole, Encoder())
    with pytest.raises(KeyboardInterrupt):
        build(part, Encoder(stop_after))
    assert [path.suffix for path in part.iterdir()] == [".partial"]
    encoder = Encoder()
    build(part, encoder)
    assert files(part) == files(whole)
    # One batch of 4 finishes shard 0..2, two finish shards up to image 5.
    first = {0: 0, 1: 3, 2: 6}[stop_after]
    assert encoder.batches[0][0] == first


def test_a_half_written_shard_of_a_killed_build_is_not_trusted(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, Encoder(stop_after=2))
    [partial] = tmp_path.iterdir()
    damage_truncate(partial / "codes-00000.npy")
    (partial / "codes-00002.npy").write_bytes(b"half")  # there, but not finished
    encoder = Encoder()
    built = build(tmp_path, encoder)
    assert encoder.batches[0] == [0, 1, 2, 6]
    assert built.codes[:, 0, 0].tolist() == list(range(10))


def test_other_shards_make_a_killed_build_start_clean(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, Encoder(stop_after=2))
    built = build(tmp_path, Encoder(), shard_size=5)
    assert sorted(path.name for path in built.folder.glob("codes-*")) == [
        "codes-00000.npy",
        "codes-00001.npy",
    ]
    assert built.codes[:, 0, 0].tolist() == list(range(10))


def test_a_full_disk_is_one_line_and_nothing_is_half_written(tmp_path, monkeypatch):
    synced = []

    def fsync(_):
        synced.append(1)
        if len(synced) == 4:  # index, shard 0, its digest, shard 1
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(UserError, match=r"cannot write .*codes-00001\.npy: No space left"):
            build(tmp_path, Encoder())
    [partial] = tmp_path.iterdir()
    assert sorted(path.name for path in partial.iterdir()) == [
        "codes-00000.npy",
        "codes-00000.sha256",
        "index.json",
    ]
    encoder = Encoder()
    assert build(tmp_path, encoder).codes[:, 0, 0].tolist() == list(range(10))
    assert encoder.batches[0] == [3, 4, 5, 6]


def test_two_builds_at_once_end_in_one_line(tmp_path):
    def intrude(pixels):
        if not list(tmp_path.glob("*.partial/nested")):
            [partial] = tmp_path.glob("*.partial")
            final = partial.with_suffix("")
            final.mkdir()
            (final / "other").write_text("of another run")
            (partial / "nested").write_text("")
        return np.zeros([4, 3], int)

    with pytest.raises(UserError, match="is another run encoding the same images"):
        build(tmp_path, intrude)


def test_another_number_of_codes_in_a_resumed_build_is_refused(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, Encoder(stop_after=1))
    with pytest.raises(UsageError, match=r"holds 3 codes per image in codes-00000.npy and 2 in "):
        build(tmp_path, lambda pixels: np.zeros([4, 2], int))


def test_two_runs_at_once_make_one_file_and_one_waits(tmp_path, warnings):
    started, go_on = threading.Event(), threading.Event()
    first, second = Encoder(), Encoder(stop_after=0)

    def slow(pixels):
        started.set()
        assert go_on.wait(20)
        return first(pixels)

    found = []
    threads = [
        threading.Thread(target=lambda e=e: found.append(build(tmp_path, e)))
        for e in (slow, second)
    ]
    threads[0].start()
    assert started.wait(20)
    threads[1].start()
    deadline = time.monotonic() + 20
    while not warnings and time.monotonic() < deadline:
        time.sleep(0.001)
    go_on.set()
    for thread in threads:
        thread.join()
    assert len(found) == 2 and second.batches == []
    assert len(warnings) == 1 and "is encoding" in warnings[0]
    assert [path.name for path in tmp_path.iterdir()] == [found[0].folder.name]


def test_what_a_killed_build_left_half_written_goes(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, Encoder(stop_after=2))
    [partial] = tmp_path.iterdir()
    (partial / ".codes-00002.npy.77.tmp").write_bytes(b"half")
    index = json.loads((partial / "index.json").read_text())
    index["versions"]["pillow"] = "of another time"
    (partial / "index.json").write_text(json.dumps(index))
    encoder = Encoder()
    folder = build(tmp_path, encoder).folder
    assert encoder.batches[0][0] == 6  # finished shards are kept
    assert not list(folder.glob(".*"))
