"""The codes file: built once, reused by key, mended, never half."""

import dataclasses
import errno
import hashlib
import json
import os
import shutil
import threading
import time

import numpy as np
import pytest
from absl import logging

from maskgit_prompt.data import augment, codes, codes_writer
from maskgit_prompt.data.images import ImageSet
from maskgit_prompt.errors import UsageError, UserError

KEY = {"tokenizer": "abc", "size": 4}


def image_set(n=10, fingerprint="f", labels=None):
    """Image i has red i and, left of its middle, green 100."""
    pixels = np.zeros([n, 4, 4, 3], np.uint8)
    pixels[..., 0] = np.arange(n)[:, None, None]
    pixels[:, :, :2, 1] = 100
    labels = np.arange(n, dtype=np.int32) % 2 if labels is None else labels
    ids = tuple(map(str, range(n)))
    return ImageSet("set", ("a", "b"), labels, ids, fingerprint, lambda i: pixels[i])


class Encoder:
    """Codes of an image: its red, and the green of its first and last column."""

    def __init__(self, stop_after=None, offset=0):
        self.batches = []
        self.stop_after = stop_after
        self.offset = offset

    def __call__(self, pixels):
        if len(self.batches) == self.stop_after:
            raise KeyboardInterrupt
        self.batches.append(pixels[:, 0, 0, 0].tolist())
        values = [pixels[:, 0, 0, 0], pixels[:, 0, 0, 1], pixels[:, 0, 3, 1]]
        return np.stack(values, 1).astype(np.int32) + self.offset  # [B, 3]


@pytest.fixture
def warnings(monkeypatch):
    lines = []
    monkeypatch.setattr(logging, "warning", lambda text, *args: lines.append(text % args))
    return lines


def build(path, encoder, **options):
    options = dict(images=image_set(), key=KEY, batch_size=4, shard_size=3) | options
    return codes_writer.build(path, encode=encoder, **options)


def files(path):
    return {
        str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()
    }


def test_codes_labels_and_padding(tmp_path):
    encoder = Encoder()
    built = build(tmp_path, encoder)
    assert np.asarray(built.codes)[:, 0].tolist() == [[i, 100, 0] for i in range(10)]
    assert built.codes.shape == (10, 1, 3) and built.codes.dtype == np.uint16 and len(built) == 10
    # Full batches across shards of 3; the last is padded with its last image.
    assert encoder.batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 9, 9]]
    assert isinstance(built.codes._shards[0], np.memmap)
    names = [path.name for path in sorted(built.folder.iterdir())]
    assert names == [f"codes-0000{i}.npy" for i in range(4)] + ["index.json"]
    index = json.loads((built.folder / "index.json").read_text())
    assert (index["n"], index["views"], index["L"]) == (10, 1, 3)
    assert (
        built.folder.name
        == hashlib.sha256(
            json.dumps(index["key"], sort_keys=True, separators=(",", ":")).encode()
        ).hexdigest()
    )


def test_codes_are_indexed_like_an_array(tmp_path):
    flip = augment.random_crop_flip(0.0)
    built = build(tmp_path, Encoder(), views=3, view_fn=flip)
    whole = np.asarray(built.codes)
    rows, which = np.array([9, 0, 4, 4]), np.array([2, 0, 1, 0])
    for key in [
        0,
        -1,
        (7, 2),
        (7, 2, 1),
        slice(2, 8),
        (slice(None), 0),
        (slice(1, 9, 2), slice(1, 3), 0),
        rows,
        (rows, 1),
        (rows, which),
        (rows, slice(0, 2)),
        whole[:, 0, 0] > 6,
        [3, 1],
    ]:
        np.testing.assert_array_equal(built.codes[key], whole[key], err_msg=str(key))
    with pytest.raises(IndexError, match="out of bounds"):
        built.codes[10]
    with pytest.raises(TypeError, match="the first index of codes is"):
        built.codes[..., 0]


def test_the_same_key_is_reused_without_encoding(tmp_path):
    build(tmp_path, Encoder())
    before = files(tmp_path)
    built = build(
        tmp_path, Encoder(stop_after=0), batch_size=7, key={"size": 4, "tokenizer": "abc"}
    )
    assert built.codes[5, 0].tolist() == [5, 100, 0] and files(tmp_path) == before
    opened = codes.open_codes(built.folder)
    assert opened.key["tokenizer"] == "abc" and opened.codes[9, 0, 0] == 9


@pytest.mark.parametrize(
    "change",
    [
        {"key": {"tokenizer": "abd", "size": 4}},
        {"images": image_set(fingerprint="g")},
        {"views": 2, "view_fn": augment.random_crop_flip()},
    ],
)
def test_anything_else_is_encoded_anew(tmp_path, change):
    first, encoder = build(tmp_path, Encoder()), Encoder()
    other = build(tmp_path, encoder, **change)
    assert other.folder != first.folder and encoder.batches
    assert first.codes[9, 0, 0] == 9


def test_views_settings_and_seed_are_in_the_key(tmp_path):
    folders = {
        build(tmp_path, Encoder(), views=2, view_fn=view_fn, seed=seed).folder
        for view_fn in (augment.random_crop_flip(0.1), augment.random_crop_flip(0.2))
        for seed in (0, 1)
    }
    assert len(folders) == 4


def test_a_folder_that_bears_a_wrong_key_is_not_used(tmp_path, warnings):
    first = build(tmp_path, Encoder()).folder
    second = build(tmp_path, Encoder(), key={"tokenizer": "other"}).folder
    shutil.rmtree(second)
    shutil.copytree(first, second)
    encoder = Encoder(offset=1)
    built = build(tmp_path, encoder, key={"tokenizer": "other"})
    assert built.folder == second and built.codes[0, 0].tolist() == [1, 101, 1]
    assert len(warnings) == 1 and "index.json broken, encoding again" in warnings[0]


def damage_truncate(path):
    path.write_bytes(path.read_bytes()[:-4])


def damage_flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def damage_remove(path):
    path.unlink()


@pytest.mark.parametrize("damage", [damage_truncate, damage_flip, damage_remove])
def test_a_broken_shard_alone_is_encoded_again_with_a_warning(tmp_path, warnings, damage):
    folder = build(tmp_path, Encoder()).folder
    before = files(tmp_path)
    damage(folder / "codes-00001.npy")
    with pytest.raises(UserError, match=r"is broken \(codes-00001\.npy\): encode again"):
        codes.open_codes(folder)
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


def test_labels_are_no_part_of_the_key(tmp_path):
    first = build(tmp_path, Encoder())
    other = image_set(labels=np.zeros(10, np.int32))
    assert build(tmp_path, Encoder(stop_after=0), images=other).folder == first.folder


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


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "codes").write_text("a file")
    with pytest.raises(UserError, match=r"cannot be made \(File exists\)"):
        build(tmp_path / "codes", Encoder())


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


def test_views_depend_on_seed_index_and_view_only(tmp_path):
    options = dict(views=3, view_fn=augment.random_crop_flip(0.5))
    first = np.asarray(build(tmp_path / "a", Encoder(), **options).codes)
    other = np.asarray(
        build(tmp_path / "b", Encoder(), **options, batch_size=7, shard_size=4).codes
    )
    np.testing.assert_array_equal(first, other)
    assert first[:, 0].tolist() == [[i, 100, 0] for i in range(10)]  # view 0 is plain
    assert (first[..., 0] == np.arange(10)[:, None]).all()  # every view is of its own image
    mirrored = first[:, 1:, 1] < first[:, 1:, 2]
    assert 3 < mirrored.sum() < 17
    reseeded = np.asarray(build(tmp_path / "c", Encoder(), **options, seed=1).codes)
    assert (reseeded != first).any()


def test_crop_and_flip_on_digits():
    pixels = np.arange(16, dtype=np.uint8).reshape(4, 4, 1).repeat(3, axis=2)
    rng = np.random.default_rng(0)
    plain, mirrored = pixels.tolist(), pixels[:, ::-1].tolist()
    shown = [augment.random_crop_flip(0.0)(pixels, rng).tolist() for _ in range(20)]
    assert all(view in (plain, mirrored) for view in shown)
    assert plain in shown and mirrored in shown
    unflipped = augment.random_crop_flip(0.0, flip=False)
    assert all(unflipped(pixels, rng).tolist() == plain for _ in range(20))
    crops = [augment.random_crop_flip(0.5, flip=False)(pixels, rng) for _ in range(20)]
    assert all(crop.shape == (4, 4, 3) and crop.dtype == np.uint8 for crop in crops)
    assert all((np.diff(crop[0, :, 0].astype(int)) >= 0).all() for crop in crops)  # not mirrored
    assert len({crop.tobytes() for crop in crops}) > 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size 0: expected at least 1"),
        ({"views": 0}, "views 0: expected at least 1"),
        ({"shard_size": 0}, "shard_size 0: expected at least 1"),
        ({"views": 2}, "views 2 without view_fn"),
        ({"views": 2, "view_fn": lambda pixels, rng: pixels}, "does not tell its settings"),
        ({"images": image_set(0)}, "no images in set: nothing to encode"),
    ],
)
def test_wrong_uses_are_refused_and_write_nothing(tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        build(tmp_path, Encoder(), **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (Encoder(offset=65500), "gave code 65600: a codes file holds 0 to 65535"),
        (Encoder(offset=-1), "gave code -1: a codes file holds"),
        (lambda pixels: np.zeros([4, 2, 2], int), r"gave int64 \[4, 2, 2\] for 4 images"),
        (lambda pixels: np.zeros([3, 2], int), r"gave int64 \[3, 2\] for 4 images"),
        (lambda pixels: np.zeros([4, 2]), r"gave float64 \[4, 2\] for 4 images"),
    ],
)
def test_wrong_codes_are_refused(tmp_path, encoder, message):
    with pytest.raises(UsageError, match=message):
        build(tmp_path, encoder)
    assert [path.suffix for path in tmp_path.iterdir()] == [".partial"]


def test_the_largest_code_is_kept(tmp_path):
    built = build(tmp_path, Encoder(offset=65435))
    assert built.codes[0, 0].tolist() == [65435, 65535, 65435]


def test_another_number_of_codes_in_a_resumed_build_is_refused(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, Encoder(stop_after=1))
    with pytest.raises(UsageError, match=r"holds 3 codes an image in codes-00000.npy and 2 in "):
        build(tmp_path, lambda pixels: np.zeros([4, 2], int))


def test_max_crop_is_a_share():
    with pytest.raises(UsageError, match="max_crop 1.5: expected a share of the side"):
        augment.random_crop_flip(1.5)


def test_open_codes_names_a_folder_without_codes(tmp_path):
    with pytest.raises(UserError, match="is no codes file"):
        codes.open_codes(tmp_path)


def test_the_next_images_are_read_while_these_are_encoded(tmp_path, monkeypatch):
    monkeypatch.setattr(codes_writer, "READ_AHEAD", 4)
    images = image_set()
    read = []

    def reading(indices):
        read.append(indices.tolist())
        return images.read(indices)

    def encode(pixels):
        deadline = time.monotonic() + 5
        while pixels[0, 0, 0, 0] == 0 and len(read) < 2 and time.monotonic() < deadline:
            time.sleep(0.001)
        assert len(read) >= 2
        return np.zeros([4, 3], int)

    build(tmp_path, encode, images=dataclasses.replace(images, read=reading))
    assert read == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_many_small_batches_are_read_at_once(tmp_path):
    images, read = image_set(), []

    def reading(indices):
        read.append(len(indices))
        return images.read(indices)

    encoder = Encoder()
    build(tmp_path, encoder, images=dataclasses.replace(images, read=reading))
    assert read == [10] and len(encoder.batches) == 3


def test_some_rows_are_taken_without_reading(tmp_path):
    built = build(tmp_path, Encoder())
    some = built.codes.take(np.array([9, 2, 2]))
    assert some.shape == (3, 1, 3) and some[:, 0, 0].tolist() == [9, 2, 2]
    assert some.take([2, 0])[:, 0, 0].tolist() == [2, 9]
    assert np.asarray(some)[:, 0, 0].tolist() == [9, 2, 2]


def test_a_subset_is_encoded_for_itself(tmp_path):
    images = image_set().subset(np.array([7, 1]))
    assert images.labels.tolist() == [1, 1] and images.ids == ("7", "1")
    built = build(tmp_path, Encoder(), images=images)
    assert built.codes[:, 0, 0].tolist() == [7, 1]
    assert images.fingerprint != image_set().subset(np.array([1, 7])).fingerprint
    assert images.fingerprint == image_set().subset(np.array([7, 1])).fingerprint


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
    assert len(warnings) == 1 and "another run is encoding" in warnings[0]
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


# --- Several hosts -------------------------------------------------------------------------------


def build_on(path, hosts, encoders):
    """All hosts at once, each in a thread; what each found, or the error that ended it."""
    gate, found = threading.Barrier(hosts), [None] * hosts

    def one(host):
        def meet(name):
            gate.wait(timeout=20)

        try:
            found[host] = build(path, encoders[host], host=host, hosts=hosts, meet=meet)
        except (KeyboardInterrupt, threading.BrokenBarrierError) as error:
            gate.abort()  # as a host that dies ends the others
            found[host] = error

    threads = [threading.Thread(target=one, args=(host,)) for host in range(hosts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@pytest.mark.parametrize("hosts", [2, 3, 5])
def test_any_number_of_hosts_make_the_same_file(tmp_path, hosts):
    build(tmp_path / "one", Encoder())
    encoders = [Encoder() for _ in range(hosts)]
    found = build_on(tmp_path / "many", hosts, encoders)
    assert files(tmp_path / "many") == files(tmp_path / "one")
    assert all(each.codes[:, 0, 0].tolist() == list(range(10)) for each in found)
    # Shards of 3 images: 0, 1, 2 and 3; host h has h, h + hosts, ...
    seen = [sorted({i for batch in e.batches for i in batch}) for e in encoders]
    shards = [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    assert seen == [sum(shards[host::hosts], []) for host in range(hosts)]
    assert found[-1].images_per_second is None if hosts == 5 else found[-1].images_per_second > 0


def test_hosts_find_what_is_encoded(tmp_path):
    build_on(tmp_path, 2, [Encoder(), Encoder()])
    found = build_on(tmp_path, 3, [Encoder(stop_after=0)] * 3)
    assert [each.images_per_second for each in found] == [None] * 3


def test_a_build_of_two_hosts_that_died_goes_on_with_three(tmp_path):
    build(tmp_path / "one", Encoder())
    # Host 1 has shards 1 and 3, four images: it stops before it has one.
    found = build_on(tmp_path / "many", 2, [Encoder(), Encoder(stop_after=0)])
    assert isinstance(found[1], KeyboardInterrupt)
    encoders = [Encoder() for _ in range(3)]
    build_on(tmp_path / "many", 3, encoders)
    assert files(tmp_path / "many") == files(tmp_path / "one")
    seen = sorted({i for e in encoders for batch in e.batches for i in batch})
    assert seen == [3, 4, 5, 9]
