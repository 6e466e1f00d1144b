"""Charts of classes: which dots carry which name, and which cell counts what."""

import numpy as np
import pytest

from maskgit_prompt.report import classes


@pytest.fixture
def axes(monkeypatch) -> list:
    """The axes of charts that are drawn, in order."""
    found = []

    def kept(figure, format):
        found.extend(figure.axes)
        return b""

    monkeypatch.setattr(classes, "as_bytes", kept)
    return found


def test_dots_carry_their_own_class(axes):
    places = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
    classes.scatter(places, np.array([2, 0, 2]), ["cat", "dog", "eel"])
    (drawn,) = axes
    dots = {one.get_label(): one.get_offsets().tolist() for one in drawn.collections}
    assert dots == {"cat": [[2.0, 3.0]], "eel": [[0.0, 1.0], [4.0, 5.0]]}
    assert [text.get_text() for text in drawn.get_legend().get_texts()] == ["cat", "eel"]
    assert (drawn.get_xlabel(), drawn.get_ylabel()) == (
        "first principal axis",
        "second principal axis",
    )


def test_the_first_dots_are_large_and_give_the_legend(axes):
    places = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
    names = ["cat", "dog", "eel"]
    classes.scatter(places, np.array([2, 0, 2]), names, large=2, principal=False)
    (drawn,) = axes
    dots = [(one.get_offsets().tolist(), one.get_sizes().tolist()) for one in drawn.collections]
    assert dots == [([[2.0, 3.0]], [90]), ([[0.0, 1.0]], [90]), ([[4.0, 5.0]], [14])]
    assert [text.get_text() for text in drawn.get_legend().get_texts()] == ["cat", "eel"]
    assert drawn.get_xlabel() == ""


def test_of_thirty_classes_none_looks_like_another(axes):
    labels = np.arange(30)
    classes.scatter(np.zeros((30, 2)), labels, [str(i) for i in labels])
    (drawn,) = axes
    looks = {
        (one.get_facecolor().tobytes(), one.get_paths()[0].vertices.tobytes())
        for one in drawn.collections
    }
    assert len(looks) == 30
    assert len(drawn.get_legend().get_texts()) == 24  # as many as are still read


def test_a_cell_counts_a_class_taken_for_an_answer(axes):
    classes.confusion(np.array([[3, 1], [0, 4]]), ["cat", "dog"])
    (drawn,) = axes
    texts = {one.get_position(): one.get_text() for one in drawn.texts}
    assert texts == {(0, 0): "3", (1, 0): "1", (1, 1): "4"}  # (answer, class)
    assert (drawn.get_xlabel(), drawn.get_ylabel()) == ("answer", "class")
    np.testing.assert_allclose(drawn.images[0].get_array(), [[0.75, 0.25], [0, 1]])
