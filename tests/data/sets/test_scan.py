"""Every file is looked at once: by threads, by hosts, and not again at the next start."""

import concurrent.futures
import os
import threading
import zipfile

import numpy as np
import pytest

from maskgit_prompt.data.pixels import Preprocessing
from maskgit_prompt.data.sets import places, scan
from maskgit_prompt.data.sets.folder import image_folder
from maskgit_prompt.devices import distributed
from maskgit_prompt.errors import UserError
from tests.data.pictures import save


@pytest.fixture
def decoded(monkeypatch):
    """How many images scans have decoded; files are old enough to be known by their times."""
    calls = []
    examine = scan.examine
    monkeypatch.setattr(scan, "examine", lambda *args: calls.append(1) or examine(*args))
    monkeypatch.setattr(scan, "KEPT_FROM", 3)
    monkeypatch.setattr(places, "_SETTLED_NS", 0)
    return calls


def some(folder, count=5):
    for i in range(count):
        save(folder / "c" / f"{i}.bmp", (i, 200, 0))
    return folder


# The kept scan.


def test_a_second_scan_reads_only_what_has_changed(tmp_path, decoded):
    folder, cache = some(tmp_path / "set"), tmp_path / "cache"
    first = image_folder(folder, Preprocessing(8), cache=cache)
    assert len(decoded) == 5
    again = image_folder(folder, Preprocessing(8), cache=cache)
    assert len(decoded) == 5
    assert again.fingerprint == first.fingerprint and again.ids == first.ids
    assert again.pixels()[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]

    # Other contents of the same size and with the old time of modification.
    path = folder / "c" / "2.bmp"
    before = os.stat(path)
    save(path, (9, 0, 0))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = os.stat(path)
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    changed = image_folder(folder, Preprocessing(8), cache=cache)
    assert len(decoded) == 6 and changed.fingerprint != first.fingerprint

    # A new file, one that is gone, and one of another name.
    save(folder / "c" / "5.bmp", (5, 0, 0))
    (folder / "c" / "0.bmp").unlink()
    (folder / "c" / "1.bmp").rename(folder / "c" / "6.bmp")
    images = image_folder(folder, Preprocessing(8), cache=cache)
    assert len(decoded) == 8
    assert images.pixels()[:, 0, 0, 0].tolist() == [9, 3, 4, 5, 1]
    image_folder(folder, Preprocessing(8), cache=cache)
    assert len(decoded) == 8
    image_folder(folder, Preprocessing(4), cache=cache)  # another size has a scan of its own
    assert len(decoded) == 13 and len(list(cache.iterdir())) == 2


def test_of_an_archive_nothing_is_read_again_until_it_changes(tmp_path, decoded):
    some(tmp_path / "set")
    file, cache = tmp_path / "set.zip", tmp_path / "cache"
    for _ in range(2):
        with zipfile.ZipFile(file, "w") as archive:
            for i in range(5):
                archive.write(tmp_path / "set" / "c" / f"{i}.bmp", f"c/{i}.bmp")
        decoded.clear()
        image_folder(file, Preprocessing(8), cache=cache)
        image_folder(file, Preprocessing(8), cache=cache)
        assert len(decoded) == 5


def test_a_file_that_has_just_changed_is_read_again(tmp_path, decoded, monkeypatch):
    folder, cache = some(tmp_path / "set"), tmp_path / "cache"
    monkeypatch.setattr(places, "_SETTLED_NS", 10**12)
    image_folder(folder, Preprocessing(8), cache=cache)
    image_folder(folder, Preprocessing(8), cache=cache)
    assert len(decoded) == 10


def test_broken_files_are_known_to_be_broken(tmp_path, decoded, warnings):
    folder, cache = some(tmp_path / "set"), tmp_path / "cache"
    (folder / "c" / "1.bmp").write_bytes(b"")
    for _ in range(2):
        assert len(image_folder(folder, Preprocessing(8), cache=cache)) == 4
    assert len(decoded) == 5
    assert warnings == [f"skipped 1 of 5 images in {folder}: c/1.bmp (the file is empty)"] * 2


@pytest.mark.parametrize("damage", [lambda data: data[:1000], lambda data: b"", lambda data: b"x"])
def test_a_damaged_scan_is_made_again(damage, tmp_path, decoded, warnings):
    folder, cache = some(tmp_path / "set"), tmp_path / "cache"
    first = image_folder(folder, Preprocessing(8), cache=cache)
    [file] = cache.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    assert image_folder(folder, Preprocessing(8), cache=cache).fingerprint == first.fingerprint
    assert len(decoded) == 10 and len(warnings) == 1
    assert warnings[0].startswith(f"{file} is damaged (")
    assert file.read_bytes() == whole


def test_small_sets_keep_nothing(tmp_path, decoded):
    image_folder(some(tmp_path / "set", 2), Preprocessing(8), cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_folders_do_not_share_scans(tmp_path, decoded):
    one, two = some(tmp_path / "one" / "set"), some(tmp_path / "two" / "set")
    save(two / "c" / "0.bmp", (9, 0, 0))
    images = [
        image_folder(folder, Preprocessing(8), cache=tmp_path / "cache") for folder in (one, two)
    ]
    assert len(decoded) == 10 and images[0].fingerprint != images[1].fingerprint


# Several hosts.


class Hosts:
    """Threads that take each other for hosts."""

    def __init__(self, count, monkeypatch):
        self.count = count
        self._here = threading.local()
        self._given = [b""] * count
        self._barrier = threading.Barrier(count)
        monkeypatch.setattr(distributed, "index_and_count", lambda: (self._here.index, count))
        monkeypatch.setattr(distributed, "is_first", lambda: self._here.index == 0)
        monkeypatch.setattr(distributed, "gather", self._gather)

    def _gather(self, data):
        self._given[self._here.index] = data
        self._barrier.wait(60)
        given = list(self._given)
        self._barrier.wait(60)
        return given

    def __call__(self, function):
        """What a function of the host's number returns, or raises, on each."""

        def run(index):
            self._here.index = index
            try:
                return function(index)
            except UserError as error:
                return error

        with concurrent.futures.ThreadPoolExecutor(self.count) as pool:
            return list(pool.map(run, range(self.count)))


@pytest.mark.parametrize("count", [2, 3, 7])
def test_many_hosts_find_what_one_finds(count, tmp_path, decoded, warnings, monkeypatch):
    folder, cache = some(tmp_path / "set"), tmp_path / "cache"
    for name in ("0.bmp", "3.bmp"):
        (folder / "c" / name).write_bytes(b"")
    one = image_folder(folder, Preprocessing(8))
    expected = [f"skipped 2 of 5 images in {folder}: c/0.bmp (the file is empty), c/3.bmp (the f"]
    assert [line[: len(expected[0])] for line in warnings] == expected
    decoded.clear()
    hosts = Hosts(count, monkeypatch)
    for found in hosts(lambda _: image_folder(folder, Preprocessing(8), cache=cache)):
        assert found.ids == one.ids == ("c/1.bmp", "c/2.bmp", "c/4.bmp")
        assert found.fingerprint == one.fingerprint
        np.testing.assert_array_equal(found.pixels(), one.pixels())
    assert len(decoded) == 5  # of all hosts together
    assert warnings == warnings[:1] * (1 + count)
    assert len(list(cache.iterdir())) == 1
    hosts(lambda _: image_folder(folder, Preprocessing(8), cache=cache))
    assert len(decoded) == 5


def test_all_hosts_refuse_a_broken_image_with_the_same_words(tmp_path, monkeypatch):
    folder = some(tmp_path / "set")
    (folder / "c" / "4.bmp").write_bytes(b"")
    errors = Hosts(2, monkeypatch)(lambda _: image_folder(folder, Preprocessing(8), strict=True))
    assert str(errors[0]) == str(errors[1])
    assert str(errors[0]).startswith(f"1 of 5 images in {folder} cannot be read: c/4.bmp (the file")


def test_hosts_that_see_different_files(tmp_path, monkeypatch):
    folders = [some(tmp_path / "0" / "set", 5), some(tmp_path / "1" / "set", 4)]
    errors = Hosts(2, monkeypatch)(lambda host: image_folder(folders[host], Preprocessing(8)))
    assert [str(error).split(" see different images in ")[0] for error in errors] == ["hosts"] * 2
    assert "5, 4 by host; expected the same names on all" in str(errors[0])
