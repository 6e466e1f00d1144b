"""Turns of phrase that stop a reader: none of them in documents, docstrings, comments, messages."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
# Right are "is not a X", "per class", "the schedule sets how many", and sentences without "Of …".
PHRASES = {
    "is no X": r"(?<![Tt]here )\b(?:is|are) no (?!longer|more|such|other)[a-z]+",
    "a class for per class": r"\b(?:image|code|prompt|token|step|report|score|block|file|process)s?"
    r" an? (?:class|image|layer|level|second|step|batch|device|host|task|file|case)\b",
    "so many": r"\b[Ss]o[- ](?:many|manieth)\b",
    "Of …": r"(?:^|\n\n|[.:;] |\"\"\"|# )Of [a-z]",
    "how many … says": r"\b[Hh]ow many [a-z ]+ says\b",
}


def texts() -> list[pathlib.Path]:
    found = list(ROOT.glob("*.md"))
    for folder in ("docs", "launch", "benchmarks", "configs", "maskgit_prompt"):
        for ending in ("*.md", "*.py", "*.sh"):
            found += (ROOT / folder).rglob(ending)
    return sorted(found)


def name(path: pathlib.Path) -> str:
    return path.relative_to(ROOT).as_posix()


def phrases(text: str) -> list[str]:
    """What stops a reader in a text, each as "kind: the words"."""
    return [
        f"{kind}: {match.group().strip()}"
        for kind, pattern in PHRASES.items()
        for match in re.finditer(pattern, text)
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A drawing is no photograph.", ["is no X: is no photograph"]),
        ("There is no file, and it is no longer here. These are no more.", []),
        ("ten images a class", ["a class for per class: images a class"]),
        ("32 images per class, an image of a class", []),
        ("the first so many slots", ["so many: so many"]),
        ("It ends. Of these one stays.", ["Of …: . Of t"]),
        ("One of these stays.", []),
        ("How many stay says the schedule.", ["how many … says: How many stay says"]),
    ],
)
def test_a_phrase_is_seen(text, found):
    assert phrases(text) == found


@pytest.mark.parametrize("path", texts(), ids=name)
def test_no_phrase_stops_a_reader(path):
    assert phrases(path.read_text()) == []
