"""Training slices of stacked layers: the last of the tiny transformer's two.

By hand, the same is training all of the blocks with the gradient of the first layer set to 0.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from maskgit_prompt import params
from maskgit_prompt.errors import Stopped
from maskgit_prompt.tuning import train
from tests import training
from tests.tuning.stopping import stop_at

LAST = ("transformer/blocks/.*[-1:]",)
BLOCKS = ("transformer/blocks/.*",)


def has_gradient(path: str) -> bool:
    """A bias of the keys shifts all of a query's scores alike, and softmax does not see that: its
    gradient is rounding, which Adam turns into steps."""
    return "attention/key/bias" not in path


def first_layer_frozen() -> optax.GradientTransformation:
    """The optimizer after gradients [2, …] are multiplied by (0, 1) along their layers."""
    rows = lambda x: x * jnp.arange(2.0).reshape(2, *[1] * (x.ndim - 1))
    zero = optax.stateless(lambda gradients, _: jax.tree.map(rows, gradients))
    return optax.chain(zero, training.optimizer())


@pytest.fixture(scope="module")
def by_slice():
    """(state, frozen, losses) after three steps of the last layer."""
    return training.take(training.mesh(), patterns=LAST)


@pytest.fixture(scope="module")
def whole():
    return training.leaves(training.models()[2])


def test_the_state_is_of_the_slice_alone(by_slice, whole):
    state, frozen, _ = by_slice
    blocks = {path: x for path, x in whole.items() if "/blocks/" in path}
    assert state.trainable["transformer"]["blocks"].keys() == {
        "attention",
        "attention_norm",
        "mlp",
        "mlp_norm",
    }
    assert params.flatten(state.trainable).keys() == {f"{path}[1:2]" for path in blocks}
    half = sum(x.size for x in blocks.values()) // 2
    assert params.count(state.trainable) == half
    assert params.count(state.opt) == 2 * half + 2  # two moments, and two counts
    assert params.count(frozen) == sum(x.size for x in whole.values()) - half


def test_frozen_layers_stay_bit_for_bit_and_the_others_move(by_slice, whole):
    state, frozen, _ = by_slice
    after = training.leaves(train.parameters(state, frozen))
    assert after.keys() == whole.keys()
    for path, x in whole.items():
        if "/blocks/" not in path:
            np.testing.assert_array_equal(after[path], x, err_msg=path)
            continue
        np.testing.assert_array_equal(after[path][0], x[0], err_msg=path)
        assert np.any(after[path][1] != x[1]) or not has_gradient(path), path


def test_a_slice_trains_as_all_layers_do_with_the_other_gradients_set_to_zero(by_slice):
    mesh, tx = training.mesh(), first_layer_frozen()
    state, frozen = training.start(mesh, BLOCKS, tx=tx)
    step = train.make_step(training.loss_fn(), tx, state)
    by_hand, _, losses = training.take(mesh, begin=(state, frozen), step=step)
    np.testing.assert_allclose(losses, by_slice[2], rtol=1e-6)
    found = training.leaves(by_slice[0].trainable)
    for path, x in training.leaves(by_hand.trainable).items():
        if has_gradient(path):
            atol = 1e-5 * np.abs(x).max()
            y = found[f"{path}[1:2]"]
            np.testing.assert_allclose(y, x[1:], rtol=0, atol=atol, err_msg=path)


def test_sharded_is_as_on_one_device():
    # With momentum: Adam's steps do not shrink with the gradient, and so magnify its rounding.
    tx, found = optax.sgd(0.1, momentum=0.9), []
    for mesh in (training.mesh(), training.mesh(2, 2, 2)):
        begin = training.start(mesh, LAST, tx=tx)
        step = train.make_step(training.loss_fn(), tx, begin[0])
        state, frozen, losses = training.take(mesh, begin=begin, step=step)
        found.append((losses, training.leaves(train.parameters(state, frozen))))
    (expected_losses, expected), (losses, leaves) = found
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-5)
    for path, x in leaves.items():
        atol = 1e-5 * np.abs(x).max()
        np.testing.assert_allclose(x, expected[path], rtol=0, atol=atol, err_msg=path)

    kernel = lambda tree, name: tree["transformer"]["blocks"]["mlp"]["up"][name]
    where = jax.P(None, "fsdp", "tensor")
    assert kernel(state.trainable, "kernel[1:2]").sharding.spec == where
    assert kernel(state.opt[0].trace, "kernel[1:2]").sharding.spec == where
    assert kernel(frozen, "kernel[0:1]").sharding.spec == where
    assert kernel(train.parameters(state, frozen), "kernel").sharding.spec == where


def test_stopped_and_resumed_is_uninterrupted(tmp_path):
    mesh = training.mesh()
    step = training.step_fn(mesh, LAST, ema=True, ema_decay=0.5)
    options = lambda: dict(begin=training.start(mesh, LAST, ema=True), step=step)
    straight = training.run(tmp_path / "straight", mesh, **options())
    with pytest.raises(Stopped):
        training.run(tmp_path / "stopped", mesh, log=stop_at(3), **options())
    resumed = training.run(tmp_path / "stopped", mesh, **options())
    training.assert_same(resumed, straight)
