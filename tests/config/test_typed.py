"""Names of classes on the command line are what was typed."""

import pytest

from maskgit_prompt import main
from maskgit_prompt.config.typed import quoted
from tests.jobs.running import FOLDER, ROOT, SAMPLE


def classes(*flags: str) -> tuple[str, ...]:
    config, _ = main._parse(["main", f"{FOLDER}:photos", "--workdir=w", *flags])
    return config.data.classes


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("1.10", ("1.10",)),
        ("007", ("007",)),
        ("1e5", ("1e5",)),
        ("0x10", ("0x10",)),
        ("1_000", ("1_000",)),
        ("None", ("None",)),
        ("big cat", ("big cat",)),
        ("'big cat'", ("big cat",)),
        ('"1.10"', ("1.10",)),
        ("(1.10, 'b')", ("1.10", "b")),
        ("['b', 007e1]", ("b", "007e1")),
        ("n01440764=tench", ("n01440764=tench",)),
        ("it's", ("it's",)),
        ("cat,dog", ("cat,dog",)),
        ("(left", ("(left",)),
        ("café", ("café",)),
    ],
)
def test_a_class_is_called_as_it_was_typed(typed, expected):
    assert classes(f"--config.data.classes={typed}") == expected
    assert classes("--config.data.classes", typed) == expected


def test_several_flags_make_several_names_in_their_order():
    assert classes("--config.data.classes=2.0", "--config.data.classes=1.10") == ("2.0", "1.10")
    assert classes() == ()


def test_names_of_the_sample_job_are_typed_too():
    flags = ["--workdir=w", "--config.classes=1.10", "--config.header=class"]
    config, _ = main._parse(["main", SAMPLE, *flags])
    assert (config.classes, config.header) == (("1.10",), ("class",))


def test_a_number_of_classes_is_a_number():
    flags = ["--workdir=w", "--config.classes=1000"]
    config, _ = main._parse(["main", f"--config={ROOT}/configs/import.py", *flags])
    assert config.classes == 1000


def test_other_flags_stay_as_they_are():
    flags = ["--config.train.steps=5", "--config.score.marquee_cutoffs=(0.1, 0.5)", "-x", "1.10"]
    assert quoted(flags) == flags
