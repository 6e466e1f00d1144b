"""Parameters that no gradient trains: a running mean m of the batch's t, which the loss renews.

The loss is (x - m)² with m as it was before the step, and m becomes (m + mean t) / 2.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from maskgit_prompt import params
from maskgit_prompt.devices import sharding
from maskgit_prompt.errors import Stopped, UsageError
from maskgit_prompt.tuning import train
from tests import training
from tests.tuning.stopping import stop_at

STATS = (".*/mean",)


def loss_fn(tree, batch, key):
    mean = tree["prompt"]["mean"]
    loss = (tree["prompt"]["x"] - mean) ** 2 * tree["prompt"]["scale"]
    return loss, {"stats": {"prompt": {"mean": (mean + jnp.mean(batch["t"])) / 2}}, "seen": mean}


def begin(patterns=("prompt/(x|mean)",), stats=STATS, ema: bool = False, loss=loss_fn, **options):
    """((state, frozen), step): x from 1, m from 0, a frozen scale of 1; half the gradient."""
    mesh, tx = training.mesh(), optax.sgd(0.5)
    tree = {name: np.float32(x) for name, x in {"x": 1, "mean": 0, "scale": 1}.items()}
    tree = training.place({"prompt": tree}, mesh)
    state, frozen = train.init_state(tree, patterns, tx, mesh, ema, stats)
    return (state, frozen), train.make_step(loss, tx, state, **options)


def take(begun, targets) -> tuple[train.TrainState, dict, list[dict]]:
    ((state, frozen), step), mesh, found = begun, training.mesh(), []
    with jax.set_mesh(mesh):
        for t in targets:
            batch = sharding.to_global({"t": np.array(t, np.float32)}, mesh)
            state, metrics = step(state, frozen, batch, sharding.make_key(0, mesh))
            found.append(jax.device_get(metrics))
    return state, frozen, found


def test_the_step_keeps_what_the_loss_gives():
    state, frozen, metrics = take(begin(), [[3, 5], [8, 8]])
    # m: 0, (0 + 4) / 2, (2 + 8) / 2; x goes to the m before: 0, then 2.
    assert float(state.stats["prompt"]["mean"]) == 5
    assert float(state.trainable["prompt"]["x"]) == 2
    assert [float(row["seen"]) for row in metrics] == [0, 2]
    assert "stats" not in metrics[0]
    found = params.flatten(train.parameters(state, frozen))
    assert {name: float(x) for name, x in found.items()} == {
        "prompt/x": 2,
        "prompt/mean": 5,
        "prompt/scale": 1,
    }


def test_neither_optimizer_nor_average_nor_patterns_touch_them():
    # The pattern for what is trained matches the mean, too.
    (state, frozen), _ = begin(ema=True)
    assert params.flatten(state.trainable).keys() == {"prompt/x"}
    assert params.flatten(state.ema).keys() == {"prompt/x"}
    assert params.flatten(state.stats).keys() == {"prompt/mean"}
    assert params.flatten(frozen).keys() == {"prompt/scale"}
    state, frozen, _ = take(begin(ema=True, ema_decay=0.5), [[4, 4]])
    found = train.parameters(state, frozen)["prompt"]
    # Decay min(0.5, 1/10): x is averaged, 0.1 · 1 + 0.9 · 0; the mean is as the loss left it.
    np.testing.assert_allclose([found["x"], found["mean"]], [0.1, 2], rtol=1e-6)


def test_micro_batches_renew_one_after_the_other():
    # Rows 1, 2, 3, 4 have the parts (1, 3) and (2, 4): m is (0 + 2) / 2, then (1 + 3) / 2.
    # In the second step (2 + 2) / 2 and (2 + 3) / 2.
    state, _, metrics = take(begin(micro_batches=2), [[1, 2, 3, 4]] * 2)
    assert float(state.stats["prompt"]["mean"]) == 2.5
    assert [row["seen"] for row in metrics] == [(0 + 1) / 2, (2 + 2) / 2]
    # Gradients 2 (1 - 0) and 2 (1 - 1), on average 1; then twice 2 (0.5 - 2).
    assert float(state.trainable["prompt"]["x"]) == 1 - 0.5 * 1 + 0.5 * 3


def test_stopped_and_resumed_is_uninterrupted(tmp_path):
    mesh = training.mesh()
    batch = lambda index: {"t": np.full(2, index, np.float32)}

    def run(folder, **options):
        begun, step = begin()
        return training.run(folder, mesh, begin=begun, step=step, batch=batch, **options)

    straight = run(tmp_path / "straight")
    # m of t = 0, 1, …, 5: 0, 1/2, 5/4, 17/8, 49/16, 129/32.
    assert float(straight.stats["prompt"]["mean"]) == 129 / 32
    with pytest.raises(Stopped):
        run(tmp_path / "stopped", log=stop_at(3))
    training.assert_same(run(tmp_path / "stopped"), straight)


def test_a_loss_that_renews_something_else():
    other = lambda tree, batch, key: (
        tree["prompt"]["x"] ** 2,
        {"stats": {"prompt": {"meen": tree["prompt"]["mean"]}}},
    )
    with pytest.raises(ValueError, match="the loss gives stats .*meen.*, the state has .*mean"):
        take(begin(loss=other), [[1, 1]])
    with pytest.raises(ValueError, match=r"the loss gives stats .*, the state has \{\}"):
        take(begin(stats=()), [[1, 1]])


def test_a_loss_that_renews_nothing():
    still = lambda tree, batch, key: (tree["prompt"]["x"] ** 2 + tree["prompt"]["mean"], {})
    state, _, _ = take(begin(loss=still), [[1, 1]])
    assert float(state.stats["prompt"]["mean"]) == 0


def test_patterns_that_match_nothing():
    with pytest.raises(UsageError, match="stats: '.*/variance' matches no parameter"):
        begin(stats=(".*/variance",))
