"""All numbers of two sets of features: which there are, what they are called, what is refused."""

import dataclasses
import re

import numpy as np
import pytest

from maskgit_prompt.errors import UserError
from maskgit_prompt.metrics import compared, frechet, kid, precision_recall, sliced
from maskgit_prompt.metrics.compared import Reference, Seen, Settings, check_varied, compare
from maskgit_prompt.metrics.inception_score import inception_score
from tests.golden_models import FOLDER

SETTINGS = Settings(subsets=8, subset_size=50, directions=30)
COMMON = {"kid", "precision", "recall", "density", "coverage"}


@pytest.fixture(scope="module")
def sets():
    with np.load(FOLDER / "metrics_numeric/features_32d/io.npz") as stored:
        real, fake = stored["in_real"], stored["in_fake"]
        logits = stored["in_logits"]
    rng = np.random.default_rng(0)
    spatial = rng.normal(size=(150, 5)), rng.normal(size=(120, 5)) + 0.5
    logits = np.concatenate([logits, logits[:47]]), np.concatenate([logits, logits[:17]])
    return Seen(real, spatial[0], logits[0]), Seen(fake, spatial[1], logits[1])


def test_of_inception(sets):
    real, fake = sets
    found = compare(Reference.of(real), fake, SETTINGS, inception=True)
    names = {"fid", "fid_infinity", "sfid", "mind", "inception_score"}
    assert set(found.values) == COMMON | names
    expected = {
        "fid": 3.5500234645855144,  # the golden
        "sfid": frechet.frechet_of_features(real.spatial, fake.spatial),
        "kid": 0.5317899301562885,  # the golden
        "mind": sliced.mind(real.features, fake.features, 30),
        "inception_score": inception_score(fake.logits)[0],  # of the generated images
        **precision_recall.precision_recall(real.features, fake.features),
    }
    for name, value in expected.items():
        assert found.values[name] == pytest.approx(value, rel=1e-9), name
    assert found.deviations == pytest.approx(
        {"kid": 0.2570525703556179, "inception_score": inception_score(fake.logits)[1]}
    )
    for name, (low, high) in found.intervals.items():
        assert low <= found.values[name] <= high and low < high, name
    assert set(found.intervals) == COMMON | {"fid", "mind"}
    assert found.counts["kid"] == {"images": 120, "real": 150}
    assert found.counts["inception_score"] == {"images": 120}
    assert [w for w in found.warnings if w.startswith("120 generated and 150 real images are few")]


def test_of_another_network_nothing_is_called_fid(sets):
    real, fake = (Seen(one.features) for one in sets)
    found = compare(Reference.of(real), fake, SETTINGS, inception=False)
    assert set(found.values) == COMMON | {"frechet", "frechet_infinity", "sliced"}
    assert found.values["frechet"] == pytest.approx(3.5500234645855144, rel=1e-9)
    assert found.values["frechet_infinity"] < found.values["frechet"]
    text = "\n".join([*found.lines(), *found.warnings])
    assert "FID" not in text and "MIND" not in text
    assert re.search(r"^Fréchet distance  +3\.55 \[2\.\d+, 5\.\d+\]$", text, re.M)
    assert re.search(r"^KID  +0\.5318 ± 0\.2571 \[0\.\d+, ", text, re.M)


def test_of_statistics_alone(sets):
    real, fake = sets
    whole = Reference.of(real)
    known = dataclasses.replace(whole, seen=None, images=0)
    found = compare(known, fake, SETTINGS, inception=True)
    assert set(found.values) == {"fid", "fid_infinity", "sfid", "inception_score"}
    both = compare(whole, fake, SETTINGS, inception=True)
    for name in ("fid", "sfid", "fid_infinity"):
        assert found.values[name] == pytest.approx(both.values[name], rel=1e-9)
    assert any(w.startswith("No KID, MIND, precision, recall, density") for w in found.warnings)
    # How many real images there are is not known: nothing is said of them.
    assert any(w.startswith("120 generated images are fewer than 2,048") for w in found.warnings)


def test_enough_images_leave_no_warning(sets, monkeypatch):
    monkeypatch.setattr(compared, "SMALL", 120)
    real, fake = sets
    assert compare(Reference.of(real), fake, SETTINGS, inception=True).warnings == ()
    monkeypatch.setattr(compared, "SMALL", 121)
    [warning] = compare(Reference.of(real), fake, SETTINGS, inception=True).warnings
    assert warning.startswith("120 generated images are fewer than 121: the FID is too large")


def test_few_images_leave_out_what_they_cannot_tell(sets):
    real, fake = (Seen(one.features[:3], None, one.logits[:3]) for one in sets)
    found = compare(Reference.of(real), fake, SETTINGS, inception=True)
    missing = {name for name, value in found.values.items() if value is None}
    assert missing == {"fid_infinity", "inception_score", *compared.NEIGHBOURS}
    assert all(np.isfinite(x) for x in found.values.values() if x is not None)
    assert any("4 images of each set are needed" in warning for warning in found.warnings)
    assert any("at least 33 are needed" in warning for warning in found.warnings)
    assert any("Inception Score of 10 parts" in warning for warning in found.warnings)
    two = compare(Reference.of(Seen(real.features[:2])), Seen(fake.features[:2]), SETTINGS,
                  inception=False)  # fmt: skip
    assert two.values["frechet"] > 0


def test_of_many_images_some_are_taken(sets):
    real, fake = (Seen(one.features) for one in sets)
    few = dataclasses.replace(SETTINGS, most=60)
    found = compare(Reference.of(real), fake, few, inception=False)
    expected = precision_recall.precision_recall(real.features[::3], fake.features[::2])
    assert found.values["precision"] == expected["precision"]
    assert found.counts["recall"] == {"images": 60, "real": 50}
    assert found.values["kid"] == pytest.approx(
        kid.kid(real.features, fake.features, 8, 50, 2020)[0]
    )


def test_images_that_look_the_same():
    check_varied("DIR", Seen(np.array([[0.0, 1], [0, 2]])))
    for rows in (np.ones((3, 2)), np.zeros((3, 2)), np.array([[5.0, 1], [5 + 1e-7, 1]])):
        with pytest.raises(UserError, match=r"DIR: all \d images look the same to the network"):
            check_varied("DIR", Seen(rows))
    with pytest.raises(UserError, match=r"^DIR: features of image 1 .* NaN or infinite"):
        check_varied("DIR", Seen(np.array([[0.0, 1], [np.nan, 2]])))
    with pytest.raises(UserError, match="^DIR: features of 1 image: at least 2"):
        check_varied("DIR", Seen(np.ones((1, 2))))


def test_features_of_two_networks(sets):
    real, fake = sets
    with pytest.raises(UserError, match="features of 32 and of 31 dims"):
        compare(Reference.of(real), Seen(fake.features[:, 1:]), SETTINGS, inception=False)
