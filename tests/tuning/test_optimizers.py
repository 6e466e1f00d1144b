import jax.numpy as jnp
import numpy as np
import pytest

from maskgit_prompt.config import defaults
from maskgit_prompt.errors import UsageError
from maskgit_prompt.tuning.optimizers import learning_rate, make_optimizer


def optimizer_config(**changes):
    config = defaults.transfer().optimizer
    config.update(changes)
    return config


def first_update(config, tree, grads, steps=10):
    tx = make_optimizer(config, steps)
    return tx.update(grads, tx.init(tree), tree)[0]


def test_learning_rate_warms_up_then_falls_as_half_a_cosine():
    rate = learning_rate(optimizer_config(learning_rate=2.0, warmup_steps=4), 12)
    assert [float(rate(step)) for step in (0, 2, 4, 8, 12)] == pytest.approx([0, 1, 2, 1, 0])


@pytest.mark.parametrize("warmup", [-1, 10])
def test_warmup_that_does_not_fit_the_run(warmup):
    with pytest.raises(UsageError, match=f"warmup_steps = {warmup}, expected 0 to 9"):
        learning_rate(optimizer_config(warmup_steps=warmup), 10)


def test_backbone_has_a_rate_of_its_own():
    # Adam's first step is the rate times the gradient's sign, whatever the gradient's size.
    tree = {"prompt": {"classes": jnp.ones(2)}, "transformer": {"words": jnp.ones(2)}}
    grads = {"prompt": {"classes": jnp.full(2, 4.0)}, "transformer": {"words": jnp.full(2, -0.1)}}
    config = optimizer_config(learning_rate=0.01, backbone_learning_rate=0.0002, clip=0.0)
    update = first_update(config, tree, grads)
    np.testing.assert_allclose(update["prompt"]["classes"], -0.01, rtol=1e-5)
    np.testing.assert_allclose(update["transformer"]["words"], 0.0002, rtol=1e-5)


def test_backbone_without_a_rate_goes_with_the_prompt():
    tree = {"prompt": {"classes": jnp.ones(2)}, "transformer": {"words": jnp.ones(2)}}
    update = first_update(optimizer_config(learning_rate=0.01), tree, tree)
    np.testing.assert_allclose(update["prompt"]["classes"], update["transformer"]["words"])


def test_gradient_is_cut_to_a_global_norm():
    # Of gradient (30, 40) cut to norm 1, (0.6, 0.8) is left; b1 = 0 makes Adam's first moment it.
    tree = {"prompt": {"classes": jnp.zeros(2)}}
    tx = make_optimizer(optimizer_config(clip=1.0, b1=0.0), 10)
    state = tx.update({"prompt": {"classes": jnp.array([30.0, 40.0])}}, tx.init(tree), tree)[1]
    np.testing.assert_allclose(state[1][0].mu["prompt"]["classes"], [0.6, 0.8], rtol=1e-6)


def test_moments_have_their_own_decay():
    # Of gradient 2: (1 - b1) · 2 and (1 - b2) · 2².
    tree = {"prompt": {"classes": jnp.ones(1)}}
    tx = make_optimizer(optimizer_config(b1=0.75, b2=0.5, clip=0.0), 10)
    state = tx.update({"prompt": {"classes": jnp.full(1, 2.0)}}, tx.init(tree), tree)[1]
    adam = state[0]
    np.testing.assert_allclose(adam.mu["prompt"]["classes"], 0.5, rtol=1e-6)
    np.testing.assert_allclose(adam.nu["prompt"]["classes"], 2.0, rtol=1e-6)


def test_weights_decay_by_the_learning_rate():
    # Without a gradient Adam stands still, and what is left is -0.1 · 0.5 · 3.
    tree = {"prompt": {"classes": jnp.full(1, 3.0)}}
    config = optimizer_config(learning_rate=0.1, weight_decay=0.5)
    update = first_update(config, tree, {"prompt": {"classes": jnp.zeros(1)}})
    np.testing.assert_allclose(update["prompt"]["classes"], -0.15, rtol=1e-5)
