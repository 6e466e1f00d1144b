"""The published sizes have the names, shapes and axes that are written down."""

import pytest

from tests.models.shapes import FOLDER, SIZES, describe


@pytest.mark.parametrize("name", SIZES)
def test_names_shapes_axes_and_count(name):
    assert describe(name) == (FOLDER / f"{name}.txt").read_text()


def test_no_file_without_a_size():
    assert {path.stem for path in FOLDER.glob("*.txt")} == set(SIZES)


@pytest.mark.parametrize(
    "name, count",
    [
        ("transformer_imagenet256", "172,457,193"),  # tests/test_benchmarks.py adds them up
        ("transformer_taming_imagenet_1p4b", "1,410,640,896"),  # as the reference counts them
    ],
)
def test_counts_that_others_give(name, count):
    assert (FOLDER / f"{name}.txt").read_text().endswith(f"\n{count} parameters\n")
