import numpy as np
import pytest

from maskgit_prompt import params
from maskgit_prompt.errors import UserError
from maskgit_prompt.importers import rules
from maskgit_prompt.importers.rules import Rule
from tests import golden_models

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
    found = golden_models.load(SOURCE, RULES, expected=EXPECTED)
    np.testing.assert_array_equal(found["blocks/weight"][0], [[0, 3], [1, 4], [2, 5]])
    np.testing.assert_array_equal(found["blocks/weight"][1], [[10, 13], [11, 14], [12, 15]])
    assert found["words"].dtype == np.float32


def test_rules_of_one_pattern_share_an_array():
    pattern = r"layer(?P<layer>\d+)\.both"
    pair = [
        Rule(pattern, f"blocks/{name}", lambda x, i=i: x.reshape(2, -1)[i])
        for i, name in enumerate(("first", "second"))
    ]
    source = {f"layer{i}.both": np.arange(4.0) + 10 * i for i in (1, 0)}
    expected = {"blocks": {"first": np.empty((2, 2)), "second": np.empty((2, 2))}}
    found = golden_models.load(source, pair, expected=expected)
    np.testing.assert_array_equal(found["blocks/first"], [[0, 1], [10, 11]])
    np.testing.assert_array_equal(found["blocks/second"], [[2, 3], [12, 13]])
    # What is wrong with it is said once.
    with pytest.raises(UserError, match=r"model: layer0.both \(3,\) is misshapen$"):
        rules.match({**source, "layer0.both": np.ones(3)}, pair, expected=expected)
    with pytest.raises(UserError, match="model: layerN.both is missing$"):
        rules.match({}, pair, expected=expected)


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
        "a.ckpt does not fit the model: scale (4,) is unexpected; "
        "table has shape (3, 2), expected (2, 2); "
        "layers 0, 2 are there (layer2.weight, …), expected 0 to 1; bias is missing"
    )


@pytest.mark.parametrize(
    "source, message",
    [
        (
            {"layer0.w": np.ones((2, 3)), "layer1.w": np.ones((3, 2))},
            "layer1.w (3, 2) becomes (2, 3), expected (3, 2)",
        ),
        ({"layer0.w": np.ones((2, 3)), "layer00.w": np.ones((2, 3))}, "layer00.w is there twice"),
    ],
)
def test_layers_that_do_not_go_together(source, message):
    with pytest.raises(UserError) as caught:
        rules.match(source, RULES)
    assert message in str(caught.value)


def test_one_layer_too_much_or_too_few_is_told_by_its_names():
    table = [Rule(r"(?:net\.)?layer(?P<layer>\d+)\.(a|b|c|d)", r"blocks/\2")]
    source = {f"net.layer{i}.{name}": np.ones(2) for i in range(2) for name in "abcd"}
    expected = {"blocks": {name: np.empty((2, 2)) for name in "abcd"}}
    rules.match(source, table, expected=expected)
    source["net.layer2.a"] = source.pop("net.layer1.b")
    with pytest.raises(UserError) as caught:
        rules.match(source, table, expected=expected, prefix="params/")
    assert str(caught.value).endswith(
        ": params/net.layer2.a (2,) is unexpected; params/net.layer1.b is missing"
    )


@pytest.mark.parametrize(
    "pattern, ours, path, name",
    [
        (r"(?:net\.)?h(?P<layer>\d+)\.(\w+)", r"blocks/\2", "blocks/bias", "net.hN.bias"),
        (r"mid\.(\d+)()\.(norm[12])\.weight", r"m/\1/\3/scale", "m/0/norm2/scale",
         "mid.0.norm2.weight"),
    ],
)  # fmt: skip
def test_a_missing_name_is_the_one_of_the_file(pattern, ours, path, name):
    with pytest.raises(UserError) as caught:
        rules.match(
            {"net.x": np.ones(1)},
            [Rule(pattern, ours), Rule(r"net\.x", "x")],
            expected=params.unflatten({"x": np.ones(1), path: np.ones(3)}),
        )
    assert str(caught.value) == f"the checkpoint does not fit the model: {name} is missing"


def test_fewer_layers_than_expected():
    expected = {"blocks": {"weight": np.empty((3, 3, 2))}, "words": np.empty((2, 2))}
    with pytest.raises(
        UserError, match=r"layers 0 to 1 are there \(layer1.weight, …\), expected 0 t"
    ):
        rules.match(SOURCE, RULES, expected=expected)


def test_a_number_of_another_kind_is_told_once():
    with pytest.raises(UserError) as caught:
        rules.match({**SOURCE, "table": np.ones((2, 2), np.int32)}, RULES, expected=EXPECTED)
    assert str(caught.value).endswith(": table is of int32, expected floating point numbers")


def test_nan_is_told_by_the_file_and_its_name():
    bad = {**SOURCE, "layer1.weight": np.full((2, 3), np.nan)}
    found = rules.match(bad, RULES, expected=EXPECTED, what="a.ckpt", prefix="params/")
    with pytest.raises(UserError, match=r"^a\.ckpt: params/layer1\.weight holds NaN or infinite"):
        found["blocks/weight"].read()
