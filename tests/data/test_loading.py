"""Which images are tuned on, train the judge and are held out, by their counts."""

import dataclasses

import numpy as np
import pytest

from maskgit_prompt.config import defaults
from maskgit_prompt.data import loading
from maskgit_prompt.data.images import ImageSet
from maskgit_prompt.data.pixels import Preprocessing
from maskgit_prompt.errors import UsageError

# Twenty images of class 0 and ten of class 1, mixed.
LABELS = np.array([0, 0, 1] * 10, np.int32)
IMAGES = ImageSet("stub", ("ant", "bee"), LABELS, tuple(map(str, range(30))), "none", lambda i: i)


@pytest.fixture
def loaded(monkeypatch):
    monkeypatch.setattr(loading.digits, "digits", lambda preprocessing: IMAGES)

    def load(**changes) -> loading.Splits:
        config = defaults.transfer().data
        config.update({"shots": 0, "fractions": {"tune": 0.5, "judge": 0.3, "test": 0.2}})
        config.update(changes)
        return loading.load(config, 8)

    return load


def counts(rows: np.ndarray) -> list[int]:
    return np.bincount(LABELS[rows], minlength=2).tolist()


def test_parts_have_their_own_shares(loaded):
    found = loaded()
    assert counts(found.tune) == [10, 5]
    assert counts(found.judge) == [6, 3]
    assert counts(found.test) == [4, 2]
    rows = np.concatenate([found.tune, found.judge, found.test])
    assert sorted(rows) == list(range(30))
    np.testing.assert_array_equal(found.reference, found.test)


def test_shots_are_taken_of_the_tuning_part_alone(loaded):
    whole, few = loaded(), loaded(shots=2)
    assert counts(few.tune) == [2, 2] and set(few.tune) < set(whole.tune)
    np.testing.assert_array_equal(few.judge, whole.judge)
    np.testing.assert_array_equal(few.test, whole.test)


def test_another_seed_splits_otherwise(loaded):
    found = [loaded(seed=seed).tune.tolist() for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]


def test_another_seed_chooses_other_shots(loaded):
    # Shares of 19.6 and 9.8 images are all 20 and 10: only the choice of shots is left to the seed.
    most = {"tune": 0.98, "judge": 0.01, "test": 0.01}
    assert counts(loaded(fractions=most).tune) == [20, 10]
    found = [loaded(shots=2, seed=seed, fractions=most).tune.tolist() for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]


def test_labels_are_those_of_the_rows(loaded):
    assert loaded().labels(np.array([2, 0, 5])).tolist() == [1, 0, 1]


def test_thinned_parts_are_judge_and_test_and_not_the_reference(loaded):
    whole, thin = loaded(), loaded().thinned(3, seed=0)
    assert counts(thin.judge) == [3, 3] and set(thin.judge) < set(whole.judge)
    assert counts(thin.test) == [3, 2] and set(thin.test) < set(whole.test)
    np.testing.assert_array_equal(thin.tune, whole.tune)
    np.testing.assert_array_equal(thin.reference, whole.test)


def test_one_class_has_no_judge_and_its_share_is_tuned_on(loaded, monkeypatch):
    before = loaded()
    alone = dataclasses.replace(IMAGES, classes=("ant",), labels=np.zeros(30, np.int32))
    monkeypatch.setattr(loading.digits, "digits", lambda preprocessing: alone)
    found = loaded()
    assert (len(found.tune), len(found.judge), len(found.test)) == (24, 0, 6)
    assert sorted([*found.tune, *found.test]) == list(range(30))
    np.testing.assert_array_equal(found.tune, np.sort(found.tune))
    assert len(before.judge) == 9


def looks(*numbers: int) -> np.ndarray:
    return np.repeat(np.array(numbers, np.uint8)[:, None], 32, axis=1)


def test_copies_are_in_one_part_whatever_their_classes(loaded, monkeypatch):
    """Image i + 15 is a copy of image i, of which one in three has another class."""
    pairs = dataclasses.replace(IMAGES, looks=looks(*range(15), *range(15)))
    monkeypatch.setattr(loading.digits, "digits", lambda preprocessing: pairs)
    for seed in range(5):
        found = loaded(seed=seed)
        parts = [set(rows % 15) for rows in (found.tune, found.judge, found.test)]
        assert sum(map(len, parts)) == len(set().union(*parts)) == 15
        assert sum(map(len, (found.tune, found.judge, found.test))) == 30


def test_images_without_copies_have_the_parts_that_they_always_had(loaded, monkeypatch):
    before = loaded()
    monkeypatch.setattr(
        loading.digits,
        "digits",
        lambda preprocessing: dataclasses.replace(IMAGES, looks=looks(*range(30))),
    )
    after = loaded()
    for part in ("tune", "judge", "test"):
        np.testing.assert_array_equal(getattr(before, part), getattr(after, part))


def test_the_summary_counts_classes_and_parts(loaded):
    assert loaded(shots=2).summary().splitlines() == [
        "found 30 images in stub",
        "  2 classes: ant 20, bee 10",
        "  parts: 4 images to tune on, 9 to train the classifier on, 6 held out",
    ]


@pytest.mark.parametrize("fit", ["crop", "resize", "pad"])
def test_every_set_is_asked_for_the_fit_of_the_config(monkeypatch, fit):
    got = []

    def stub(preprocessing: Preprocessing) -> ImageSet:
        got.append(preprocessing)
        return IMAGES

    monkeypatch.setattr(loading.digits, "digits", stub)
    monkeypatch.setattr(loading.folder, "image_folder", lambda path, how, *_, **__: stub(how))
    config = defaults.transfer().data
    config.fit = fit
    loading.load(config, 8)
    config.name, config.path = "folder", "somewhere"
    loading.load(config, 8)
    assert got == [Preprocessing(8, fit, 1, "bicubic"), Preprocessing(8, fit, 1, "lanczos")]


@pytest.mark.parametrize("key", ["path", "csv"])
def test_a_path_that_no_report_can_show_is_refused(key):
    config = defaults.transfer().data
    config.update({"name": "folder", "path": "photos", key: "caf\udce9"})
    with pytest.raises(UsageError, match=rf"config\.data\.{key} = caf\\xe9 is not UTF-8.* a link"):
        loading.load(config, 8)


def test_an_unknown_fit_is_refused_before_any_image_is_looked_at(monkeypatch):
    looked = []
    monkeypatch.setattr(loading.digits, "digits", looked.append)
    config = defaults.transfer().data
    config.fit = "squash"
    with pytest.raises(UsageError, match="fit 'squash': expected crop or resize or pad"):
        loading.load(config, 8)
    assert looked == []
