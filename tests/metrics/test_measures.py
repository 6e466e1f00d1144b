"""Below how many images a number is left out, what it says then, and what stands with it."""

import dataclasses

import numpy as np
import pytest

from maskgit_prompt.metrics import frechet, measures
from maskgit_prompt.metrics.measures import LEAST, Evidence
from maskgit_prompt.metrics.neighbors import Looks


class Reads:
    """A judge that reads every image as class 0."""

    sees_features = False

    def accuracy(self, images, labels, features):
        assert features is None
        return float(np.mean(labels == 0))


def evidence(generated: int, real: int, heldout: int = 60) -> Evidence:
    """Noise, of which half is meant to show class 0."""
    rng = np.random.default_rng(0)
    images = lambda count: rng.integers(0, 256, (count, 4, 4, 3)).astype(np.uint8)
    look = lambda count: Looks(images(count), rng.normal(size=(count, 4)))
    features, statistics = rng.normal(size=(real, 4)), frechet.Statistics()
    if real:
        statistics.add(features)
    made = look(generated)
    return Evidence(
        images=made.images,
        labels=np.arange(generated) % 2,
        judge=Reads(),
        features=made.features,
        some=made.features,
        statistics=statistics,
        real=features,
        tune=look(5),
        test=look(heldout) if heldout else None,
        tune_names=list("abcde"),
        reference_name="real ones",
        lacks={},
    )


OF_TWO_SETS = {
    "kid": measures.kernel_distance,
    "frechet": measures.frechet_distance,
    "precision_recall": measures.precision_and_recall,
}


def test_the_numbers_that_the_documents_state():
    assert LEAST == {
        "accuracy": 10,
        "kid": 20,
        "frechet": 50,
        "precision_recall": 50,
        "near_copies": 50,
    }


@pytest.mark.parametrize("name", OF_TWO_SETS)
def test_a_distance_needs_images_of_both_kinds(name):
    least, measure = LEAST[name], OF_TWO_SETS[name]
    found = measure(evidence(least, least))
    assert found.value is not None and found.interval is not None
    assert (found.counts, found.reason) == ({"images": least, "real": least}, "")
    for generated, real, reason in (
        (least - 1, least, f"{least - 1} generated images, {least} are needed"),
        (least, least - 1, f"{least - 1} real ones, {least} are needed"),
        (7, 0, f"7 generated images and 0 real ones, {least} of each are needed"),
    ):
        found = measure(evidence(generated, real))
        assert (found.value, found.interval, found.reason) == (None, None, reason)
        assert found.counts == {"images": generated, "real": real}


def test_accuracy_needs_ten_images():
    found = measures.accuracy_of_generated(evidence(10, 0))
    assert (found.value, found.counts) == (0.5, {"images": 10})
    np.testing.assert_allclose(found.interval, (0.2366, 0.7634), atol=1e-4)
    found = measures.accuracy_of_generated(evidence(9, 0))
    assert (found.value, found.reason) == (None, "9 generated images, 10 are needed")


@pytest.mark.parametrize(
    "lacking, names",
    [("judge", ("accuracy",)), ("features", ("frechet", "kid", "precision_recall"))],
)
def test_what_is_lacking_is_the_reason(lacking, names):
    seen = dataclasses.replace(
        evidence(60, 60), **{lacking: None}, lacks={lacking: "there is none"}
    )
    all_of = OF_TWO_SETS | {"accuracy": measures.accuracy_of_generated}
    for name in names:
        found = all_of[name](seen)
        assert (found.value, found.reason) == (None, "there is none")


@pytest.mark.parametrize("heldout, reason", [(50, None), (49, "49 held-out images, 50 are needed")])
def test_near_copies_need_held_out_images(heldout, reason):
    found = measures.near_copies(evidence(8, 0, heldout))
    assert found.value["reason"] == reason
    assert (found.value["count"] is None) == bool(reason)
    assert (found.interval is None) == bool(reason)
    assert len(found.value["pairs"]) == 8
    assert found.counts == {"images": 8, "training": 5, "heldout": heldout}


def test_near_copies_of_nothing_held_out_and_without_features():
    found = measures.near_copies(evidence(8, 0, 0))
    assert found.value["reason"] == "0 held-out images, 50 are needed"
    seen = evidence(8, 0)
    blind = lambda looks: Looks(looks.images, None)
    seen = dataclasses.replace(
        seen,
        features=None,
        tune=blind(seen.tune),
        test=blind(seen.test),
        lacks={"features": "no network"},
    )
    found = measures.near_copies(seen)
    assert (found.value["count"], found.value["reason"]) == (None, "no network")
    assert found.reason == "no network"


def test_perfect_shares_of_few_images_are_not_certain():
    """Of points that are all one, whatever is drawn gives 1: 50 / (50 + 1.96^2) is 0.929."""
    one = np.zeros((50, 4))
    seen = dataclasses.replace(evidence(50, 50), some=one, real=one)
    found = measures.precision_and_recall(seen)
    for name in ("precision", "recall", "coverage"):
        assert found.value[name] == 1
        np.testing.assert_allclose(found.interval[name], (0.9287, 1), atol=1e-4)


def test_intervals_lie_around_their_numbers():
    found = measures.precision_and_recall(evidence(60, 60))
    for name, value in found.value.items():
        low, high = found.interval[name]
        assert 0 <= low < value < high
        assert high <= 1 or name == "density"
