"""What is compared with what in each score; images, parts and networks are those of stubs.py."""

import numpy as np
import pytest

from maskgit_prompt.data import splits
from maskgit_prompt.metrics import measures
from maskgit_prompt.tasks.generation import score
from tests.tasks.generation import stubs
from tests.tasks.generation.stubs import flat

# Features 1, 1, 3, 3; those of the reference are 0, 0, 1, 1.
GENERATED = flat(50, 50, 150, 150)
LABELS = np.array([0, 0, 1, 1])


@pytest.fixture(autouse=True)
def stubbed(monkeypatch):
    stubs.use(monkeypatch)


def test_accuracy_is_of_the_generated_images_under_their_labels():
    """Shades below 55 are read as dark: 50, 50, 40 are, so three of four are read as asked for."""
    found = stubs.scorer(stubs.data())(flat(50, 50, 150, 40), np.array([0, 0, 1, 1])).found
    assert found["accuracy"] == 0.75


def test_the_judge_is_trained_on_the_judge_part():
    """50 and 59 lie on either side of 55, half way between the judge's shades 15 and 95. Half way
    between the nearest dark and light of the test part, 58 and 91, is 74.5, of the tuned part 60.
    """
    scorer = stubs.scorer(stubs.data())
    assert scorer.accuracy(flat(50, 59), np.array([0, 1])) == 1.0


def test_the_judge_sees_features_where_that_is_asked_for_and_there_are_some(monkeypatch):
    """The distance to shade 60 is a feature: of 15 and 95, dark and light, it is 45 and 35; of 105
    it is 45, so that is dark by features and light by pixels."""
    away = lambda images: np.abs(images[:, 0, 0, :1].astype(float) - 60)
    monkeypatch.setattr(score, "make_features", lambda part, mesh: away)
    read = lambda **choice: stubs.scorer(stubs.data(), **choice)
    images, dark = flat(*[105] * 4), np.zeros(4, int)
    assert read(judge="features").accuracy(images, dark) == 1.0
    assert read(judge="features")(images, dark).found["accuracy"] == 1.0
    assert read(judge="pixels").accuracy(images, dark) == 0.0
    assert read(judge="features", parts=()).accuracy(images, dark) == 0.0


def test_real_and_reconstructed_held_out_images():
    """Real 12, 33, 58, 91 are read as dark, dark, light, light, and are dark, dark, dark, light.
    Reconstructed 10, 30, 50, 90 are read as what they are."""
    found = stubs.scorer(stubs.data()).of_real()
    assert {name: scores.found["accuracy"] for name, scores in found.items()} == {
        "real": 0.75,
        "reconstructed": 1.0,
    }
    assert found["real"].counts == {"accuracy": {"images": 4}}
    low, high = found["real"].intervals["accuracy"]
    assert low < 0.75 < high


def test_frechet_distance_of_generated_to_reference():
    """Means 2 and 1/2, variances 4/3 and 1/3: (3/2)^2 + (2 - 1)^2 / 3 = 31/12."""
    found = stubs.scorer(stubs.data())(GENERATED, LABELS).found
    np.testing.assert_allclose(found["frechet"], 31 / 12, rtol=1e-12)


def test_kid_of_generated_and_reference():
    """Kernel (x y + 1)^3. Within 0, 0, 1, 1: (2 * 8 + 10 * 1) / 12 = 13/6. Within 1, 1, 3, 3:
    (2 * 8 + 2 * 1000 + 8 * 64) / 12 = 632/3. Between: (8 * 1 + 4 * 8 + 4 * 64) / 16 = 37/2."""
    found = stubs.scorer(stubs.data())(GENERATED, LABELS).found
    np.testing.assert_allclose(found["kid"], 13 / 6 + 632 / 3 - 37, rtol=1e-12)


def test_precision_and_recall_are_not_each_other():
    """The third neighbours are 1 away among 0, 0, 1, 1, and 2 away among 1, 1, 3, 3. Generated 1 is
    in all four real balls and 3 in none: precision 1/2, density (4 + 4 + 0 + 0) / 4 / 3, coverage
    1. Real 0 and 1 are within 2 of a generated 1: recall 1."""
    found = stubs.scorer(stubs.data())(GENERATED, LABELS).found["precision_recall"]
    assert found == {"precision": 0.5, "recall": 1.0, "density": 2 / 3, "coverage": 1.0}


def test_near_copies_are_of_tuned_images_on_the_scale_of_held_out_ones():
    """All through the tokenizer. Two flat images are a quarter of their difference in grey levels
    apart in pixels, and a fiftieth of it in features.

    Held-out 10, 30, 50, 90 are 10, 10, 10, 20 away from the nearest of 20, 40, 70, which the prompt
    was tuned on: the thresholds are 0.4, the most there is, and 10 / 50. Generated 21, 40, 31, 90,
    56 are 1, 0, 9, 20, 14 away: two copies of five, of the first and the second."""
    found = stubs.scorer(stubs.data())(flat(21, 40, 31, 90, 56), np.array([0, 0, 0, 1, 1]))
    copies = found.found["near_copies"]
    assert (copies["count"], copies["fraction"]) == (2, 0.4)
    assert copies["threshold"] == {"pixel": 0.4, "feature": pytest.approx(10 / 50)}
    assert copies["median"] == {"pixel": pytest.approx(9 / 4), "feature": pytest.approx(9 / 50)}
    assert copies["median_heldout"]["pixel"] == pytest.approx(10 / 4)
    assert copies["copied"] == {"6.png": 1, "7.png": 1}
    assert [pair["generated"] for pair in copies["pairs"]] == [1, 0, 2, 4, 3]
    assert [pair["image"] for pair in copies["pairs"][:2]] == ["7.png", "6.png"]
    assert found.counts["near_copies"] == {"images": 5, "training": 3, "heldout": 4}


def test_reconstructions_are_of_rows_of_the_set():
    """Rows 1 and 8: shades 33 and 73."""
    data = stubs.data()
    scorer = stubs.scorer(data)
    assert stubs.shades(scorer.reconstruct(data.test[1:2])) == [30]
    assert stubs.shades(scorer.reconstruct(data.tune[2:])) == [70]


def test_near_copies_are_looked_for_among_as_many_as_asked_for():
    """Four images of one class, 50 apart, and a held-out one 10 beside each. Three of the four are
    kept, so a copy of the fourth is 50 away from the nearest. The seed decides which that is."""
    shades = (10, 60, 110, 160)
    data = stubs.data(
        tune=[(s, 0) for s in shades],
        test=[(s + 10, 0) for s in shades],
        reference=[(s, 0) for s in shades],
    )
    count = lambda images, **choice: stubs.scorer(data, **choice)(
        images, np.zeros(len(images), int)
    ).found["near_copies"]["count"]
    assert count(flat(*shades), most=0) == 4
    assert count(flat(*shades), most=3) == 3
    left_out = {}
    for seed in range(8):
        (missing,) = set(range(4)) - set(splits.thin(np.zeros(4), 3, seed))
        left_out[missing] = seed
    assert len(left_out) > 1
    for missing, seed in left_out.items():
        assert count(flat(shades[missing]), most=3, seed=seed) == 0


def test_kid_takes_some_of_many_reference_images_and_the_frechet_distance_all(monkeypatch):
    """Features 0 for 8 dark images and 1 for 8 light ones; 4 of each are kept. The generated ones
    are 8 times 1.

    KID: (12 * 1 + 12 * 8 + 32 * 1) / 56 + 8 - 2 * (32 * 1 + 32 * 8) / 64 = 5/2 + 8 - 9 = 3/2.
    Fréchet distance, with variance 16 * (1/4) / 15 = 4/15 over all 16: (1/2)^2 + 4/15 = 31/60.
    """
    monkeypatch.setattr(score, "FEATURES", 8)
    monkeypatch.setattr(score, "BLOCK", 5)
    data = stubs.data(reference=[(0, 0), (0, 0), (50, 1), (50, 1)] * 4)
    found = stubs.scorer(data)(flat(*[50] * 8), np.ones(8, int)).found
    np.testing.assert_allclose(found["kid"], 1.5, rtol=1e-12)
    np.testing.assert_allclose(found["frechet"], 31 / 60, rtol=1e-12)


def test_kid_takes_some_of_many_generated_images_evenly_spaced(monkeypatch):
    """At most four of six: every second. These have feature 1, the others 5, the reference 0.

    KID: 1 + (1 + 1)^3 - 2 = 7. Fréchet distance, from all six: 3^2 + 6 * 2^2 / 5 = 13.8. Precision
    and recall need four images, and three are taken.
    """
    monkeypatch.setattr(score, "FEATURES", 4)
    data = stubs.data(reference=[(0, 0)] * 4)
    found = stubs.scorer(data)(flat(50, 250, 50, 250, 50, 250), np.ones(6, int)).found
    np.testing.assert_allclose(found["kid"], 7, rtol=1e-12)
    np.testing.assert_allclose(found["frechet"], 13.8, rtol=1e-12)
    assert found["precision_recall"] is None


def test_one_generated_image_has_no_distances():
    found = stubs.scorer(stubs.data())(flat(21), np.array([0])).found
    assert found["near_copies"]["count"] == 1
    assert found | {"near_copies": 1} == {
        "accuracy": 1.0,
        "frechet": None,
        "kid": None,
        "precision_recall": None,
        "near_copies": 1,
    }


FEW = "The Fréchet distance is to 4 old ones: compare it only with distances to as many."
BLIND = "backbone 'stub' has no network to measure them with."


@pytest.mark.parametrize(
    "parts, networks, missing, warnings",
    [
        pytest.param({}, ("features",), (), [FEW], id="nothing-missing"),
        pytest.param(
            {"judge": [(15, 0)]},
            ("features",),
            ("accuracy",),
            ["No accuracy: no images of class 'light' are left to train a classifier on.", FEW],
            id="no-light-image-for-the-judge",
        ),
        pytest.param(
            {},
            (),
            ("frechet", "kid", "precision_recall"),
            [
                "No Fréchet distance, KID, precision, recall, density, coverage and count of "
                f"near-copies: {BLIND}"
            ],
            id="no-features",
        ),
        pytest.param(
            {"reference": [(0, 0)]},
            ("features",),
            ("frechet", "kid", "precision_recall"),
            [
                "No Fréchet distance: 1 old ones, 3 are needed.",
                "No KID: 1 old ones, 2 are needed.",
                "No precision, recall, density and coverage: 1 old ones, 4 are needed.",
            ],
            id="one-reference-image",
        ),
        pytest.param(
            {"reference": []},
            ("features",),
            ("frechet", "kid", "precision_recall"),
            [
                "No Fréchet distance: 0 old ones, 3 are needed.",
                "No KID: 0 old ones, 2 are needed.",
                "No precision, recall, density and coverage: 0 old ones, 4 are needed.",
            ],
            id="no-reference-image",
        ),
        pytest.param(
            {"test": []},
            ("features",),
            (),
            [
                "No held-out loss: no images are held out.",
                "No count of near-copies: 0 held-out images, 4 are needed.",
                FEW,
            ],
            id="nothing-held-out",
        ),
        pytest.param(
            {"tune": [(25, 0)]},
            ("features",),
            (),
            ["1 of 2 classes have no image to tune on: none of theirs are generated.", FEW],
            id="no-light-image-to-tune-on",
        ),
    ],
)
def test_what_cannot_be_measured_is_none_and_the_reason_is_told(parts, networks, missing, warnings):
    scorer = stubs.scorer(stubs.data(**parts), parts=networks)
    found = scorer(GENERATED, LABELS).found
    assert tuple(name for name, value in found.items() if value is None) == missing
    assert scorer.warnings == warnings
    scorer(GENERATED, LABELS)
    assert scorer.warnings == warnings  # each once, however many images are scored
    counted = any("near-copies" in warning for warning in warnings)
    assert (found["near_copies"]["count"] is None) == counted
    assert bool(found["near_copies"]["reason"]) == counted


def test_too_few_generated_images():
    scorer = stubs.scorer(stubs.data())
    found = scorer(GENERATED[:3], LABELS[:3])
    assert found.found["precision_recall"] is None
    assert found.counts["precision_recall"] == {"images": 3, "real": 4}
    assert "No precision, recall, density and coverage: 3 generated images, 4 are needed." in (
        scorer.warnings
    )


def test_every_number_has_its_images_and_an_interval_around_it():
    found = stubs.scorer(stubs.data())(GENERATED, LABELS)
    of_two = {"images": 4, "real": 4}
    assert found.counts == {
        "accuracy": {"images": 4},
        "frechet": of_two,
        "kid": of_two,
        "precision_recall": of_two,
        "near_copies": {"images": 4, "training": 3, "heldout": 4},
    }
    for key in ("accuracy", "frechet", "kid"):
        low, high = found.intervals[key]
        assert low <= found.found[key] <= high and low < high
    for name, value in found.found["precision_recall"].items():
        low, high = found.intervals["precision_recall"][name]
        assert 0 <= low <= value <= high


def test_of_real_without_held_out_images_or_without_judge():
    for parts in ({"test": []}, {"judge": [(15, 0)]}):
        found = stubs.scorer(stubs.data(**parts)).of_real()
        assert {name: scores.found for name, scores in found.items()} == {
            "real": {"accuracy": None},
            "reconstructed": {"accuracy": None},
        }


def test_real_accuracy_of_too_few_images_is_left_out(monkeypatch):
    monkeypatch.setitem(measures.LEAST, "accuracy", 5)
    scorer = stubs.scorer(stubs.data())
    assert scorer.of_real()["real"].found == {"accuracy": None}
    assert scorer.warnings == ["No accuracy: 4 held-out images, 5 are needed."]


def test_what_the_backbone_keeps_is_of_held_out_images():
    """Real 12, 33, 58, 91 become 10, 30, 50, 90: squares 4, 9, 64, 1. Their features are fiftieths:
    2, 3, 8 and 1 apart on average 3.5, and each two of the four on average 43.5."""
    fit = stubs.scorer(stubs.data()).reconstruction
    assert fit["psnr"] == pytest.approx(-10 * np.log10(78 / 4 / 255**2))
    assert fit["feature_distance"] == pytest.approx(3.5 / ((21 + 46 + 79 + 25 + 58 + 33) / 6))
    assert (fit["images"], fit["size"], fit["split"], fit["own"]) == (4, 2, "test", None)
    assert fit["keeps"] == "details"


def test_what_the_backbone_keeps_is_of_tuned_images_where_nothing_is_held_out():
    fit = stubs.scorer(stubs.data(test=[]), parts=()).reconstruction
    assert fit["psnr"] == pytest.approx(-10 * np.log10((25 + 49 + 9) / 3 / 255**2))
    assert (fit["feature_distance"], fit["split"]) == (None, "tune")


def test_features_of_held_out_images_are_computed_once(monkeypatch):
    asked_for = []

    def counting(images):
        asked_for.append(images[:, 0, 0, 0].tolist())
        return stubs.features(images)

    monkeypatch.setattr(score, "make_features", lambda part, mesh: counting)
    stubs.scorer(stubs.data(), judge="features").of_real()
    assert asked_for.count([12, 33, 58, 91]) == 1  # real
    assert asked_for.count([10, 30, 50, 90]) == 1  # reconstructed


def test_a_judge_that_cannot_be_trained_is_a_warning(monkeypatch):
    monkeypatch.undo()  # the real judge
    scorer = stubs.scorer(stubs.data(), parts=())
    assert scorer.accuracy(GENERATED, LABELS) is None
    assert scorer(GENERATED, LABELS).found["accuracy"] is None
    assert scorer.warnings[0] == (
        "No accuracy: class 'dark' has 1 image to train a classifier on, 3 are needed: add images "
        "of it."
    )
