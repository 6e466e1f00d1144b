"""What is left out."""

import pytest

from benchmarks.gathering import exclusions, sources


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("noto/keycap/three", exclusions.DIGITS),
        ("fluent/emotion/100", exclusions.DIGITS),
        ("fluent/country-flag/flag-fr", exclusions.FLAGS),
        ("noto/country-flag/flag-fr", None),
        ("fluent/flag/rainbow-flag", None),
        ("noto/hand-fingers-partial/middle_finger-1f3fb", exclusions.BODIES),
        ("noto/time/clock3", None),
        ("clipart/recreation/games/cards/ornamental/ornamental_h_10", exclusions.DIGITS),
        ("clipart/recreation/games/cards/ornamental/ornamental_h_k", None),
        ("clipart/recreation/games/cards/simple/simple_h_k", exclusions.ALIKE),
        ("clipart/shapes/stars/star_21pt05step", exclusions.ALIKE),
        ("clipart/shapes/stars/star_07pt02step", None),
        ("clipart/shapes/stars/star_golden", None),
        ("clipart/tools/weapons/bullet_hole_linda_kim_ab", exclusions.ALIKE),
        ("clipart/tools/weapons/bullet_hole_linda_kim_aa", None),
        ("clipart/animals/birds/owl", None),
        ("photos/brick/", exclusions.TARGET),
        ("photos/ihc/", exclusions.TARGET),
        ("photos/retina/", exclusions.TISSUE),
    ],
)
def test_a_picture_is_left_out_for_its_reason(name, why):
    assert exclusions.reason(name) == why


def test_no_photograph_is_both_free_and_left_out():
    assert {name for name in sources.PHOTOGRAPHS if exclusions.reason(f"photos/{name}/")} == set()


def test_no_pattern_is_listed_twice():
    patterns = [pattern for pattern, _ in exclusions.EXCLUDED]
    assert len(set(patterns)) == len(patterns) > 90
    assert all(why for _, why in exclusions.EXCLUDED)
