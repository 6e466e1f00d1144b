"""The main job's pictures: which images go under which name, in which row; and its curves."""

import types

import numpy as np
import pytest

from maskgit_prompt.data.images import ImageSet
from maskgit_prompt.data.loading import Splits
from maskgit_prompt.report import curves, sheets
from maskgit_prompt.tasks.generation import pictures

RED, GREEN, BLUE, YELLOW = (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0)
CURVES = {
    "loss": ([1, 2, 3], [9.0, 8.0, 7.0]),
    "evaluated_train": ([2, 3], [2.5, 1.5]),
    "evaluated_heldout": ([2, 3], [4.5, 3.5]),
}


def flat(values, colour) -> np.ndarray:
    """uint8 [n, 16, 16, 3] of one colour each, as bright as the values."""
    pixel = np.multiply.outer(np.asarray(values), colour).astype(np.uint8)
    return np.broadcast_to(pixel[:, None, None], (len(values), 16, 16, 3)).copy()


@pytest.fixture
def data() -> Splits:
    """Six images, as bright as ten times their number from 1 on; the odd ones are cats."""
    labels = np.array([0, 1, 0, 1, 0, 1], np.int32)
    images = ImageSet(
        "pets", ("cat", "dog"), labels, [f"{i}.png" for i in range(6)], "f",
        lambda rows: flat(10 * np.asarray(rows) + 10, RED),
    )  # fmt: skip
    return Splits(images, np.array([1, 2, 4]), np.array([3]), np.array([0, 5]), np.array([0, 5]))


@pytest.fixture
def drawn(data, charts):
    reconstruct = lambda rows: flat(10 * rows + 10, GREEN)
    scorer = types.SimpleNamespace(
        reconstruct=reconstruct,
        before_and_after=lambda: ("test", flat([10, 60], RED), reconstruct(np.array([0, 5]))),
        compared=np.array([1, 4]),  # of the images tuned on
    )
    generated, untuned = flat([100, 110, 120], BLUE), flat([130, 140, 150], YELLOW)
    strip = flat([10, 20, 30, 40, 50, 60], BLUE).reshape(2, 3, 16, 16, 3)
    pairs = [{"generated": 2, "training": 1}, {"generated": 0, "training": 0}]
    made = pictures.Made(generated, np.array([0, 0, 1]), untuned, strip, pairs)
    return pictures.draw(data, scorer, made, CURVES, (0.25,))


def rows_of_two(values, colour) -> np.ndarray:
    """[[a, b], [c, nothing]] as cells [2, 2, 16, 16, 3]."""
    return flat([*values, 0], colour).reshape(2, 2, 16, 16, 3)


@pytest.mark.parametrize(
    "name, values, colour",
    [
        # Cats 2 and 4 of those tuned on, then dog 1; none of what is held out.
        ("real", (30, 50, 20), RED),
        ("reconstructed", (30, 50, 20), GREEN),
        ("prompt", (100, 110, 120), BLUE),
    ],
)
def test_sheets_by_class(name, values, colour, drawn):
    expected = sheets.grid(
        rows_of_two(values, colour),
        row_labels=["cat", "dog"],
        present=np.array([[True, True], [True, False]]),
    )
    np.testing.assert_array_equal(np.asarray(drawn[name]), np.asarray(expected))


@pytest.mark.parametrize(
    "name, values, colour",
    [("untuned", (130, 140, 150), YELLOW), ("glance", (100, 110, 120), BLUE)],
)
def test_sheets_without_names(name, values, colour, drawn):
    expected = sheets.grid(flat(values, colour)[None])
    np.testing.assert_array_equal(np.asarray(drawn[name]), np.asarray(expected))


def test_what_goes_in_stands_above_what_comes_out(drawn):
    cells = np.stack([flat([10, 60], RED), flat([10, 60], GREEN)])
    expected = sheets.grid(cells, row_labels=["goes in", "comes out"])
    np.testing.assert_array_equal(np.asarray(drawn["fit"]), np.asarray(expected))


def test_pairs_are_generated_images_above_their_nearest_training_images(drawn):
    """Images 2 and 0 of those generated; 4 and 1 of the set are the second and first compared."""
    cells = np.stack([flat([120, 100], BLUE), flat([50, 20], RED)])
    expected = sheets.grid(cells, row_labels=["generated", "training"])
    np.testing.assert_array_equal(np.asarray(drawn["pairs"]), np.asarray(expected))


def test_marquee_begins_with_the_instance_and_the_class_alone(drawn):
    cells = flat([10, 20, 30, 40, 50, 60], BLUE).reshape(2, 3, 16, 16, 3)
    expected = sheets.grid(cells, ["cat", "dog"], ["instance", "class", "0.25"])
    np.testing.assert_array_equal(np.asarray(drawn["marquee"]), np.asarray(expected))


def test_each_curve_carries_its_own_values(drawn, charts):
    (chart,) = charts
    assert chart.label == "loss"
    assert chart.curves == {
        "training batches": ([1, 2, 3], [9.0, 8.0, 7.0]),
        "training images": ([2, 3], [2.5, 1.5]),
        "held-out images": ([2, 3], [4.5, 3.5]),
    }


def test_many_points_are_drawn_under_their_running_mean(charts):
    """Of 101 points the window is 2 * (101 // 50) + 1 = 5; ends have fewer."""
    values = np.zeros(101)
    values[50] = 10.0
    curves.loss_curve({"loss": (np.arange(101), values)}, {"best": 50})
    (chart,) = charts
    steps, shown = chart.curves["loss (mean of 5)"]
    assert steps == list(range(101))
    assert [step for step, value in zip(steps, shown, strict=True) if value > 0] == [
        48, 49, 50, 51, 52,
    ]  # fmt: skip
    assert shown[50] == pytest.approx(2.0)


def test_bars_stand_in_their_group(charts):
    groups = {"few": {"a": 1.0, "b": None, "c": 3.0}, "many": {"a": 4.0, "b": 5.0, "c": 6.0}}
    curves.bar_chart(groups, "score")
    (chart,) = charts
    assert chart.bars == {"few": {"a": 1.0, "c": 3.0}, "many": {"a": 4.0, "b": 5.0, "c": 6.0}}


def test_files_are_called_after_the_pictures(drawn, tmp_path):
    sheets.save_all(drawn, tmp_path / "samples")
    found = {path.stem: path.read_bytes() for path in (tmp_path / "samples").iterdir()}
    assert found.keys() == drawn.keys()
    assert found["real"] == sheets.png_bytes(drawn["real"])
    assert found["loss"] == drawn["loss"]
