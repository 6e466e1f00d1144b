"""Prepared TFDS data at random: slices, labels, pixels, damage, what is kept, hosts."""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import types

import numpy as np
import pytest
from etils import epath

from maskgit_prompt import config as defaults
from maskgit_prompt import distributed
from maskgit_prompt.data import builders, parts, places, record_scan, vtab
from maskgit_prompt.data.records import TFRecords, groups
from maskgit_prompt.errors import UsageError, UserError
from tests import prepared

ROOT = pathlib.Path(__file__).parents[2]


def data_config(data_dir, task="svhn", **changes):
    config = defaults.vtab(defaults.transfer(), "", "vtab.py").data
    config.task, config.data_dir = task, str(data_dir)
    config.update(changes)
    return config


def load(data_dir, task="svhn", size=32, cache=None, **changes):
    return parts.load(data_config(data_dir, task, **changes), size, cache)


def numbers(found: parts.Parts, rows: np.ndarray) -> list[int]:
    """Which images these are, by their red: of svhn train 0 to 23, test 24 to 47."""
    return found.images.read(rows)[:, 0, 0, 0].tolist()


# --- Slices, labels, pixels ----------------------------------------------------------------------


def test_parts_of_a_task(vtab_data):
    found = load(vtab_data)
    # train[:90%] of 24, then all of train and all of test.
    assert numbers(found, found.tune) == list(range(21))
    assert numbers(found, found.reference) == list(range(48))
    assert found.reference_name == "real images of the split all"
    halves = numbers(found, np.concatenate([found.judge, found.test]))
    assert sorted(halves) == list(range(24, 48))
    assert found.labels(found.tune).tolist() == [i % 10 for i in range(21)]
    assert found.images.name == "svhn" and found.images.classes == tuple("0123456789")


def test_some_are_held_out_and_all_are_the_reference(vtab_data):
    found = load(vtab_data, "patch_camelyon", size=8)
    # Two classes of twelve test images: six of each to judge, six held out; at most eight of the
    # twelve are two thirds.
    thin = found.thinned(8, seed=0)
    for part in ("judge", "test"):
        few, all_of_them = getattr(thin, part), getattr(found, part)
        assert set(few) < set(all_of_them)
        assert np.bincount(found.labels(all_of_them)).tolist() == [6, 6]
        assert np.bincount(found.labels(few)).tolist() == [4, 4]
    assert len(thin.reference) == 72 and len(thin.tune) == 24
    assert found.thinned(12, seed=0).test.tolist() == found.test.tolist()


def test_read_in_any_order_and_more_than_once(vtab_data):
    found = load(vtab_data)
    rows = np.array([found.tune[20], found.tune[3], found.tune[20], found.tune[7]])
    assert numbers(found, rows) == [20, 3, 20, 7]
    assert [found.images.ids[row][-2:] for row in rows[:2]] == ["#6", "#3"]  # seven a file


@pytest.mark.parametrize(
    ("task", "split", "expected"),
    [
        ("svhn", "val", range(21, 24)),
        ("svhn", "trainval", range(24)),
        ("dtd", "trainval", range(48)),
        ("smallnorb_azimuth", "trainval", [*range(24), *range(24, 36)]),
        ("clevr_count_all", "val", range(21, 24)),
        ("eurosat", "val", range(14, 18)),
    ],
)
def test_splits_on_real_files(vtab_data, task, split, expected):
    found = load(vtab_data, task, split=split, size=8)
    ids = [found.images.ids[row] for row in found.tune]
    assert ids == ids_of(vtab_data, task, expected)


def ids_of(folder, task, expected):
    """Names of records by their place in the order train, validation, test."""
    builder = vtab.open_task(vtab.BY_NAME[task], str(folder))
    names = []
    for split in ("train", "validation", "test"):
        if split in builder.info.splits:
            info = builder.info.splits[split]
            for path, count in zip(info.filepaths, info.shard_lengths, strict=True):
                names += [f"{path.name}#{i}" for i in range(count)]
    return [names[i] for i in expected]


@pytest.mark.parametrize("task", vtab.TASKS, ids=lambda task: task.name)
def test_every_task_reads(vtab_data, task):
    found = load(vtab_data, task.name, size=16)
    pixels = found.images.read(found.tune[:3])
    assert pixels.shape == (3, 16, 16, 3) and pixels.dtype == np.uint8
    labels = found.labels(found.reference)
    assert labels.min() >= 0 and labels.max() < task.classes
    assert found.images.classes == vtab.labels(task, vtab.open_task(task, str(vtab_data))).classes


def test_labels_of_derived_tasks(vtab_data):
    def labels(task):
        found = load(vtab_data, task)
        return found.labels(found.tune)[:8].tolist()

    assert labels("kitti_closest_vehicle_distance") == [0, 1, 2, 3, 0, 1, 2, 3]
    assert labels("clevr_count_all") == list(range(8))
    # The nearest at 7.75, 8.25, 8.75, 9.25, 9.75, 10.25, and again.
    assert labels("clevr_closest_object_distance") == [0, 1, 2, 3, 4, 5, 0, 1]
    assert labels("dsprites_x_position") == [0, 0, 1, 1, 2, 2, 3, 3]
    assert labels("dsprites_orientation") == [0, 0, 0, 1, 1, 2, 2, 2]


def test_channels_and_crop(vtab_data):
    sprites = load(vtab_data, "dsprites_x_position", size=64)
    pixels = sprites.images.read(sprites.tune[:2])
    assert set(np.unique(pixels)) == {0, 255}  # stored as 0 and 1
    assert (pixels == pixels[..., :1]).all()
    norb = load(vtab_data, "smallnorb_azimuth", size=96)
    grey = norb.images.read(norb.tune[:1])[0]
    expected = prepared.picture(0, 96, 96, 1)  # the first camera
    np.testing.assert_array_equal(grey, expected.repeat(3, axis=2))
    # 24 x 60: the middle 24 columns, from 18 on; green rises from 0 to 255 over all 60.
    wide = load(vtab_data, "kitti_closest_vehicle_distance", size=24)
    green = wide.images.read(wide.tune[:1])[0, 0, :, 1]
    np.testing.assert_array_equal(green, np.linspace(0, 255, 60).astype(np.uint8)[18:42])


def test_two_tasks_on_one_data_set_have_one_fingerprint(vtab_data):
    azimuth, elevation = (load(vtab_data, f"smallnorb_{n}") for n in ("azimuth", "elevation"))
    assert azimuth.images.fingerprint == elevation.images.fingerprint
    assert azimuth.images.fingerprint != load(vtab_data, "smallnorb_azimuth", 16).images.fingerprint
    assert azimuth.images.fingerprint != load(vtab_data, "clevr_count_all").images.fingerprint


def test_train800val200(tmp_path):
    examples = [prepared.labelled(100, 8, 8, id="a", coarse_label=0)(i % 250) for i in range(2010)]
    examples = [
        e | {"image": np.full([32, 32, 3], i % 250, np.uint8)} for i, e in enumerate(examples)
    ]
    splits = {"train": examples, "test": examples[:10]}
    prepared.write(tmp_path, "cifar100:3.*.*", splits, per_shard=500)
    found = load(tmp_path, "cifar100", split="train800val200")
    # The first 800, then 200 from 1,809 = 90 % of 2,010 on.
    assert numbers(found, found.tune) == [i % 250 for i in [*range(800), *range(1809, 2009)]]
    few = load(tmp_path, "cifar100", split="train800", shots=2)
    assert np.bincount(few.labels(few.tune)).tolist() == [2] * 100


def test_array_record_files_give_the_same(vtab_data, tmp_path):
    _, example = prepared.BUILDERS["svhn_cropped:3.*.*"]
    splits = {s: [example(i + 24 * k) for i in range(24)] for k, s in enumerate(("train", "test"))}
    prepared.write(tmp_path, "svhn_cropped:3.*.*", splits, file_format="array_record")
    assert list(tmp_path.rglob("*.array_record*"))
    record, array = load(vtab_data), load(tmp_path)
    assert numbers(array, array.tune[[5, 20]]) == [5, 20]
    assert array.images.fingerprint == record.images.fingerprint
    np.testing.assert_array_equal(array.test, record.test)


def test_tensorflow_is_not_needed(vtab_data):
    code = (
        "from tests import light; light.leave_out_for_good('tensorflow')\n"
        "from tests.data import test_prepared as t\n"
        f"found = t.load({str(vtab_data)!r}, 'clevr_count_all')\n"
        "found.images.read(found.tune)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_what_is_tuned_on_has_one_fingerprint_whatever_it_is_compared_with(vtab_data):
    sets = [load(vtab_data, reference=name) for name in ("all", "", "val")]
    assert len({found.images.fingerprint for found in sets}) == 2
    assert len({found.images.subset(found.tune).fingerprint for found in sets}) == 1
    assert len({found.images.subset(found.tune[:-1]).fingerprint for found in sets}) == 1
    other = sets[0].images.subset(sets[0].tune[::-1]).fingerprint  # in another order
    assert other != sets[0].images.subset(sets[0].tune).fingerprint


@pytest.mark.parametrize("split", ["train[3:9]+test[20:]", "test[:50%]+train"])
def test_images_labels_and_order_are_those_of_tfds(vtab_data, split):
    """Against TFDS's own reading, in stored order."""
    import tensorflow_datasets as tfds

    builder = tfds.builder("svhn_cropped", data_dir=vtab_data)
    one_after_the_other = tfds.ReadConfig(interleave_cycle_length=1)
    theirs = list(tfds.as_numpy(builder.as_dataset(split=split, read_config=one_after_the_other)))
    ours = parts.load(tfds_config(vtab_data, split=split), 32)
    pixels = ours.images.read(ours.tune)
    assert len(pixels) == len(theirs) > 9
    for image, label, example in zip(pixels, ours.labels(ours.tune), theirs, strict=True):
        np.testing.assert_array_equal(image, example["image"])
        assert label == example["label"]


# --- Any data set of TFDS ------------------------------------------------------------------------


def tfds_config(data_dir, **changes):
    config = defaults.transfer().data
    config.name, config.dataset, config.data_dir = "tfds", "svhn_cropped", str(data_dir)
    config.shots = 0
    config.update(changes)
    return config


def test_any_data_set_by_its_slices(vtab_data):
    found = parts.load(tfds_config(vtab_data, split="train[3:9]+train[20:]"), 32)
    assert numbers(found, found.tune) == [3, 4, 5, 6, 7, 8, 20, 21, 22, 23]
    assert found.reference is found.test and found.images.name == "svhn_cropped/3.1.0"


def test_some_classes_in_an_order_and_with_names(vtab_data):
    found = parts.load(tfds_config(vtab_data, classes=("7=seven", "2"), shots=1), 32)
    assert found.images.classes == ("seven", "2")
    assert {n % 10 for n in numbers(found, found.tune)} == {7, 2}
    labels = found.labels(found.tune)
    assert [(7, 2)[label] for label in labels] == [n % 10 for n in numbers(found, found.tune)]
    assert {n % 10 for n in numbers(found, found.test)} <= {7, 2}


def test_the_choice_depends_on_seed_and_class_alone(vtab_data):
    def chosen(seed, *classes):
        found = parts.load(tfds_config(vtab_data, classes=classes, shots=1, seed=seed), 32)
        return dict(zip(found.labels(found.tune).tolist(), numbers(found, found.tune), strict=True))

    assert chosen(0, "1", "2") == chosen(0, "1", "2")
    assert chosen(0, "1", "2")[0] == chosen(0, "1", "5")[0]
    assert len({chosen(seed, "1")[0] for seed in range(12)}) > 1


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"dataset": "svhnx"}, UsageError, "TFDS has no data set svhnx"),
        ({"dataset": "eurosat/rgbx"}, UsageError, "TFDS has no data set eurosat/rgbx"),
        ({"label": "species"}, UsageError, "config.data.label = 'species': svhn_cropped/3.1.0 has"),
        ({"split": "train[:99]"}, UserError, r"has no slice 'train\[:99\]'.* train of 24"),
        ({"split": "tarin"}, UserError, r"has no slice 'tarin'"),
        ({"split": "train[:1%]"}, UserError, r"has no slice 'train\[:1%\]'.*train of 24"),
        ({"split": ""}, UsageError, "config.data.split is empty, expected a split or slice"),
        ({"classes": ("3", "3")}, UsageError, "expected each class once"),
        ({"classes": ("11",)}, UsageError, "has no class '11' among its 10; near are 1"),
        ({"dataset": "dtd:2.0.0"}, UsageError, "TFDS has no data set dtd:2.0.0"),
    ],
)
def test_what_tfds_does_not_have_is_one_line(vtab_data, changes, error, message):
    with pytest.raises(error, match=message) as caught:
        parts.load(tfds_config(vtab_data, **changes), 32)
    assert len(str(caught.value)) < 500 and "\n" not in str(caught.value)


def test_unprepared_data_says_how_to_get_it(tmp_path):
    with pytest.raises(UserError, match=r"svhn_cropped/3.1.0 is not prepared in .*: python -c "):
        load(tmp_path)


# --- Versions ------------------------------------------------------------------------------------


def test_another_version_that_is_prepared_is_read(tmp_path):
    _, example = prepared.BUILDERS["kitti:3.1.0"]
    splits = {split: [example(i) for i in range(9)] for split in ("train", "validation", "test")}
    prepared.write(tmp_path, "kitti:3.3.0", splits)
    task = vtab.BY_NAME["kitti_closest_vehicle_distance"]
    assert str(vtab.open_task(task, str(tmp_path)).info.version) == "3.3.0"


def test_pets_of_an_older_tfds_are_read(vtab_data, tmp_path):
    """What the reference pins, 3, is no longer in TFDS's code, but may lie on a disk."""
    place = tmp_path / "oxford_iiit_pet" / "3.2.0"
    shutil.copytree(vtab_data / "oxford_iiit_pet" / "4.0.0", place)
    info = json.loads((place / "dataset_info.json").read_text())
    (place / "dataset_info.json").write_text(json.dumps(info | {"version": "3.2.0"}))
    builder = vtab.open_task(vtab.BY_NAME["oxford_iiit_pet"], str(tmp_path))
    assert str(builder.info.version) == "3.2.0" and builders.is_prepared(builder)
    found = load(tmp_path, "oxford_iiit_pet")
    assert found.labels(found.tune).tolist() == list(range(19))


# --- Remote files --------------------------------------------------------------------------------


def test_records_in_a_bucket(vtab_data, monkeypatch):
    """gs://bucket is a folder of this machine, for everything that goes through etils.epath."""
    [path] = vtab_data.rglob("svhn_cropped-train.tfrecord-00001*")
    remote = str(path).replace(str(vtab_data), "gs://bucket")
    real = epath.Path
    local = lambda path: real(str(path).replace("gs://bucket", str(vtab_data)))
    monkeypatch.setattr(epath, "Path", local)
    records = TFRecords([remote])
    whole = list(records.scan(0))
    assert len(whole) == 7 and records.lengths[0].tolist() == [len(r) for r in whole]
    assert records.read(np.zeros(3, int), np.array([5, 0, 5])) == [whole[5], whole[0], whole[5]]
    assert record_scan._stamp(remote).startswith(f"{path.stat().st_size} ")


# --- What is kept, and damage --------------------------------------------------------------------


@pytest.fixture
def settled(monkeypatch):
    """Files that have just been written are taken for files that will not change again."""
    monkeypatch.setattr(places, "_SETTLED_NS", 0)


@pytest.fixture
def svhn(vtab_data, tmp_path, settled):
    shutil.copytree(vtab_data / "svhn_cropped", tmp_path / "data" / "svhn_cropped")
    return tmp_path / "data"


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


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-1], "is cut short or damaged at byte"),
        (lambda data: data[:5], "is cut short or damaged at byte 0"),
        (lambda data: b"\xff" * 8 + data[8:], "is cut short or damaged at byte 0"),
        (lambda data: data[: 16 + int.from_bytes(data[:8], "little")], "holds 1 records, expected"),
        (lambda data: data[:12] + b"\0" * 40 + data[52:], "record 0 of .* is no example"),
    ],
)
def test_damaged_files_are_named(svhn, damage, message):
    [path] = svhn.rglob("*-train.tfrecord-00001*")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=message) as caught:
        load(svhn)
    assert path.name in str(caught.value)


@pytest.mark.parametrize("damage", [lambda d: b"", lambda d: d[:-9], lambda d: b"x" * len(d), None])
def test_damaged_array_records_are_named(vtab_data, tmp_path, damage):
    _, example = prepared.BUILDERS["svhn_cropped:3.*.*"]
    splits = {split: map(example, range(9)) for split in ("train", "test")}
    prepared.write(tmp_path, "svhn_cropped:3.*.*", splits, file_format="array_record")
    [path] = tmp_path.rglob("*-train.array_record-00001*")
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError) as caught:
        load(tmp_path)
    assert path.name in str(caught.value) and "\n" not in str(caught.value)


def test_an_image_that_is_damaged_is_named_when_it_is_read(svhn):
    [path] = svhn.rglob("*-train.tfrecord-00001*")
    data = bytearray(path.read_bytes())
    place = data.index(b"IDAT")
    data[place + 4 : place + 60] = bytes(56)
    path.write_bytes(data)
    found = load(svhn)
    with pytest.raises(UserError, match=r"svhn_cropped-train.*-00001.*#0 is damaged \(.*prepare"):
        found.images.read(found.tune)


def test_a_folder_of_data_in_the_home_folder(vtab_data, monkeypatch):
    monkeypatch.setenv("HOME", str(vtab_data.parent))
    assert len(load(f"~/{vtab_data.name}").tune) == 21


def test_a_missing_file_is_named(svhn):
    [path] = svhn.rglob("*-train.tfrecord-00001*")
    path.unlink()
    with pytest.raises(UserError, match="svhn_cropped-train.tfrecord-00001.*No such file"):
        load(svhn)


def test_a_label_out_of_range_is_named(tmp_path):
    _, example = prepared.BUILDERS["diabetic_retinopathy_detection/btgraham-300:3.*.*"]
    bad = [example(0), example(1) | {"label": -1}]
    splits = {"train": bad, "validation": bad[:1], "test": bad[:1], "sample": bad[:1]}
    prepared.write(tmp_path, "diabetic_retinopathy_detection/btgraham-300:3.*.*", splits)
    with pytest.raises(UserError, match="record 1 of .* has label -1, expected 0 to 4"):
        load(tmp_path, "diabetic_retinopathy")


# --- Records -------------------------------------------------------------------------------------


def test_near_records_are_fetched_together():
    cuts = groups(np.array([0, 10, 999_999]), np.array([5, 15, 1_000_004]))
    assert [(c.start, c.stop) for c in cuts] == [(0, 2), (2, 3)]
    # Gaps are small, but together they are longer than 16 MiB.
    starts = np.arange(3) * 2**23
    assert [(c.start, c.stop) for c in groups(starts, starts + 2**23)] == [(0, 2), (2, 3)]
    assert list(groups(np.zeros(0, int), np.zeros(0, int))) == []


# --- Hosts ---------------------------------------------------------------------------------------


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
