"""The page of a run on images and texts, and boxes drawn into pictures."""

import types

import numpy as np

from maskgit_prompt.report import boxes
from maskgit_prompt.report.multimodal import multimodal_report


def test_a_box_is_drawn_where_it_is():
    image = boxes.picture(np.zeros((64, 64, 3), np.uint8), {"right": (8, 16, 24, 48)})
    pixels = np.asarray(image)
    assert pixels.shape == (256, 256, 3)
    rows, cols = np.nonzero(pixels.any(-1))
    assert (cols.min(), rows.min(), cols.max(), rows.max()) == (32, 64, 95, 191)
    assert tuple(pixels[64, 40]) == boxes.COLOURS["right"]
    nothing = boxes.picture(np.zeros((64, 64, 3), np.uint8), {"answered": (np.nan,) * 4})
    assert not np.asarray(nothing).any()


def found(**changes):
    values = {"values": {"accuracy": 0.75}, "intervals": {"accuracy": [0.6, 0.9]}, "notes": []}
    return {
        "scores": {"untuned": {**values, "values": {"accuracy": 0.25}}, "tuned": values},
        "kind": "answers",
        "title": "answers to questions",
        "data": "scenes/count/tune",
        "backbone": "tiny-ofa",
        "method": "prompt",
        "examples": {"tune": 500, "heldout": 40},
        "trainable": 100,
        "frozen": 900,
        "share": 0.1,
        "file_bytes": 3000,
        "steps": 7,
        "seconds": {"tune": 1.5},
        "speed": {"step_seconds": 0.25},
        "search": {"beams": 5},
        "config": {"seed": 0},
    } | changes


def test_the_page_tells_before_from_after_and_right_from_wrong(tmp_path):
    picture = boxes.picture(np.zeros((8, 8, 3), np.uint8))
    shown = [
        types.SimpleNamespace(
            picture=picture,
            asked="how many?",
            answer=answer,
            before="four",
            meant="two",
            right=right,
        )
        for answer, right in (("two", True), ("one", False))
    ]
    words = {"tuned": "right answers 75 %", "untuned": "right answers 25 %"}
    multimodal_report(tmp_path / "r.html", found(), words, shown, {})
    page = (tmp_path / "r.html").read_text()
    assert "right answers 75 %. Before tuning: right answers 25 %." in page
    assert page.index("25.0\u202f%") < page.index("75.0\u202f%")  # the model as it is comes first
    assert "\u2713 how many? \u2192 two \u00b7 before tuning: four" in page
    assert "\u2717 how many? \u2192 one \u00b7 right: two \u00b7 before tuning: four" in page
    assert "The green box" not in page


def test_a_score_that_is_missing_is_told(tmp_path):
    values = {"values": {"accuracy": 0.5}, "intervals": {}, "notes": ["CIDEr needs a library"]}
    one = found(kind="captions", scores={"tuned": values})
    multimodal_report(tmp_path / "r.html", one, {"tuned": "x"}, [], {})
    page = (tmp_path / "r.html").read_text()
    assert "Some scores are missing: CIDEr needs a library" in page and "Before tuning" not in page
