"""Prepared TFDS data at random: slices, labels, pixels, versions."""

import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from maskgit_prompt.data import loading
from maskgit_prompt.data.sets import builders, vtab
from tests import prepared
from tests.data.sets.loading import load, numbers, tfds_config

ROOT = pathlib.Path(__file__).parents[3]


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


def test_another_full_scale_has_other_codes(vtab_data):
    plain, other = load(vtab_data), load(vtab_data, full_scale=4095.0)
    assert plain.images.fingerprint != other.images.fingerprint
    assert other.images.recipe == f"{plain.images.recipe}|full scale 4095"


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


def test_the_whole_of_an_image_is_resized_straight(vtab_data):
    # 24 x 60 as 24 x 24: column c is the mean of 2.5 columns around 2.5 c + 0.75 of the ramp.
    task = "kitti_closest_vehicle_distance"
    wide = load(vtab_data, task, size=24, fit="resize")
    green = wide.images.read(wide.tune[:1])[0, 0, :, 1]
    ramp = (2.5 * np.arange(24) + 0.75) / 59 * 255
    assert np.abs(green[1:-1] - ramp[1:-1]).max() <= 2
    assert wide.images.fingerprint != load(vtab_data, task, size=24).images.fingerprint


def test_the_recipe_is_that_of_workdirs_that_exist(vtab_data):
    steps = "tfds-1, folder-1: exif, 8 bit, on white, centre crop, lanczos"
    assert load(vtab_data).images.recipe == f"{steps}|32|1"
    assert load(vtab_data, "dsprites_x_position", size=64).images.recipe == f"{steps}|64|255"


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
        "from tests.data.sets import loading as t\n"
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
    ours = loading.load(tfds_config(vtab_data, split=split), 32)
    pixels = ours.images.read(ours.tune)
    assert len(pixels) == len(theirs) > 9
    for image, label, example in zip(pixels, ours.labels(ours.tune), theirs, strict=True):
        np.testing.assert_array_equal(image, example["image"])
        assert label == example["label"]


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
