"""Answers in words: what is equal, and accuracies a reader can redo."""

import pytest

from maskgit_prompt.errors import UserError
from maskgit_prompt.metrics.answers import accuracy, normalized, vqa_accuracy, weighted_accuracy


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("The two dogs' toys!", "2 dogs toys"),
        ("don't", "dont"),
        ("None", "0"),
        ("1,000", "1000"),
        ("3.5 m, or 10:30", "3.5 m or 10:30"),
        ("black/white", "black white"),
        (" a  red  ", "red"),
        ("A", "a"),
        ("the", "the"),
        ("Éclair", "éclair"),
        ("ten-year-old", "10 year old"),
        ("?", ""),
    ],
)
def test_what_is_compared(answer, expected):
    assert normalized(answer) == expected


def test_accuracy_by_hand():
    answers, targets = (
        ["Two.", "a cat", "red", "no"],
        [["2"], ["A dog", "The cat!"], ["blue"], ["yes"]],
    )
    assert accuracy(answers, targets) == 0.5
    assert accuracy(answers, targets[::-1]) == 0


@pytest.mark.parametrize(
    ("alike", "expected"), [(0, 0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1), (10, 1)]
)
def test_accuracy_against_ten_people(alike, expected):
    people = ["Yes!"] * alike + [f"other {i}" for i in range(10 - alike)]
    assert vqa_accuracy(["yes"], [people]) == pytest.approx(expected)
    assert vqa_accuracy(["yes", "no"], [people, ["no"] * 10]) == pytest.approx((expected + 1) / 2)


def test_fewer_people_can_agree_fully():
    assert vqa_accuracy(["a dog"], [["dog"]]) == 1
    assert vqa_accuracy(["a dog"], [["dog", "dog"]]) == 1
    assert vqa_accuracy(["a dog"], [["dog", "cat"]]) == 0.5


def test_answers_are_worth_their_weights():
    targets, weights = [["yes", "no"], ["red"]], [[0.9, 0.3], [1.0]]
    assert weighted_accuracy(["No.", "blue"], targets, weights) == pytest.approx(0.15)
    assert weighted_accuracy(["yes", "red"], targets, weights) == pytest.approx(0.95)


@pytest.mark.parametrize("measure", [accuracy, vqa_accuracy])
def test_what_cannot_be_judged(measure):
    with pytest.raises(UserError, match="0 answers and targets of 0 examples: expected as many"):
        measure([], [])
    with pytest.raises(UserError, match="1 answers and targets of 2 examples"):
        measure(["a"], [["a"], ["b"]])
    with pytest.raises(UserError, match="example 1 has no target to judge an answer by"):
        measure(["a", "b"], [["a"], []])
