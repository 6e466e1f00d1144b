"""Fréchet distance, KID, precision and recall: by hand and against the goldens."""

import numpy as np
import pytest

from maskgit_prompt.errors import UsageError, UserError
from maskgit_prompt.metrics import frechet, kid, pairwise, precision_recall


@pytest.fixture
def case(goldens):
    with np.load(goldens / "metrics_numeric/features_32d/io.npz") as stored:
        return {name: stored[name] for name in stored}


def column(*values):
    return np.array(values, np.float64)[:, None]


def test_statistics_by_hand():
    mean, cov = frechet.statistics(np.array([[0, 0], [2, 4]]))
    np.testing.assert_array_equal(mean, [1, 2])
    np.testing.assert_array_equal(cov, [[2, 4], [4, 8]])
    assert mean.dtype == cov.dtype == np.float64


def test_statistics_of_blocks_are_those_of_the_whole():
    whole = frechet.Statistics()
    whole.add(np.array([[0, 0]]))
    whole.add(np.array([[2, 4]]))
    mean, cov = whole.result()
    np.testing.assert_array_equal(mean, [1, 2])
    np.testing.assert_array_equal(cov, [[2, 4], [4, 8]])
    # Far from the origin, where sums of squares alone would lose the digits.
    features = np.random.default_rng(0).normal(1e6, 1.0, (300, 4)).astype(np.float32)
    blocks = frechet.Statistics()
    for start in range(0, 300, 64):
        blocks.add(features[start : start + 64])
    for one, other in zip(blocks.result(), frechet.statistics(features), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)
    generated = features[:50] + 1
    expected = frechet.frechet_of_features(features, generated)
    assert blocks.distance(generated) == pytest.approx(expected, rel=1e-9)


def test_frechet_by_hand():
    one = frechet.frechet_distance(column(0)[0], column(4), column(3)[0], column(1))
    assert one == pytest.approx(9 + (2 - 1) ** 2)
    # Axes apart: standard deviations (2, 3) against (1, 5), equal means.
    two = frechet.frechet_distance(np.zeros(2), np.diag([4, 9]), np.zeros(2), np.diag([1, 25]))
    assert two == pytest.approx((2 - 1) ** 2 + (3 - 5) ** 2)
    # No spread at all, and spread in one direction only.
    assert frechet.frechet_distance(np.zeros(2), np.zeros((2, 2)), np.ones(2), np.eye(2)) == 4
    flat = np.array([[1.0, 1.0], [1.0, 1.0]])
    assert frechet.frechet_distance(np.zeros(2), flat, np.zeros(2), flat) == pytest.approx(0)


def test_statistics_golden(case):
    mean, cov = frechet.statistics(case["in_real"])
    np.testing.assert_allclose(mean, case["out_mu_real"], rtol=1e-9)
    np.testing.assert_allclose(cov, case["out_sigma_real"], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "name, tolerance", [("fid", 1e-9), ("fid_half", 1e-9), ("fid_small", 1e-6)]
)
def test_frechet_golden(case, name, tolerance):
    real, fake = case["in_real"], case["in_fake"]
    a, b = {
        "fid": (real, fake),
        "fid_half": (real[::2], real[1::2]),
        "fid_small": (real[:20], fake[:25]),
    }[name]
    expected = case[f"out_{name}"]
    assert frechet.frechet_of_features(a, b) == pytest.approx(expected, rel=tolerance)
    assert frechet.frechet_of_features(b, a) == pytest.approx(expected, rel=tolerance)


def test_frechet_small_equals_the_square_root_free_of_covariances(case):
    """Centred rows A, B over sqrt(n - 1) factor the covariances exactly: the reference value."""
    a, b = (x.astype(np.float64) for x in (case["in_real"][:20], case["in_fake"][:25]))
    gap = a.mean(0) - b.mean(0)
    a, b = ((x - x.mean(0)) / np.sqrt(len(x) - 1) for x in (a, b))
    exact = gap @ gap + (a**2).sum() + (b**2).sum()
    exact -= 2 * np.linalg.svd(a @ b.T, compute_uv=False).sum()
    got = frechet.frechet_of_features(case["in_real"][:20], case["in_fake"][:25])
    assert got == pytest.approx(exact, rel=1e-12)


def test_frechet_of_few_images_by_another_root(case):
    # scipy's general matrix root, which pytorch-fid takes, is not exact for singular covariances.
    got = frechet.frechet_of_features(case["in_real"][:20], case["in_fake"][:25])
    assert got == pytest.approx(float(case["out_fid_small_sqrtm"]), rel=1e-6)


@pytest.mark.parametrize("exact", [0, 512])
def test_distances_to_one_distribution(case, monkeypatch, exact):
    """By rows where images are few, by eigenvalues where dims are many: the same numbers."""
    monkeypatch.setattr(frechet, "EXACT_DIMS", exact)
    real, fake = case["in_real"], case["in_fake"]
    for a, b, name, tolerance in (
        (real, fake, "fid", 1e-9),
        (real[::2], real[1::2], "fid_half", 1e-9),
        (real[:20], fake[:25], "fid_small", 1e-6),
    ):
        expected = pytest.approx(float(case[f"out_{name}"]), rel=tolerance)
        assert frechet.Normal.of_features(a).distance(b) == expected
        assert frechet.Normal.of(*frechet.statistics(a)).distance(b) == expected
        assert frechet.frechet_distance(*frechet.statistics(a), *frechet.statistics(b)) == expected
    few = frechet.Normal.of_features(real[:20]).distance(fake)
    assert few == pytest.approx(frechet.frechet_of_features(real[:20], fake), rel=1e-6)
    with pytest.raises(UserError, match="features of 32 and of 31 dims"):
        frechet.Normal.of_features(real).distance(fake[:, 1:])


def test_the_distance_at_infinity_is_that_of_the_distributions():
    rng = np.random.default_rng(0)
    scales = np.linspace(1, 3, 20)
    distribution = frechet.Normal(np.zeros(20), np.diag(scales))
    true = 20 * 0.25 + np.sum((scales * 0.5) ** 2)  # means 0.5 apart, deviations half of these
    generated = 0.5 + 1.5 * scales * rng.normal(size=(600, 20))
    found = distribution.at_infinity(generated)
    assert distribution.distance(generated) > true + 1.0
    assert found == pytest.approx(true, abs=1.0)
    assert distribution.at_infinity(generated) == found  # seeded


def test_the_distance_at_infinity_needs_more_images_than_dims():
    distribution = frechet.Normal(np.zeros(20), np.eye(20))
    with pytest.raises(UserError, match="20 images .* features of 20 dims: at least 21 are needed"):
        distribution.at_infinity(np.ones((20, 20)))


def test_the_line_is_read_at_infinity(monkeypatch):
    # 12 of 50 images and 11 of 100: over 1 / n a line that is 10 at 0.
    monkeypatch.setattr(frechet, "SIZES", 2)
    monkeypatch.setattr(frechet.Normal, "_distance", lambda *_: found.pop(0))
    found = [12.0, 11.0]
    distribution = frechet.Normal(np.zeros(1), np.eye(1))
    assert distribution.at_infinity(column(*range(100))) == pytest.approx(10)


def test_mmd_by_hand():
    assert kid.polynomial_mmd(column(1, 1), column(0, 0)) == pytest.approx(8 + 1 - 2)
    # x = 0, 1 and y = 2, 0, 0: within x 1, within y 1, across (1 + 1 + 1 + 27 + 1 + 1) / 6.
    assert kid.polynomial_mmd(column(0, 1), column(2, 0, 0)) == pytest.approx(1 + 1 - 2 * 32 / 6)


def test_kid_golden(case):
    real, fake = case["in_real"], case["in_fake"]
    each = kid.kid_each(real, fake, subsets=8, subset_size=50, seed=2020)
    np.testing.assert_allclose(each, case["out_kid_each"], rtol=1e-9)
    mean, deviation = kid.kid(real, fake, subsets=8, subset_size=50)
    assert mean == pytest.approx(float(case["out_kid_mean"]), rel=1e-9)
    assert deviation == pytest.approx(float(case["out_kid_std"]), rel=1e-9)
    full = kid.polynomial_mmd(real[:120], fake[:120])
    assert full == pytest.approx(float(case["out_kid_all"]), rel=1e-9)


def test_kid_subset_draws_are_those_of_the_golden(case):
    draws = np.random.RandomState(2020)
    for of_real, of_fake in zip(case["in_kid_index_real"], case["in_kid_index_fake"], strict=True):
        np.testing.assert_array_equal(draws.choice(150, 50, replace=False), of_real)
        np.testing.assert_array_equal(draws.choice(120, 50, replace=False), of_fake)


def test_kid_blocks_do_not_change_it(case, monkeypatch):
    whole = kid.polynomial_mmd(case["in_real"], case["in_fake"])
    monkeypatch.setattr(kid, "_BLOCK_ROWS", 7)
    assert kid.polynomial_mmd(case["in_real"], case["in_fake"]) == pytest.approx(whole, rel=1e-12)


def test_precision_recall_by_hand():
    got = precision_recall.precision_recall(column(0, 1, 10), column(0.5, 20), k=1)
    assert got == pytest.approx({"precision": 0.5, "recall": 1, "density": 1, "coverage": 2 / 3})


def test_radii_by_hand():
    np.testing.assert_allclose(precision_recall.radii(column(0, 1, 3), 1), [1, 1, 2])
    np.testing.assert_allclose(precision_recall.radii(column(0, 1, 3), 2), [3, 2, 3])


def test_copies_are_inside_balls_of_radius_zero():
    """Three equal real rows of awkward numbers have radius 0, and their copy still counts."""
    row = np.random.default_rng(0).normal(size=(1, 64)) * 1e3
    real = np.concatenate([row] * 3)
    generated = np.concatenate([row, row + 1, row + 2])
    got = precision_recall.precision_recall(real, generated, k=2)
    assert got["precision"] == pytest.approx(1 / 3)
    assert got["coverage"] == 1


@pytest.mark.parametrize("k", [3, 5])
@pytest.mark.parametrize("rows", [2048, 40])
def test_precision_recall_golden(case, monkeypatch, k, rows):
    monkeypatch.setattr(pairwise, "_BLOCK_ROWS", rows)
    real, fake = case["in_real"], case["in_fake"]
    for name, features in (("real", real), ("fake", fake)):
        expected = case[f"out_radius_{name}_k{k}"]
        np.testing.assert_allclose(precision_recall.radii(features, k), expected, rtol=1e-9)
    got = precision_recall.precision_recall(real, fake, k)
    names = ("precision", "recall", "density", "coverage")
    expected = case[f"out_prdc_k{k}"]
    np.testing.assert_allclose([got[n] for n in names], expected, rtol=1e-12)
    if k == 3:
        pair = [got["precision"], got["recall"]]
        np.testing.assert_allclose(pair, case["out_precision_recall_k3"], rtol=1e-12)


def test_realism_by_hand():
    found = precision_recall.realism(column(0, 1, 10), column(4, 0.5), k=1)
    np.testing.assert_allclose(found, [81 / (36 + 1e-5), 1 / (0.25 + 1e-5)], rtol=1e-12)


def test_realism_golden(case, monkeypatch):
    monkeypatch.setattr(pairwise, "_BLOCK_ROWS", 40)
    found = precision_recall.realism(case["in_real"], case["in_fake"], 3)
    np.testing.assert_allclose(found, case["out_realism_k3"], rtol=1e-4)


def test_points_inside_golden(case):
    """The 0/1 of every point: exact integers."""
    real, fake = case["in_real"], case["in_fake"]
    squared = pairwise.squared_distances(real, fake)
    for k in (3, 5):
        in_real = (squared <= precision_recall.radii(real, k)[:, None] ** 2).any(axis=0)
        in_fake = (squared <= precision_recall.radii(fake, k)[None] ** 2).any(axis=1)
        np.testing.assert_array_equal(in_real, case[f"out_fake_in_real_k{k}"])
        np.testing.assert_array_equal(in_fake, case[f"out_real_in_fake_k{k}"])


def test_squared_distances_are_exact_for_pixels():
    a = np.full((1, 3072), 255)
    b = np.concatenate([a, a])
    b[1, 0] = 254
    np.testing.assert_array_equal(pairwise.squared_distances(a, b), [[0, 1]])


def test_bad_features():
    with pytest.raises(UserError, match=r"features of 1 image: at least 2 are needed"):
        frechet.statistics(np.ones((1, 3)))
    with pytest.raises(UserError, match=r"shape \(4,\): expected \[images, dims\]"):
        frechet.statistics(np.ones(4))
    with pytest.raises(UserError, match=r"features of image 1 \(and 0 more\) are NaN or infinite"):
        frechet.statistics(column(1, np.nan, 2))
    with pytest.raises(UserError, match="features of 2 and of 3 dims"):
        frechet.frechet_of_features(np.ones((4, 2)), np.ones((4, 3)))
    with pytest.raises(UserError, match=r"covariance of shape \(2, 1\)"):
        frechet.frechet_distance(np.zeros(2), np.zeros((2, 1)), np.zeros(2), np.eye(2))
    with pytest.raises(UserError, match="features of 2 and of 3 dims"):
        kid.polynomial_mmd(np.ones((4, 2)), np.ones((4, 3)))
    with pytest.raises(UsageError, match="0 subsets of 50 images"):
        kid.kid(np.ones((4, 2)), np.ones((4, 2)), subsets=0, subset_size=50)
    with pytest.raises(UserError, match="3 images for 3 neighbours"):
        precision_recall.precision_recall(column(0, 1, 2), column(0, 1, 2, 3), k=3)


@pytest.mark.parametrize("count", [8, 30])
def test_the_directions_of_most_spread(monkeypatch, count):
    """By products of rows where they are few, else of dims: but for order and sign the same."""
    monkeypatch.setattr(frechet, "MOST_DIMS", 3)
    rows = np.random.default_rng(0).normal(size=(count, 12)) * np.arange(12)
    rows -= rows.mean(axis=0)
    u, s, _ = np.linalg.svd(rows, full_matrices=False)
    found = frechet._along_most(rows)[:, ::-1]
    np.testing.assert_allclose(np.abs(found), np.abs(u * s)[:, :3], rtol=1e-9)
    np.testing.assert_array_equal(frechet._along_most(rows[:, :3]), rows[:, :3])
