"""The page of the comparison of methods, number by number."""

import pytest

from maskgit_prompt.report import comparison
from maskgit_prompt.tuning.methods import TITLES
from tests.report.reading import png, read

PROMPT = {"method": "prompt", "shots": 2, "accuracy": 0.8, "frechet": 20.0, "kid": 0.02}
PROMPT |= {"heldout_loss": 2.2, "train_loss": 2.1, "near_copies": 0.01, "trainable": 300}
PROMPT |= {"seconds": 9.0, "best_step": 40}
FULL = {"method": "full", "shots": 2, "accuracy": 0.7, "frechet": 10.0, "kid": 0.03}
FULL |= {"heldout_loss": 2.3, "train_loss": 1.1, "near_copies": 0.5, "trainable": 9000}
FULL |= {"seconds": 8.0, "best_step": 30}
SCRATCH = {"method": "scratch", "shots": 2, "accuracy": 0.6, "frechet": 30.0, "kid": 0.01}
SCRATCH |= {"heldout_loss": 2.9, "train_loss": 2.8, "near_copies": 0.04, "trainable": 9000}
SCRATCH |= {"seconds": 7.0, "best_step": 60}
UNTUNED = {"method": "untuned", "shots": 2, "accuracy": 0.1, "frechet": 40.0, "kid": 0.09}
MORE = {**PROMPT, "shots": 5, "accuracy": 0.9, "frechet": 15.0, "heldout_loss": 2.0}
ROWS = [PROMPT, FULL, SCRATCH, UNTUNED, MORE]


@pytest.fixture
def page(charts, tmp_path):
    pictures = {f"{row['method']}/{row['shots']}": png(i) for i, row in enumerate(ROWS)}
    comparison.comparison_report(tmp_path / "r.html", ROWS, pictures, methods=TITLES)
    return read(tmp_path / "r.html")


def test_one_table_for_each_number_of_images(page):
    few, more = page.tables_of("method")
    assert few == [
        {
            "method": "prompt tuning",
            "accuracy": "80.0 %",
            "Fréchet distance": "20.00",
            "KID": "0.02000",
            "held-out loss": "2.200",
            "training loss": "2.100",
            "near-copies": "1.0 %",
            "trained parameters": "300",
            "seconds": "9.0",
            "best step": "40",
        },
        {
            "method": "full fine-tuning",
            "accuracy": "70.0 %",
            "Fréchet distance": "10.00",
            "KID": "0.03000",
            "held-out loss": "2.300",
            "training loss": "1.100",
            "near-copies": "50.0 %",
            "trained parameters": "9,000",
            "seconds": "8.0",
            "best step": "30",
        },
        {
            "method": "from scratch",
            "accuracy": "60.0 %",
            "Fréchet distance": "30.00",
            "KID": "0.01000",
            "held-out loss": "2.900",
            "training loss": "2.800",
            "near-copies": "4.0 %",
            "trained parameters": "9,000",
            "seconds": "7.0",
            "best step": "60",
        },
        {
            "method": "no tuning",
            "accuracy": "10.0 %",
            "Fréchet distance": "40.00",
            "KID": "0.09000",
            **dict.fromkeys(("held-out loss", "training loss", "near-copies"), "—"),
            **dict.fromkeys(("trained parameters", "seconds", "best step"), "—"),
        },
    ]
    assert [row["accuracy"] for row in more] == ["90.0 %"]


def test_the_best_by_each_measure(page):
    assert page.table_of("images per class") == [
        {
            "images per class": "2",
            "highest accuracy": "prompt tuning",
            "lowest Fréchet distance": "full fine-tuning",
            "lowest KID": "from scratch",
            "lowest held-out loss": "prompt tuning",
        },
        {
            "images per class": "5",
            "highest accuracy": "prompt tuning",
            "lowest Fréchet distance": "prompt tuning",
            "lowest KID": "prompt tuning",
            "lowest held-out loss": "prompt tuning",
        },
    ]


def test_charts_show_what_they_say(page, charts):
    accuracy, frechet, loss = charts
    names = ("prompt tuning", "full fine-tuning", "from scratch", "no tuning")
    few, more = "2 images per class", "5 images per class"
    assert accuracy.label == "accuracy (%)"
    shown = {group: list(map(round, bars.values())) for group, bars in accuracy.bars.items()}
    assert tuple(accuracy.bars[few]) == names
    assert shown == {few: [80, 70, 60, 10], more: [90]}
    assert frechet.label == "Fréchet distance"
    assert frechet.bars == {
        few: dict(zip(names, (20.0, 10.0, 30.0, 40.0), strict=True)),
        more: {"prompt tuning": 15.0},
    }
    assert loss.label == "held-out loss"
    # With two images per class and with five; the others were trained on two alone.
    assert {name: values for name, (_, values) in loss.curves.items()} == {
        "prompt tuning": [2.2, 2.0],
        "full fine-tuning": [2.3],
        "from scratch": [2.9],
    }


def test_pictures_stand_with_their_method_and_number_of_images(page):
    found = {caption: data[-1] for caption, data in page.pictures.items() if ", " in caption}
    assert found == {
        "Prompt tuning, 2 images per class": 0,
        "Full fine-tuning, 2 images per class": 1,
        "From scratch, 2 images per class": 2,
        "No tuning, 2 images per class": 3,
        "Prompt tuning, 5 images per class": 4,
    }


def test_methods_that_the_best_number_lies_within_reach_of_are_named_with_it(tmp_path):
    """Of 0.9, 0.85 and 0.6 the second's interval reaches 0.9; of distances 4, 5 and 9 none does."""
    rows = [
        {"method": method, "shots": 5, "accuracy": accuracy, "frechet": distance}
        | {"intervals": {"accuracy": [accuracy - 0.05, accuracy + 0.05]}}
        for method, accuracy, distance in (
            ("prompt", 0.9, 5.0),
            ("full", 0.85, 4.0),
            ("scratch", 0.6, 9.0),
        )
    ]
    comparison.comparison_report(tmp_path / "r.html", rows, {}, methods=TITLES)
    page = read(tmp_path / "r.html")
    (leaders,) = page.table_of("images per class")
    assert leaders["highest accuracy"] == "prompt tuning, full fine-tuning"
    assert leaders["lowest Fréchet distance"] == "full fine-tuning"
    assert any(text.startswith("Several are named where the best number") for text in page.texts)
    assert any(text.startswith("Brackets hold 95") for text in page.texts)
    assert page.table_of("method")[0]["accuracy"] == "90.0 % [85.0, 95.0]"
