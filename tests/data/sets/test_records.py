"""Record files that are in a bucket, read together, damaged."""

import numpy as np
import pytest
from etils import epath

from maskgit_prompt.data.sets import record_scan
from maskgit_prompt.data.sets.records import TFRecords, groups
from maskgit_prompt.errors import UserError
from tests import prepared
from tests.data.sets.loading import load


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


def test_near_records_are_fetched_together():
    cuts = groups(np.array([0, 10, 999_999]), np.array([5, 15, 1_000_004]))
    assert [(c.start, c.stop) for c in cuts] == [(0, 2), (2, 3)]
    # Gaps are small, but together they are longer than 16 MiB.
    starts = np.arange(3) * 2**23
    assert [(c.start, c.stop) for c in groups(starts, starts + 2**23)] == [(0, 2), (2, 3)]
    assert list(groups(np.zeros(0, int), np.zeros(0, int))) == []


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-1], "is cut short or damaged at byte"),
        (lambda data: data[:5], "is cut short or damaged at byte 0"),
        (lambda data: b"\xff" * 8 + data[8:], "is cut short or damaged at byte 0"),
        (lambda data: data[: 16 + int.from_bytes(data[:8], "little")], "holds 1 records, expected"),
        (lambda data: data[:12] + b"\0" * 40 + data[52:], "record 0 of .* is not an example"),
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
