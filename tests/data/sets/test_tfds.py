"""Any data set of TFDS by its slices, some of its classes, and what it does not have."""

import pytest

from maskgit_prompt.data import loading
from maskgit_prompt.errors import UsageError, UserError
from tests.data.sets.loading import load, numbers, tfds_config


def test_any_data_set_by_its_slices(vtab_data):
    found = loading.load(tfds_config(vtab_data, split="train[3:9]+train[20:]"), 32)
    assert numbers(found, found.tune) == [3, 4, 5, 6, 7, 8, 20, 21, 22, 23]
    assert found.reference is found.test and found.images.name == "svhn_cropped/3.1.0"


def test_some_classes_in_an_order_and_with_names(vtab_data):
    found = loading.load(tfds_config(vtab_data, classes=("7=seven", "2"), shots=1), 32)
    assert found.images.classes == ("seven", "2")
    assert {n % 10 for n in numbers(found, found.tune)} == {7, 2}
    labels = found.labels(found.tune)
    assert [(7, 2)[label] for label in labels] == [n % 10 for n in numbers(found, found.tune)]
    assert {n % 10 for n in numbers(found, found.test)} <= {7, 2}


def test_the_choice_depends_on_seed_and_class_alone(vtab_data):
    def chosen(seed, *classes):
        found = loading.load(tfds_config(vtab_data, classes=classes, shots=1, seed=seed), 32)
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
        loading.load(tfds_config(vtab_data, **changes), 32)
    assert len(str(caught.value)) < 500 and "\n" not in str(caught.value)


def test_unprepared_data_says_how_to_get_it(tmp_path):
    with pytest.raises(UserError, match=r"svhn_cropped/3.1.0 is not prepared in .*: python -c "):
        load(tmp_path)
