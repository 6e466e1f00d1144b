"""The pass over record files: kept, made again when files change, shared among hosts."""

import contextlib
import os
import threading
import types

import numpy as np
import pytest

from maskgit_prompt.data.sets import places, record_scan, vtab
from maskgit_prompt.data.sets.records import TFRecords
from maskgit_prompt.devices import distributed
from maskgit_prompt.errors import UserError
from tests.data.sets.loading import load, numbers


def test_a_second_start_reads_no_records(svhn, tmp_path, monkeypatch):
    first = load(svhn, cache=tmp_path / "codes")
    assert [p.suffix for p in (tmp_path / "codes").iterdir()] == [".npz"]
    with monkeypatch.context() as patch:
        patch.setattr(TFRecords, "scan", None)
        again = load(svhn, cache=tmp_path / "codes")
    assert again.images.fingerprint == first.images.fingerprint
    assert numbers(again, again.tune) == list(range(21))


def test_files_that_may_change_within_a_tick_of_the_clock_are_not_kept(svhn, tmp_path, monkeypatch):
    monkeypatch.setattr(places, "_SETTLED_NS", 10**15)
    load(svhn, cache=tmp_path / "codes")
    assert not (tmp_path / "codes").exists()


def test_labels_of_all_tasks_on_a_data_set_are_made_at_once(
    vtab_data, tmp_path, settled, monkeypatch
):
    first = load(vtab_data, "clevr_count_all", cache=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(TFRecords, "scan", None)
        other = load(vtab_data, "clevr_closest_object_distance", cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    assert first.labels(first.tune)[:8].tolist() == list(range(8))
    assert other.labels(other.tune)[:8].tolist() == [0, 1, 2, 3, 4, 5, 0, 1]
    np.testing.assert_array_equal(first.images.read([3]), other.images.read([3]))


def test_changed_files_are_read_again(svhn, tmp_path):
    first = load(svhn, cache=tmp_path / "codes")
    [path] = svhn.rglob("*-train.tfrecord-00000*")
    data = bytearray(path.read_bytes())
    stat = path.stat()
    place = data.index(b"IDAT")  # a PNG's pixels
    data[place + 12] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # same size, same time
    again = load(svhn, cache=tmp_path / "codes")
    assert again.images.fingerprint != first.images.fingerprint
    with pytest.raises(UserError, match=r"svhn_cropped-train.*#0 changed while in use"):
        first.images.read(first.tune[:1])


def test_a_damaged_cache_is_made_again(svhn, tmp_path):
    first = load(svhn, cache=tmp_path / "codes")
    [kept] = (tmp_path / "codes").iterdir()
    whole = kept.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"junk"):
        kept.write_bytes(damaged)
        assert load(svhn, cache=tmp_path / "codes").images.fingerprint == first.images.fingerprint
        assert kept.read_bytes() == whole


@pytest.mark.parametrize("hosts", [2, 3])
def test_hosts_share_the_pass_over_the_files(svhn, hosts, monkeypatch):
    builder = vtab.open_task(vtab.BY_NAME["svhn"], str(svhn))
    features = builder.info.features
    info = builder.info.splits["train"]
    paths = [str(path) for path in info.filepaths]  # of 7, 7, 7 and 3 records
    counts = dict(zip(paths, info.shard_lengths, strict=True))

    gate, given, host_of = threading.Barrier(hosts), {}, {}
    scanned, found = [[] for _ in range(hosts)], [None] * hosts
    here = lambda: host_of[threading.get_ident()]

    def gather(data):
        given[here()] = data
        gate.wait(20)
        shares = [given[host] for host in range(hosts)]
        gate.wait(20)
        return shares

    def counting(self, number, scan=TFRecords.scan):
        scanned[here()].append(number)
        return scan(self, number)

    class Pool(contextlib.nullcontext):
        """Works in the host's own thread, so that the test knows whose it is."""

        map = staticmethod(map)

    futures = types.SimpleNamespace(ThreadPoolExecutor=lambda *_: Pool(Pool))
    monkeypatch.setattr(record_scan, "concurrent", types.SimpleNamespace(futures=futures))
    monkeypatch.setattr(distributed, "gather", gather)
    monkeypatch.setattr(distributed, "index_and_count", lambda: (here(), hosts))
    monkeypatch.setattr(TFRecords, "scan", counting)

    def one(host):
        host_of[threading.get_ident()] = host
        rules = {"digit": lambda example: example["label"], "odd": lambda e: e["label"] % 2}
        files = record_scan.RecordFiles(
            "svhn", counts, TFRecords(paths), features.deserialize_example_np, rules
        )
        found[host] = record_scan.scan(files, None)

    threads = [threading.Thread(target=one, args=(host,)) for host in range(hosts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert scanned == [list(range(host, 4, hosts)) for host in range(hosts)]
    for each in found:
        assert each["label/digit"].tolist() == [i % 10 for i in range(24)]
        assert each["label/odd"].tolist() == [i % 2 for i in range(24)]
        for name, array in found[0].items():
            np.testing.assert_array_equal(each[name], array)
