"""The page of a run that goes on: what it says, which sheets it shows, whether it reloads."""

import pathlib

import pytest

from maskgit_prompt.report.progress import progress_page
from tests.report import reading

LOSSES = {"training batches": ([10, 20], [4.0, 3.0]), "held-out images": ([20], [3.5])}
RELOADS = '<meta http-equiv="refresh" content="5">'


@pytest.fixture
def sheets(tmp_path) -> dict[int, pathlib.Path]:
    """Seven sheets, of steps 10 to 70."""
    found = {}
    for number in range(1, 8):
        found[10 * number] = tmp_path / f"{10 * number}.png"
        found[10 * number].write_bytes(reading.png(number))
    return found


def write(folder, sheets, steps, losses=LOSSES) -> tuple[str, reading.Page]:
    progress_page(folder / "progress.html", "Tuning: digits on mini", losses, sheets, steps)
    return (folder / "progress.html").read_text(), reading.read(folder / "progress.html")


def test_a_page_that_goes_on_reloads(tmp_path, sheets, charts):
    text, page = write(tmp_path, sheets, steps=1200)
    assert RELOADS in text
    assert page.texts[0].startswith("Step 70 of 1,200. The page reloads every 5 seconds")
    (chart,) = charts
    assert chart.curves == LOSSES


def test_a_finished_page_does_not(tmp_path, sheets, charts):
    text, page = write(tmp_path, sheets, steps=70)
    assert "refresh" not in text
    assert page.texts[0] == "Step 70 of 70."


def test_the_newest_sheets_come_first(tmp_path, sheets, charts):
    shuffled = {step: sheets[step] for step in (30, 70, 10, 50, 20, 60, 40)}
    _, page = write(tmp_path, shuffled, steps=100)
    captions = [f"Step {step}" for step in (70, 60, 50, 40, 30, 20)]
    assert list(page.pictures) == ["Loss so far.", *captions]
    assert page.pictures["Step 70"] == reading.png(7) and page.pictures["Step 20"] == reading.png(2)


def test_before_anything_was_logged(tmp_path, sheets, charts):
    _, page = write(tmp_path, {10: sheets[10]}, steps=100, losses={})
    assert not charts and list(page.pictures) == ["Step 10"]
