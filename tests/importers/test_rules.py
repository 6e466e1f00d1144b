import numpy as np
import pytest

from maskgit_prompt.errors import UserError
from maskgit_prompt.importers import rules
from maskgit_prompt.importers.rules import Rule

RULES = [
    Rule(r"layer(?P<layer>\d+)\.(\w+)", r"blocks/\2", lambda x: x.transpose()),
    Rule(r"table", "words"),
]
SOURCE = {
    "layer1.weight": np.arange(6.0).reshape(2, 3) + 10,
    "layer0.weight": np.arange(6.0).reshape(2, 3),
    "table": np.ones((2, 2), np.float16),
}
EXPECTED = {"blocks": {"weight": np.empty((2, 3, 2))}, "words": np.empty((2, 2))}


def test_layers_are_transformed_and_stacked_in_order():
    found = rules.load(SOURCE, RULES, expected=EXPECTED)
    np.testing.assert_array_equal(found["blocks/weight"][0], [[0, 3], [1, 4], [2, 5]])
    np.testing.assert_array_equal(found["blocks/weight"][1], [[10, 13], [11, 14], [12, 15]])
    assert found["words"].dtype == np.float32


def test_nothing_is_read_to_match():
    class Unread:
        shape, dtype = (2, 3), np.dtype(np.float32)

        def __array__(self, dtype=None, copy=None):
            raise AssertionError("read")

    found = rules.match({"layer0.weight": Unread()}, RULES)
    assert found["blocks/weight"].shape == (1, 3, 2)


def test_ignored_names():
    rules.match({**SOURCE, "mask.buffer": np.ones(1)}, RULES, ignored=[r"mask\..*"])


def test_everything_that_is_wrong_is_named_at_once():
    wrong = {
        "layer0.weight": np.ones((2, 3)),
        "layer2.weight": np.ones((2, 3)),
        "table": np.ones((3, 2)),
        "scale": np.ones(4),
    }
    expected = {**EXPECTED, "bias": np.empty(7)}
    with pytest.raises(UserError) as caught:
        rules.match(wrong, RULES, expected=expected, what="a.ckpt")
    assert str(caught.value) == (
        "a.ckpt does not fit the model: bias (7,) is missing; "
        "blocks/weight has layers [0, 2], expected 0 to 1; "
        "scale (4,) is unexpected; words has shape (3, 2), expected (2, 2)"
    )


@pytest.mark.parametrize(
    "source, message",
    [
        ({"layer0.w": np.ones((2, 3)), "layer1.w": np.ones((3, 2))}, "layer1.w (3, 2) is missh"),
        ({"layer0.w": np.ones((2, 3)), "layer00.w": np.ones((2, 3))}, "layer00.w is there twice"),
    ],
)
def test_layers_that_do_not_go_together(source, message):
    with pytest.raises(UserError) as caught:
        rules.match(source, RULES)
    assert message in str(caught.value)
