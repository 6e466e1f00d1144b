"""Learning rates, AdamW and SGD by hand, and what goes by a rate or a decay of its own."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from maskgit_prompt.config import defaults
from maskgit_prompt.errors import UsageError
from maskgit_prompt.tuning.optimizers import check_paths, learning_rate, make_optimizer


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


def test_constant_learning_rate_stays_after_its_warmup():
    constant = dict(learning_rate=2.0, schedule="constant")
    rate = learning_rate(optimizer_config(warmup_steps=4, **constant), 12)
    assert [float(rate(step)) for step in (0, 2, 4, 8, 12)] == pytest.approx([0, 1, 2, 2, 2])
    assert float(learning_rate(optimizer_config(**constant), 12)(11)) == 2.0


def test_unknown_schedule_is_refused():
    with pytest.raises(UsageError, match="schedule = 'linear', expected cosine or constant"):
        learning_rate(optimizer_config(schedule="linear"), 10)


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
    # Gradient (30, 40), cut to norm 1, is (0.6, 0.8); with b1 = 0 it is Adam's first moment.
    tree = {"prompt": {"classes": jnp.zeros(2)}}
    tx = make_optimizer(optimizer_config(clip=1.0, b1=0.0), 10)
    state = tx.update({"prompt": {"classes": jnp.array([30.0, 40.0])}}, tx.init(tree), tree)[1]
    np.testing.assert_allclose(state[1][0].mu["prompt"]["classes"], [0.6, 0.8], rtol=1e-6)


def test_moments_have_their_own_decay():
    # For gradient 2: (1 - b1) · 2 and (1 - b2) · 2².
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


def test_adamw_is_optax_adamw_to_the_bit_and_in_the_form_of_its_state():
    config = optimizer_config(learning_rate=0.1, weight_decay=0.5, clip=0.0)
    ours, theirs = (
        make_optimizer(config, 10),
        optax.adamw(learning_rate(config, 10), b1=0.9, b2=0.96, eps=1e-8, weight_decay=0.5),
    )
    tree = {"prompt": {"classes": jnp.array([1.0, -2.0])}}
    states = [ours.init(tree), theirs.init(tree)]
    for gradient in ([0.3, 0.1], [-0.2, 5.0]):
        grads = {"prompt": {"classes": jnp.array(gradient)}}
        (update, states[0]), (expected, states[1]) = (
            tx.update(grads, state, tree) for tx, state in zip((ours, theirs), states, strict=True)
        )
        np.testing.assert_array_equal(update["prompt"]["classes"], expected["prompt"]["classes"])
    assert jax.tree.structure(states[0]) == jax.tree.structure(states[1])


# --- SGD -----------------------------------------------------------------------------------------


def sgd_updates(gradient: float, x: float = 0.0, **changes) -> list[float]:
    """Two steps' updates of one number at a learning rate of 1, which then falls to 1/2."""
    settings = {"name": "sgd", "learning_rate": 1.0, "clip": 0.0, **changes}
    tx = make_optimizer(optimizer_config(**settings), 2)
    tree, grads = {"prompt": {"x": jnp.array(x)}}, {"prompt": {"x": jnp.array(gradient)}}
    state, updates = tx.init(tree), []
    for _ in range(2):
        update, state = tx.update(grads, state, tree)
        updates.append(float(update["prompt"]["x"]))
    return updates


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"momentum": 0.0}, [-2, -2 / 2]),
        # Velocity: 2, then 0.75 · 2 + 2.
        ({"momentum": 0.75}, [-2, -3.5 / 2]),
        # Gradient plus 0.75 of the velocity.
        ({"momentum": 0.75, "nesterov": True}, [-(2 + 1.5), -(2 + 0.75 * 3.5) / 2]),
        # The gradient is cut to norm 1.
        ({"momentum": 0.75, "clip": 1.0}, [-1, -1.75 / 2]),
    ],
)
def test_sgd(changes, expected):
    np.testing.assert_allclose(sgd_updates(2.0, **changes), expected, rtol=1e-6)


def test_sgd_has_its_decay_in_the_velocity():
    # The decay 0.5 · 3 takes the gradient's place: 1.5, then 0.75 · 1.5 + 1.5.
    found = sgd_updates(0.0, x=3.0, momentum=0.75, weight_decay=0.5)
    np.testing.assert_allclose(found, [-1.5, -2.625 / 2], rtol=1e-6)


# --- By path -------------------------------------------------------------------------------------

TREE = {
    "prompt": {"classes": jnp.ones(1)},
    "transformer": {
        "words": jnp.ones(1),
        "blocks": {"kernel[4:6]": jnp.ones(1), "bias[4:6]": jnp.ones(1)},
    },
}


def by_path(tree, **changes) -> dict[str, float]:
    """The size of Adam's first step, of a gradient of 1 everywhere or of 0 (decay alone)."""
    config = optimizer_config(learning_rate=0.01, clip=0.0, **changes)
    gradient = 0.0 if "weight_decay" in changes else 1.0
    grads = jax.tree.map(lambda x: jnp.full_like(x, gradient), tree)
    update = first_update(config, tree, grads)
    names = jax.tree_util.tree_flatten_with_path(update)[0]
    return {path[-1].key: pytest.approx(-float(x[0]), rel=1e-5) for path, x in names}


@pytest.mark.parametrize(
    ("rates", "backbone", "expected"),
    [
        ((), 0.0, [0.01, 0.01, 0.01, 0.01]),
        ((), 0.002, [0.01, 0.002, 0.002, 0.002]),
        (("transformer/words=0.5",), 0.0, [0.01, 0.5, 0.01, 0.01]),
        # The first match wins, and what no pattern matches goes by the learning rate.
        ((".*/kernel=0.5", "transformer/blocks/.*=0.25"), 0.0, [0.01, 0.01, 0.5, 0.25]),
        (("transformer/blocks/.*=0.25", ".*/kernel=0.5"), 0.0, [0.01, 0.01, 0.25, 0.25]),
        # The backbone's rate is the last; it is not the prompt's, which other rates may be.
        ((".*/bias=0.5", "prompt/(?=c).*=0.125"), 0.002, [0.125, 0.002, 0.002, 0.5]),
        (("prompt/.*=0",), 0.0, [0.0, 0.01, 0.01, 0.01]),
    ],
)
def test_rates_by_path(rates, backbone, expected):
    found = by_path(TREE, rates=rates, backbone_learning_rate=backbone)
    names = ("classes", "words", "kernel[4:6]", "bias[4:6]")
    assert found == dict(zip(names, expected, strict=True))


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_decays_by_path(name):
    # At a learning rate of 0.01 a number of 1 loses 0.01 times its decay.
    found = by_path(
        TREE, name=name, weight_decay=0.5, decays=(".*bias=0", "transformer/blocks/.*=2")
    )
    assert found == {"classes": 0.005, "words": 0.005, "kernel[4:6]": 0.02, "bias[4:6]": 0.0}


def test_decay_is_of_everything_unless_told_otherwise():
    found = by_path(TREE, weight_decay=0.5)
    assert found == {"classes": 0.005, "words": 0.005, "kernel[4:6]": 0.005, "bias[4:6]": 0.005}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "lion"}, "config.optimizer.name = 'lion', expected adamw or sgd"),
        (
            {"rates": ("words",)},
            "config.optimizer.rates has 'words', expected PATTERN=VALUE as 'tr",
        ),
        ({"rates": ("words=fast",)}, "config.optimizer.rates has 'words=fast', expected PATTERN="),
        ({"rates": ("=1.0",)}, "config.optimizer.rates has '=1.0', expected PATTERN=VALUE"),
        ({"decays": (".*=-1",)}, "config.optimizer.decays has '.*=-1', expected PATTERN=VALUE"),
        ({"decays": (".*=nan",)}, "config.optimizer.decays has '.*=nan', expected PATTERN=VALUE"),
        ({"rates": ("*=1",)}, "config.optimizer.rates: '*' is not a regular expression"),
    ],
)
def test_refused(changes, message):
    with pytest.raises(UsageError) as error:
        make_optimizer(optimizer_config(**changes), 10)
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


@pytest.mark.parametrize("key", ["rates", "decays"])
def test_patterns_that_match_nothing(key):
    check_paths(optimizer_config(**{key: ("transformer/blocks/kernel=1",)}), TREE)
    with pytest.raises(UsageError) as error:
        check_paths(optimizer_config(**{key: (".*=1", "transformer/kernal=1")}), TREE)
    assert str(error.value) == (
        f"config.optimizer.{key}: 'transformer/kernal' matches no parameter; they begin with "
        "prompt/classes, transformer/blocks, transformer/words"
    )
