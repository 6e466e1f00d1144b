"""How right answers in words are, against one right answer or against what ten people said.

Answers are compared after `normalized`, the same for every task and both sides.
"""

import re
from collections.abc import Sequence

import numpy as np

from maskgit_prompt.errors import UserError

_ARTICLES = {"a", "an", "the"}
_WORDS = "zero one two three four five six seven eight nine ten"
_NUMBERS = {"none": "0"} | {word: str(number) for number, word in enumerate(_WORDS.split())}
_INSIDE_NUMBERS = re.compile(r"(?<=\d)[.,:/-](?=\d)")
_ENOUGH = 3  # people who must have given an answer for it to be fully right


def normalized(answer: str) -> str:
    """An answer as it is compared: "The two dogs' toys!" is "2 dogs toys".

    In lower case; apostrophes dropped, so that "dont" is "don't"; other punctuation made spaces,
    but for that inside numbers ("3.5", "10:30"), of which commas are dropped ("1,000" is "1000");
    numbers from zero to ten as digits; articles left out, unless nothing else is there; single
    spaces.
    """
    text = re.sub(r"['’`]", "", answer.lower())
    text = re.sub(r"(?<=\d),(?=\d{3})", "", text)
    keep = {match.start() for match in _INSIDE_NUMBERS.finditer(text)}
    text = "".join(c if c.isalnum() or i in keep else " " for i, c in enumerate(text))
    words = [_NUMBERS.get(word, word) for word in text.split()]
    return " ".join([word for word in words if word not in _ARTICLES] or words)


def accuracy(answers: Sequence[str], targets: Sequence[Sequence[str]]) -> float:
    """The share of answers that equal one of their example's targets.

    Raises:
      UserError: nothing to judge, or another number of targets.
    """
    _check(answers, targets)
    right = [
        normalized(answer) in set(map(normalized, known))
        for answer, known in zip(answers, targets, strict=True)
    ]
    return float(np.mean(right))


def vqa_accuracy(answers: Sequence[str], people: Sequence[Sequence[str]]) -> float:
    """Accuracy against what ten people answered to each question (arXiv 1505.00468).

    An answer is judged against every nine of the ten and is worth a third for each of the nine that
    gave it, at most 1; the mean over the ten is its accuracy. Given by 1, 2, 3, 4 of ten people:
    0.3, 0.6, 0.9, 1.

    Raises:
      UserError: nothing to judge, another number of questions, or one that nobody answered.
    """
    _check(answers, people)
    return float(np.mean([_agreed(*pair) for pair in zip(answers, people, strict=True)]))


def _agreed(answer: str, people: Sequence[str]) -> float:
    alike = np.array([normalized(other) == normalized(answer) for other in people])
    if len(people) == 1:  # leaves nobody to be judged against
        return float(alike[0])
    others = alike.sum() - alike  # of all but one of them
    return float(np.mean(np.minimum(others / min(_ENOUGH, len(people) - 1), 1)))


def weighted_accuracy(
    answers: Sequence[str], targets: Sequence[Sequence[str]], weights: Sequence[Sequence[float]]
) -> float:
    """The mean of what answers are worth: targets yes (0.9) and no (0.3) give "No." 0.3.

    For files that keep, in place of ten answers, each different one and its accuracy.

    Raises:
      UserError: nothing to judge, or another number of targets.
    """
    _check(answers, targets)
    found = []
    for answer, known, worth in zip(answers, targets, weights, strict=True):
        alike = [
            w for t, w in zip(known, worth, strict=True) if normalized(t) == normalized(answer)
        ]
        found.append(max(alike, default=0.0))
    return float(np.mean(found))


def _check(answers: Sequence[str], targets: Sequence[Sequence[str]]) -> None:
    check_paired(answers, targets, "answer", "target", "example")


def check_paired(
    found: Sequence[str], known: Sequence[Sequence[str]], one: str, right: str, of: str
) -> None:
    """Refuses what cannot be judged; the last three are words for messages.

    Raises:
      UserError: nothing to judge, another number of what is right, or nothing right for one.
    """
    if not len(found) or len(found) != len(known):
        raise UserError(
            f"{len(found)} {one}s and {right}s of {len(known)} {of}s: expected as many, at least "
            "one"
        )
    for number, several in enumerate(known):
        if not len(several):
            article = "an" if one[0] in "aeiou" else "a"
            raise UserError(f"{of} {number} has no {right} to judge {article} {one} by: add one")
