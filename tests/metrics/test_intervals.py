"""95 % intervals: by hand, and by how often they hold what they should."""

import numpy as np
import pytest

from maskgit_prompt.errors import UserError
from maskgit_prompt.metrics import frechet, intervals, kid, precision_recall


def column(*values):
    return np.array(values, np.float64)[:, None]


# --- By hand ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "share, count, low, high",
    [
        (1.0, 10, 0.7225, 1.0),  # 10 / (10 + 1.96^2)
        (0.0, 10, 0.0, 0.2775),
        (0.5, 4, 0.1500, 0.8500),
        (0.75, 400, 0.7053, 0.7899),
    ],
)
def test_wilsons_interval(share, count, low, high):
    np.testing.assert_allclose(intervals.of_share(share, count), (low, high), atol=5e-5)


def test_an_interval_is_the_spread_around_the_mean_of_the_draws():
    """As in the docstring: wherever the draws lie, and never without the value."""
    draws = np.arange(41.0)
    assert intervals.around(10.0, draws) == (-9, 29)
    assert intervals.around(10.0, draws + 1000) == (-9, 29)
    assert intervals.around(10.0, draws, scale=0.5) == (0.5, 19.5)
    assert intervals.around(10.0, np.full(9, 3.0)) == (10, 10)


def test_a_hull_holds_both_within_bounds():
    assert intervals.hull((0.2, 0.5), (0.3, 1.2), 0.0, 1.0) == (0.2, 1.0)
    assert intervals.hull((-0.1, 0.5), (0.3, 0.4), 0.0) == (0.0, 0.5)


def test_of_a_distance():
    """1.96 deviations to either side, and not below zero."""
    two = np.zeros((5, 1)), np.zeros((4, 1))
    low, high = intervals.of_distance(10.0, lambda *_: 2.0, *two)
    assert (low, high) == pytest.approx((10 - 2 * 1.959964, 10 + 2 * 1.959964))
    assert intervals.of_distance(1.0, lambda *_: 2.0, *two)[0] == 0.0


def test_real_and_generated_images_are_drawn_on_their_own(monkeypatch):
    """Rows of weights are counts of draws: as many as there are images; the same at each call."""
    seen = []
    again = lambda *given: seen.append(given) or {"a": np.arange(41.0)}
    real, generated = column(*range(7)), column(*range(5))
    found = intervals.of_two_sets({"a": 10.0}, again, real, generated)
    assert found == {"a": (-9, 29)}
    intervals.of_two_sets({"a": 10.0}, again, real, generated)
    (x, y, u, w), second = seen
    np.testing.assert_array_equal(x, real)
    np.testing.assert_array_equal(y, generated)
    assert (u.shape, w.shape) == ((intervals.RESAMPLES, 7), (intervals.RESAMPLES, 5))
    assert (u.sum(axis=1) == 7).all() and (w.sum(axis=1) == 5).all()
    np.testing.assert_array_equal(u, second[2])


def test_of_many_images_some_are_drawn_and_the_spread_is_scaled(monkeypatch):
    """Of 40 and 10 at most 10 and 10: the root of (1/40 + 1/10) / (1/10 + 1/10) is 0.79."""
    monkeypatch.setattr(intervals, "MOST", 10)
    sizes = []
    again = lambda x, y, *_: sizes.extend((len(x), len(y))) or {"a": np.arange(41.0)}
    found = intervals.of_two_sets({"a": 0.0}, again, column(*range(40)), column(*range(10)))
    assert sizes == [10, 10]
    np.testing.assert_allclose(found["a"], np.sqrt(0.625) * np.array([-19, 19]))


# --- Measures drawn again ----------------------------------------------------------------------


def ones(count):
    return np.ones((1, count), int)


def test_each_image_once_gives_the_number_itself():
    rng = np.random.default_rng(0)
    real, generated = rng.normal(size=(40, 6)), rng.normal(0.3, 1, size=(30, 6))
    once = (real, generated, ones(40), ones(30))
    np.testing.assert_allclose(kid.resampled(*once), kid.polynomial_mmd(real, generated))
    again = precision_recall.resampled(*once)
    for name, value in precision_recall.precision_recall(real, generated).items():
        np.testing.assert_allclose(again[name], value, rtol=1e-6)


def test_an_image_that_is_drawn_twice_counts_twice_but_is_no_pair_with_itself():
    """Kernel (x y + 1)^3. Real 1, 1, 0 with weights 2, 0, 1: pairs of 1 and 0 alone, kernel 1.
    Generated 0, 2: kernel 1. Between: (2 * (1 + 27) + 1 * (1 + 1)) / 6 = 58 / 6."""
    weights = np.array([[2, 0, 1]]), ones(2)
    found = kid.resampled(column(1, 1, 0), column(0, 2), *weights)
    np.testing.assert_allclose(found, 1 + 1 - 2 * 58 / 6)


def test_precision_of_drawn_images_in_balls_of_all():
    """Real 0, 1, 10, generated 0.5, 20, k = 1, as in precision_recall's docstring: 0.5 lies in the
    balls of 0 and 1 (radii 1), 20 in none; the ball of 0.5 (radius 19.5) holds all real ones, that
    of 20 all but 0.

    With real 10 alone no ball holds 0.5; with 20 alone no real ball is covered, and of 0, 0, 1 only
    1 is recalled."""
    real, generated = column(0, 1, 10), column(0.5, 20)
    u, w = np.array([[1, 1, 1], [0, 0, 3], [2, 1, 0]]), np.array([[1, 1], [1, 1], [0, 2]])
    found = precision_recall.resampled(real, generated, u, w, k=1)
    np.testing.assert_allclose(found["precision"], [0.5, 0, 0])
    np.testing.assert_allclose(found["density"], [1, 0, 0])
    np.testing.assert_allclose(found["recall"], [1, 1, 1 / 3])
    np.testing.assert_allclose(found["coverage"], [2 / 3, 0, 0])


def test_the_jackknife_by_hand(monkeypatch):
    """Fréchet distance in one dimension of 0, 0, 3, 3 to itself, one of each left out in turn: mean
    3/2, variance 3; without a 0 mean 2, variance 3, distance 1/4; without a 3 the same. Four equal
    distances do not vary. 0, 0, 0, 4 to 0, 0: mean 1, variance 4; without a 0 (4/3, 16/3): the
    distance (4/3)^2 + 16/3 = 64/9, without the 4 it is 0: 3/4 of their squared deviations, the
    variance (4 - 1) * 3/16 * (64/9)^2."""
    assert frechet.deviation(column(0, 0, 3, 3), column(0, 0, 3, 3)) == pytest.approx(0, abs=1e-7)
    found = frechet.deviation(column(0, 0, 0, 4), column(0, 0, 0, 0))
    np.testing.assert_allclose(found, np.sqrt(9 / 16) * 64 / 9, rtol=1e-6)
    with pytest.raises(UserError, match="features of 1 image: at least 2 are needed"):
        frechet.deviation(column(0, 1), column(0, 1, 2))


def test_many_dims_are_brought_down_to_those_that_differ(monkeypatch):
    rng = np.random.default_rng(0)
    real, generated = rng.normal(size=(60, 3)), rng.normal(0.5, 2, size=(50, 3))
    wide = lambda x: np.pad(x, [(0, 0), (0, 20)]) @ np.linalg.qr(rng.normal(size=(23, 23)))[0]
    rng = np.random.default_rng(1)
    turned = wide(np.concatenate([real, generated]))
    monkeypatch.setattr(frechet, "MOST_DIMS", 5)
    np.testing.assert_allclose(
        frechet.deviation(turned[:60], turned[60:]), frechet.deviation(real, generated), rtol=1e-6
    )


# --- Do they hold? -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many_sets():
    """Twelve pairs of sets of one kind, [60, 8] and [80, 8] each."""
    rng = np.random.default_rng(3)
    mixing = rng.normal(size=(8, 8)) / 3
    draw = lambda count, shift: rng.normal(size=(count, 8)) @ mixing + shift
    return [(draw(60, 0.0), draw(80, 0.25)) for _ in range(12)]


def halves(found):
    return np.mean([high - low for low, high in found]) / 2


def test_the_width_is_about_how_far_numbers_of_other_sets_lie(many_sets):
    """Within a factor of two of 1.96 deviations over the sets, and not below 0.7."""
    measures = {
        "kid": lambda x, y: {"kid": kid.polynomial_mmd(x, y)},
        "neighbours": precision_recall.precision_recall,
    }
    agains = {
        "kid": lambda *drawn: {"kid": kid.resampled(*drawn)},
        "neighbours": precision_recall.resampled,
    }
    for which, measure in measures.items():
        values = [measure(*pair) for pair in many_sets]
        found = [
            intervals.of_two_sets(value, agains[which], *pair)
            for value, pair in zip(values, many_sets, strict=True)
        ]
        for name in values[0]:
            true = 1.96 * np.std([value[name] for value in values])
            assert 0.7 * true < halves([one[name] for one in found]) < 2 * true, name
    values = [frechet.frechet_of_features(*pair) for pair in many_sets]
    true = 1.96 * np.std(values)
    found = [
        intervals.of_distance(value, frechet.deviation, *pair)
        for value, pair in zip(values, many_sets, strict=True)
    ]
    assert 0.7 * true < halves(found) < 2 * true


def test_more_images_make_narrower_intervals():
    rng = np.random.default_rng(4)
    of = lambda count: (rng.normal(size=(count, 8)), rng.normal(0.5, 1, size=(count, 8)))
    width = lambda pair: np.ptp(intervals.of_distance(9.0, frechet.deviation, *pair))
    assert width(of(800)) < width(of(200)) < width(of(50))
