"""Splitting a parameter tree by path patterns, putting it together, checking it."""

import jax
import numpy as np
import pytest

from maskgit_prompt import backbones, params
from maskgit_prompt.errors import UsageError, UserError
from maskgit_prompt.tuning import train
from tests import training

TREE = {"a": {"bias": 1, "kernel": 2}, "b": 3}


@pytest.mark.parametrize(
    ("patterns", "trainable"),
    [
        (("!a/bias", "a/.*"), {"a": {"kernel": 2}}),
        (("a/.*", "!a/bias"), {"a": {"bias": 1, "kernel": 2}}),  # the first match wins
        ((".*/bias", "!a/.*", ".*"), {"a": {"bias": 1}, "b": 3}),
        ((".*",), TREE),
        (("b",), {"b": 3}),  # the full path: "b" is not in "a/bias"
    ],
)
def test_split(patterns, trainable):
    found, frozen = params.split(TREE, patterns)
    assert found == trainable
    assert params.merge(found, frozen) == TREE
    assert not params.flatten(found).keys() & params.flatten(frozen).keys()


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (("a/.*", "a/kernal"), "config.trainable: 'a/kernal' matches no parameter.*a/bias"),
        (("a/.*", "!c"), "'!c' matches no parameter"),
        (("a",), "'a' matches no parameter"),
        (("!.*",), "leaves nothing to train"),
        ((), "leaves nothing to train"),
        (("*",), "'\\*' is not a regular expression"),
    ],
)
def test_split_refuses(patterns, message):
    with pytest.raises(UsageError, match=message) as error:
        params.split(TREE, patterns)
    assert "\n" not in str(error.value)


# Two stacked parameters of four layers; "c" and "blocks/0/d" have no axis of layers.
STACKED = {
    "blocks": {"bias": np.arange(4), "kernel": 10 * np.arange(8).reshape(4, 2), "0": {"d": 5}},
    "c": np.zeros(4),
}


@pytest.mark.parametrize(
    ("patterns", "trainable", "frozen"),
    [
        (("blocks/bias[-1:]",), {"bias[3:4]": [3]}, {"bias[0:3]": [0, 1, 2]}),
        (("blocks/bias[:2]",), {"bias[0:2]": [0, 1]}, {"bias[2:4]": [2, 3]}),
        (
            ("blocks/bias[1:3]",),
            {"bias[1:3]": [1, 2]},
            {"bias[0:1]": [0], "bias[3:4]": [3]},
        ),
        (("blocks/bias[-4:]",), {"bias": [0, 1, 2, 3]}, {}),
        (("blocks/bias[:]",), {"bias": [0, 1, 2, 3]}, {}),
        # The first match wins, layer by layer.
        (
            ("!blocks/bias[2:3]", "blocks/bias[1:]"),
            {"bias[1:2]": [1], "bias[3:4]": [3]},
            {"bias[0:1]": [0], "bias[2:3]": [2]},
        ),
        (
            ("!blocks/bias[-1:]", "blocks/bias"),
            {"bias[0:3]": [0, 1, 2]},
            {"bias[3:4]": [3]},
        ),
        (("blocks/bias", "!blocks/bias[-1:]"), {"bias": [0, 1, 2, 3]}, {}),
    ],
)
def test_split_into_layers(patterns, trainable, frozen):
    found, rest = params.split(STACKED, patterns)
    as_lists = lambda tree: {
        name: x.tolist() for name, x in tree.get("blocks", {}).items() if "bias" in name
    }
    assert as_lists(found) == trainable and as_lists(rest) == frozen
    assert params.count(params.abstract({"blocks": found["blocks"]})) == sum(
        map(len, trainable.values())
    )
    training.assert_same(params.merge(found, rest), STACKED)
    training.assert_same(params.merge(rest, found), STACKED)


def test_slices_of_several_parameters_keep_their_other_dimensions():
    found, rest = params.split(STACKED, ("c", "blocks/(bias|kernel)[-2:]"))
    assert found["blocks"].keys() == {"bias[2:4]", "kernel[2:4]"}
    assert found["blocks"]["kernel[2:4]"].tolist() == [[40, 50], [60, 70]]
    assert found["c"] is STACKED["c"] and rest["blocks"]["0"] == {"d": 5}
    assert {params.whole_path(path) for path in params.flatten(found)} == {
        "c",
        "blocks/bias",
        "blocks/kernel",
    }


def test_abstract_trees_are_split_alike():
    stacked = {"blocks": {"kernel": STACKED["blocks"]["kernel"]}}
    found, rest = params.split(params.abstract(stacked), ("blocks/.*[-1:]",))
    assert found["blocks"]["kernel[3:4]"].shape == (1, 2)
    assert rest["blocks"]["kernel[0:3]"].shape == (3, 2)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("blocks/bias[2:2]", "'blocks/bias[2:2]' selects none of the 4 layers of blocks/bias"),
        ("blocks/bias[3:1]", "'blocks/bias[3:1]' selects none of the 4 layers of blocks/bias"),
        ("blocks/bias[4:]", "'blocks/bias[4:]' selects none of the 4 layers of blocks/bias"),
        ("blocks/bias[-5:]", "'blocks/bias[-5:]' is out of range: blocks/bias has 4 layers"),
        ("blocks/bias[1:5]", "'blocks/bias[1:5]' is out of range: blocks/bias has 4 layers"),
        ("c[-1:]", "'c[-1:]' takes layers of c, which has no axis of layers; slices are for "),
        ("blocks/0/d[-1:]", "'blocks/0/d[-1:]' takes layers of blocks/0/d, which has no axis of"),
        ("blocks/scale[-1:]", "'blocks/scale[-1:]' matches no parameter; they begin with blocks/0"),
    ],
)
def test_slices_that_are_refused(pattern, message):
    with pytest.raises(UsageError) as error:
        params.split(STACKED, (pattern,))
    assert str(error.value).startswith(f"config.trainable: {message}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", sorted(backbones.kinds()))
def test_what_is_stacked_is_called_blocks(kind):
    """Slices go by the name; the networks say which parameters have an axis of layers."""
    rules = backbones.kinds()[kind].axes
    layered = {pattern for pattern, axes in rules if axes and "layer" in axes}
    begin = ("blocks/", r"stages/\d+/blocks/", "(encoder|decoder)/blocks/")
    assert all(
        pattern.startswith(begin) and axes[0] == "layer"
        for pattern, axes in rules
        if pattern in layered
    )
    assert not any(pattern.startswith(begin) for pattern, _ in rules if pattern not in layered)


def test_slices_with_a_gap():
    with pytest.raises(ValueError, match=r"slices of a leave a gap: \[\(0, 1\), \(2, 3\)\]"):
        params.merge({"a[0:1]": np.zeros(1)}, {"a[2:3]": np.zeros(1)})


def test_split_among_several():
    chosen = {"left": ("a/kernel",), "right": ("b",)}
    found, rest = params.split_among(TREE, chosen)
    assert found == {"left": {"a": {"kernel": 2}}, "right": {"b": 3}}
    assert rest == {"a": {"bias": 1}}
    layers = {"last": ("blocks/bias[-1:]",), "other": ("c",)}
    found, rest = params.split_among(STACKED, layers)
    assert found["last"]["blocks"].keys() == {"bias[3:4]"} and found["other"].keys() == {"c"}
    assert params.flatten(rest).keys() == {"blocks/bias[0:3]", "blocks/kernel", "blocks/0/d"}


def test_nothing_is_selected_by_two():
    message = "a/bias is trained by left and by right; one of them must leave it out"
    with pytest.raises(UsageError, match=message):
        params.split_among(TREE, {"left": ("a/.*",), "right": ("a/bias", "b")})
    with pytest.raises(UsageError, match="patterns of right: 'd' matches no parameter"):
        params.split_among(TREE, {"left": ("a/.*",), "right": ("d",)})


def test_count():
    assert params.count({"a": np.zeros((2, 3)), "b": {"c": jax.ShapeDtypeStruct((), int)}}) == 7


def test_check_lists_everything_that_differs():
    shaped = lambda **shapes: {k: np.zeros(v) for k, v in shapes.items()}
    params.check(shaped(a=(2,)), shaped(a=(2,)), "FILE")
    with pytest.raises(UserError) as error:
        params.check(shaped(a=(2,), b=(1,), x=()), shaped(a=(3,), b=(1,), c=(4,)), "FILE")
    assert str(error.value) == (
        "FILE does not fit the model: a: (2,), expected (3,); c: missing, expected (4,); "
        "x: (), expected nothing"
    )


def test_a_module_made_and_merged_is_itself():
    _, prompt, tree = training.models()
    assert params.count(tree["prompt"]) == (3 + 1) * 2 * 16
    assert params.flatten(tree["prompt"]).keys() == {"classes", "positions"}


# --- What a split means in training --------------------------------------------------------------

EVERYTHING = ("prompt/.*", "transformer/.*")
BIASES = ("transformer/blocks/.*bias",)  # BitFit, arXiv 2106.10199


def test_optimizer_state_is_of_the_prompt_alone():
    state, frozen = training.start(training.mesh())
    assert params.count(state.trainable) == 128
    assert params.count(frozen) == params.count(training.models()[2]["transformer"])
    # Adam's two moments of 128, its count, and the count of the learning rate's schedule.
    assert params.count(state.opt) == 2 * 128 + 2
    assert state.ema is None


@pytest.mark.parametrize("patterns", [training.PROMPT_ONLY, EVERYTHING, BIASES])
def test_a_step_changes_what_is_trainable_and_nothing_else(patterns):
    mesh, whole = training.mesh(), training.models()[2]
    trainable, _ = params.split(whole, patterns)
    state, frozen, losses = training.take(mesh, steps=2, patterns=patterns)
    assert params.count(state.opt) == 2 * params.count(trainable) + 2
    assert np.isfinite(losses).all()
    before, after = training.leaves(whole), training.leaves(train.parameters(state, frozen))
    assert after.keys() == before.keys()
    names = params.flatten(trainable).keys()
    for path, x in before.items():
        if path not in names:
            np.testing.assert_array_equal(after[path], x, err_msg=path)
        # A bias of the keys shifts all of a query's scores alike, and softmax does not see that.
        elif not path.endswith("attention/key/bias"):
            assert np.any(after[path] != x), path


def test_the_compiled_step_computes_no_gradient_of_frozen_weights():
    only, all_of_it = (
        training.compiled(training.mesh(), p) for p in (training.PROMPT_ONLY, EVERYTHING)
    )
    # Forward, gradients of activations and gradients of weights cost about the same.
    flops = only.cost_analysis()["flops"] / all_of_it.cost_analysis()["flops"]
    assert 0.5 < flops < 0.75
    # The gradient of a stacked kernel is written one layer at a time into [layers, …].
    stacked = "f32[2,16,32]{2,1,0} dynamic-update-slice("
    assert stacked in all_of_it.as_text()
    assert stacked not in only.as_text()
    numbers = lambda step: sum(x.size for x in jax.tree.leaves(step.out_info[0]))
    assert numbers(only) == 3 * 128 + 3  # parameters and moments; three counts


def test_a_slice_out_of_range_is_told_even_behind_a_pattern_that_matches_first():
    tree = {"blocks": {"bias": np.zeros((6, 2))}}
    with pytest.raises(UsageError, match=r"'blocks/\.\*\[9:\]' is out of range: .* has 6 layers"):
        params.split(tree, ("blocks/.*", "blocks/.*[9:]"))


def test_a_pattern_that_is_not_text():
    with pytest.raises(UsageError, match="config.trainable has 3, expected path patterns"):
        params.split({"a": np.zeros(2)}, (3,))


@pytest.mark.parametrize("pattern", ["blocks/.*[3]", "blocks/.*[::2]", "blocks/.*[-1]"])
def test_what_looks_like_a_slice(pattern):
    tree = {"blocks": {"bias": np.zeros((6, 2))}}
    with pytest.raises(UsageError, match=r"matches no .*; layers are taken as in .*\[-2:\]'$"):
        params.split(tree, (pattern,))
