"""VTAB's label rules on crafted examples at the edges of their bins, and its splits."""

import json

import numpy as np
import pytest

from maskgit_prompt.data.sets import builders, vtab
from maskgit_prompt.errors import UsageError, UserError


def label(task: str, **example) -> int:
    return vtab.BY_NAME[task].rule(example)


# --- 19 label rules ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "last"),
    [
        ("caltech101", 101),
        ("cifar100", 99),
        ("sun397", 396),
        ("svhn", 9),
        ("oxford_flowers102", 101),
        ("oxford_iiit_pet", 36),
        ("dtd", 46),
        ("eurosat", 9),
        ("resisc45", 44),
        ("patch_camelyon", 1),
        ("diabetic_retinopathy", 4),
        ("dmlab", 5),
    ],
)
def test_labels_stored_as_they_are(task, last):
    assert [label(task, label=np.int64(i)) for i in (0, 1, last)] == [0, 1, last]
    assert vtab.BY_NAME[task].classes == last + 1


def vehicles(*objects: tuple[int, float]) -> dict:
    """Objects of (kind, metres ahead); Car, Van, Truck are 0, 1, 2, a cyclist is 5."""
    return {
        "type": [kind for kind, _ in objects],
        "location": [np.array([-3, 1, z], np.float32) for _, z in objects],
    }


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        (vehicles((0, 8.0)), 0),  # at most 8 m
        (vehicles((0, 8.01)), 1),
        (vehicles((1, 20.0)), 1),
        (vehicles((2, 20.01)), 2),
        (vehicles((2, 999.0)), 2),
        (vehicles(), 3),
        (vehicles((5, 2.0)), 3),  # a cyclist is no vehicle
        (vehicles((3, 2.0), (7, 1.0)), 3),  # nor are pedestrians and trams
        (vehicles((5, 2.0), (0, 30.0), (1, 9.0)), 1),  # the nearest vehicle decides
        (vehicles((0, -1.5)), 0),  # beside the camera
    ],
)
def test_kitti_closest_vehicle_distance(objects, expected):
    assert label("kitti_closest_vehicle_distance", objects=objects) == expected


def test_smallnorb_azimuth():
    assert [label("smallnorb_azimuth", label_azimuth=i) for i in (0, 9, 17)] == [0, 9, 17]
    assert vtab.BY_NAME["smallnorb_azimuth"].names[::9] == ("0°", "180°")


def test_smallnorb_elevation():
    assert [label("smallnorb_elevation", label_elevation=i) for i in (0, 4, 8)] == [0, 4, 8]
    assert vtab.BY_NAME["smallnorb_elevation"].names[::4] == ("30°", "50°", "70°")


def test_dsprites_x_position():
    found = [label("dsprites_x_position", label_x_position=np.int64(i)) for i in range(32)]
    assert found == [i // 2 for i in range(32)]
    assert (found[0], found[1], found[2], found[31]) == (0, 0, 1, 15)


def test_dsprites_orientation():
    found = [label("dsprites_orientation", label_orientation=np.int64(i)) for i in range(40)]
    assert found[:8] == [0, 0, 0, 1, 1, 2, 2, 2] and found[37:] == [14, 15, 15]
    assert np.bincount(found).tolist() == [3, 2] * 8


def objects_at(*depths: float) -> dict:
    return {"pixel_coords": [np.array([9, 9, z], np.float32) for z in depths]}


@pytest.mark.parametrize(
    ("depths", "expected"),
    [
        ((7.5, 11), 0),
        ((8.0, 11), 0),  # an edge belongs to the nearer class
        ((8.01, 8.5), 1),
        ((8.5,), 1),
        ((8.51,), 2),
        ((9.0,), 2),
        ((9.01,), 3),
        ((9.5,), 3),
        ((9.51,), 4),
        ((10.0,), 4),
        ((10.01, 12), 5),
        ((99.0,), 5),
    ],
)
def test_clevr_closest_object_distance(depths, expected):
    assert label("clevr_closest_object_distance", objects=objects_at(*depths)) == expected


def test_clevr_count_all():
    found = [label("clevr_count_all", objects={"size": [0] * n}) for n in (3, 4, 10)]
    assert found == [0, 1, 7]
    assert vtab.BY_NAME["clevr_count_all"].names[0] == "3 objects"


def test_thresholds_are_passed_strictly():
    assert [vtab.above((0.0, 8.0, 8.5), x) for x in (-1, 0, 8, 8.1, 8.5, 8.6)] == [
        -1,
        -1,
        0,
        1,
        1,
        2,
    ]


# --- Tasks and splits ----------------------------------------------------------------------------


@pytest.fixture
def facts(goldens):
    return json.loads((goldens / "vtab" / "slices.json").read_text())


def test_nineteen_tasks_in_three_groups(facts):
    assert [task.name for task in vtab.TASKS] == list(facts)
    for task in vtab.TASKS:
        said = facts[task.name]
        assert (task.group, task.classes, task.dataset) == (
            said["group"],
            said["classes"],
            said["dataset"],
        )
        assert not task.names or len(task.names) == task.classes


@pytest.mark.parametrize("task", vtab.TASKS, ids=lambda task: task.name)
def test_splits_of_the_full_size_data(task, facts):
    said = facts[task.name]
    for split, (text, _) in said["slices"].items():
        assert task.slices(split, said["counts"]) == text


def test_splits_of_small_data():
    counts = {"train": 25, "test": 7}
    assert vtab.BY_NAME["svhn"].slices("train", counts) == "train[:22]"
    assert vtab.BY_NAME["svhn"].slices("val", counts) == "train[22:]"
    assert vtab.BY_NAME["oxford_iiit_pet"].slices("train", counts) == "train[:20]"
    assert vtab.BY_NAME["eurosat"].slices("val", counts) == "train[15:20]"
    assert vtab.BY_NAME["dsprites_orientation"].slices("test", counts) == "train[22:]"
    assert vtab.BY_NAME["svhn"].slices("all", counts) == "train+test"


def test_too_few_images_for_train800():
    with pytest.raises(UserError, match=r"svhn: train\[:22\] has 22 images, expected at least 800"):
        vtab.BY_NAME["svhn"].slices("train800", {"train": 25, "test": 7})
    with pytest.raises(UserError, match=r"test\[:50%\] has 100 images, expected at least 200"):
        vtab.BY_NAME["smallnorb_azimuth"].slices("val200", {"train": 900, "test": 200})


def test_an_unknown_split_is_refused():
    with pytest.raises(UsageError, match="split 'trian', expected train, val, trainval"):
        vtab.BY_NAME["svhn"].slices("trian", {"train": 25, "test": 7})


def test_tasks_are_chosen_by_name_and_group_in_one_order():
    assert len(vtab.chosen(())) == 19
    assert [t.name for t in vtab.chosen(["dtd", "svhn", "dtd"])] == ["svhn", "dtd"]
    assert [t.name for t in vtab.chosen(["specialized", "dmlab"])] == [
        "eurosat",
        "resisc45",
        "patch_camelyon",
        "diabetic_retinopathy",
        "dmlab",
    ]
    with pytest.raises(UsageError, match=r"no VTAB task 'svnh'; expected a group \(natural, "):
        vtab.chosen(["svnh"])


# --- Builders ------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", vtab.TASKS, ids=lambda task: task.name)
def test_every_builder_opens_and_knows_the_classes(task, tmp_path):
    builder = vtab.open_task(task, str(tmp_path))
    assert not builders.is_prepared(builder)
    labels = vtab.labels(task, builder)
    assert len(labels.classes) == len(set(labels.classes)) == task.classes
    assert set(labels.features) <= set(builder.info.features)


def test_the_pinned_versions(tmp_path):
    versions = {
        task.dataset: str(vtab.open_task(task, str(tmp_path)).info.version) for task in vtab.TASKS
    }
    assert versions["kitti"] == "3.1.0" and versions["dmlab"] == "2.0.1"
    assert versions["oxford_iiit_pet"] == "4.0.0" and versions["smallnorb"] == "2.0.0"


def test_how_to_prepare_names_files_packages_and_the_command(monkeypatch):
    monkeypatch.setattr(vtab.importlib.util, "find_spec", lambda name: None)
    said = vtab.how_to_prepare(vtab.BY_NAME["diabetic_retinopathy"], "/data")
    assert "trainLabels.csv, train/*.jpeg" in said and "/data/downloads/manual, then" in said
    assert "pip install opencv-python-headless, then python -c " in said
    assert said.endswith(
        "t.builder('diabetic_retinopathy_detection/btgraham-300:3.*.*', data_dir='/data')"
        '.download_and_prepare()"'
    )
    assert vtab.how_to_prepare(vtab.BY_NAME["svhn"], "").startswith("python -c ")
    monkeypatch.setattr(vtab.importlib.util, "find_spec", lambda name: "is there")
    assert vtab.how_to_prepare(vtab.BY_NAME["sun397"], "").startswith("python -c ")
