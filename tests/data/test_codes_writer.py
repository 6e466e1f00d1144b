"""How a codes file is built: once for each key, in batches, by any number of hosts."""

import dataclasses
import hashlib
import json
import threading
import time

import numpy as np
import pytest

from maskgit_prompt.data import augment, codes, codes_writer
from maskgit_prompt.data.augment import Views
from maskgit_prompt.data.codes_writer import Host
from maskgit_prompt.errors import UsageError, UserError
from tests.data.building import Encoder, build, files, image_set


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


def test_the_same_key_is_reused_without_encoding(tmp_path):
    build(tmp_path, Encoder())
    before = files(tmp_path)
    built = build(
        tmp_path, Encoder(stop_after=0), batch_size=7, key={"size": 4, "tokenizer": "abc"}
    )
    assert built.codes[5, 0].tolist() == [5, 100, 0] and files(tmp_path) == before
    opened = codes.open_unchecked(built.folder, codes.read_index(built.folder))
    assert opened.key["tokenizer"] == "abc" and opened.codes[9, 0, 0] == 9


@pytest.mark.parametrize(
    "change",
    [
        {"key": {"tokenizer": "abd", "size": 4}},
        {"images": image_set(fingerprint="g")},
        {"views": Views(2, augment.random_crop_flip())},
    ],
)
def test_anything_else_is_encoded_anew(tmp_path, change):
    first, encoder = build(tmp_path, Encoder()), Encoder()
    other = build(tmp_path, encoder, **change)
    assert other.folder != first.folder and encoder.batches
    assert first.codes[9, 0, 0] == 9


def test_views_settings_and_seed_are_in_the_key(tmp_path):
    folders = {
        build(tmp_path, Encoder(), views=Views(2, view_fn, seed)).folder
        for view_fn in (augment.random_crop_flip(0.1), augment.random_crop_flip(0.2))
        for seed in (0, 1)
    }
    assert len(folders) == 4


def test_codes_of_workdirs_that_exist_are_found(tmp_path):
    # Names of folders that earlier versions made: a change here encodes everybody's images again.
    plain = build(tmp_path, Encoder())
    assert plain.folder.name == "60640f2b0a293fc0f74390927e3a5d9e6e85d7efd82f526e92a05a7df0830d98"
    views = build(tmp_path, Encoder(), views=Views(2, augment.random_crop_flip(0.25), seed=7))
    assert views.folder.name == "15a0c6893de3e7886a581299e02eee3861e4fffe0825abce7c996b8642dbcc3d"


def test_labels_are_no_part_of_the_key(tmp_path):
    first = build(tmp_path, Encoder())
    other = image_set(labels=np.zeros(10, np.int32))
    assert build(tmp_path, Encoder(stop_after=0), images=other).folder == first.folder


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "codes").write_text("a file")
    with pytest.raises(UserError, match=r"cannot be made \(File exists\)"):
        build(tmp_path / "codes", Encoder())


def test_views_depend_on_seed_index_and_view_only(tmp_path):
    crops = augment.random_crop_flip(0.5)
    views = Views(3, crops)
    first = np.asarray(build(tmp_path / "a", Encoder(), views=views).codes)
    other = np.asarray(
        build(tmp_path / "b", Encoder(), views=views, batch_size=7, shard_size=4).codes
    )
    np.testing.assert_array_equal(first, other)
    assert first[:, 0].tolist() == [[i, 100, 0] for i in range(10)]  # view 0 is plain
    assert (first[..., 0] == np.arange(10)[:, None]).all()  # every view is of its own image
    mirrored = first[:, 1:, 1] < first[:, 1:, 2]
    assert 3 < mirrored.sum() < 17
    reseeded = np.asarray(build(tmp_path / "c", Encoder(), views=Views(3, crops, seed=1)).codes)
    assert (reseeded != first).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size 0: expected at least 1"),
        ({"shard_size": 0}, "shard_size 0: expected at least 1"),
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


def test_a_subset_is_encoded_for_itself(tmp_path):
    images = image_set().subset(np.array([7, 1]))
    assert images.labels.tolist() == [1, 1] and images.ids == ("7", "1")
    built = build(tmp_path, Encoder(), images=images)
    assert built.codes[:, 0, 0].tolist() == [7, 1]
    assert images.fingerprint != image_set().subset(np.array([1, 7])).fingerprint
    assert images.fingerprint == image_set().subset(np.array([7, 1])).fingerprint


def build_on(path, hosts, encoders):
    """All hosts at once, each in a thread; what each found, or the error that ended it."""
    gate, found = threading.Barrier(hosts), [None] * hosts

    def one(host):
        def meet(name):
            gate.wait(timeout=20)

        try:
            found[host] = build(path, encoders[host], host=Host(host, hosts, meet))
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
