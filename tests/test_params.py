"""Splitting a parameter tree by path patterns, putting it together, checking it."""

import jax
import numpy as np
import pytest

from maskgit_prompt import params
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
