"""Two players of one number each, who alternate: x wants the product x · y small, y wants it large.

The losses are x · y and -x · y, the gradients y and -x. At rate 1/2, from x = 4 and y = 2:

  step   x                  y, of the new x
  0      4 - 2 / 2 = 3      2 + 3 / 2 = 3.5
  1      3 - 3.5 / 2 = 1.25   3.5 + 1.25 / 2 = 4.125
"""

import jax
import numpy as np
import optax
import pytest

from maskgit_prompt import params
from maskgit_prompt.devices import sharding
from maskgit_prompt.errors import Stopped, UsageError
from maskgit_prompt.tuning import game, train
from maskgit_prompt.tuning.game import Player
from tests import training
from tests.tuning.stopping import stop_at


def product(sign: float):
    def loss_fn(tree, batch, key):
        x, y = tree["generator"]["x"], tree["discriminator"]["y"]
        return sign * x * y, {"sum": x + y, "drawn": jax.random.uniform(key)}

    return loss_fn


def players(second=None, **options) -> dict[str, Player]:
    second = second or optax.sgd(0.5)
    return {
        "generator": Player(product(1.0), ("generator/x",), optax.sgd(0.5)),
        "discriminator": Player(product(-1.0), ("discriminator/.*",), second, **options),
    }


def begin(chosen: dict[str, Player], ema: bool = False, **options) -> tuple:
    """((state, frozen), step) from x = 4, y = 2."""
    mesh = training.mesh()
    tree = {"generator": {"x": np.float32(4), "still": np.float32(9)}}
    tree = jax.device_put(
        {**tree, "discriminator": {"y": np.float32(2)}}, jax.NamedSharding(mesh, jax.P())
    )
    begun = game.init_game(tree, chosen, mesh, ema)
    return begun, game.make_game_step(chosen, begun[0], **options)


def batch(index: int) -> dict[str, np.ndarray]:
    return {"t": np.zeros(2, np.float32)}


def take(chosen: dict[str, Player], steps: int, **options):
    """(state, [(x, y) after each step], [metrics])."""
    ((state, frozen), step), mesh = begin(chosen, **options), training.mesh()
    places, metrics = [], []
    with jax.set_mesh(mesh):
        for index in range(steps):
            rows = sharding.to_global(batch(index), mesh)
            state, found = step(state, frozen, rows, sharding.make_key(0, mesh))
            whole = train.parameters(state.replace(ema=None), frozen)
            places.append((float(whole["generator"]["x"]), float(whole["discriminator"]["y"])))
            metrics.append({name: float(x) for name, x in found.items()})
            assert float(whole["generator"]["still"]) == 9
    return state, places, metrics


def test_they_alternate():
    _, places, metrics = take(players(), 2)
    assert places == [(3, 3.5), (1.25, 4.125)]
    # Each loss is of the parameters that its player met.
    assert [row["generator/loss"] for row in metrics] == [4 * 2, 3 * 3.5]
    assert [row["discriminator/loss"] for row in metrics] == [-3 * 2, -1.25 * 3.5]
    assert metrics[0]["generator/grad_norm"] == 2 and metrics[0]["discriminator/grad_norm"] == 3
    assert metrics[0]["generator/sum"] == 6 and metrics[0]["discriminator/sum"] == 5
    assert metrics[0]["generator/drawn"] != metrics[0]["discriminator/drawn"]


def test_the_state_is_by_player():
    (state, frozen), _ = begin(players(optax.adam(0.5)))
    assert state.players == ("generator", "discriminator")
    by_player = {name: set(params.flatten(tree)) for name, tree in state.trainable.items()}
    assert by_player == {"generator": {"generator/x"}, "discriminator": {"discriminator/y"}}
    assert params.count(state.opt["generator"]) == 0
    assert params.count(state.opt["discriminator"]) == 2 + 1  # y's moments, and a count
    assert params.flatten(frozen).keys() == {"generator/still"}


def test_one_starts_later_and_plays_every_second_step():
    state, places, metrics = take(players(optax.adam(0.5), starts_at=1, every=2), 5)
    assert [y for _, y in places[:1]] == [2]
    moved = np.diff([2, *(y for _, y in places)]) != 0
    assert moved.tolist() == [False, True, False, True, False]
    # The optimizer's count and the metrics say the same.
    assert int(state.opt["discriminator"][0].count) == 2
    assert [row["discriminator/loss"] != 0 for row in metrics] == moved.tolist()
    assert all(row["generator/loss"] != 0 for row in metrics)


def test_micro_batches_and_the_average():
    state, places, _ = take(players(), 1, ema=True, ema_decay=0.5, micro_batches=2)
    assert places == [(3, 3.5)]
    # Decay min(0.5, 1/10): 0.1 of what was, 0.9 of what is.
    found = [
        state.ema["generator"]["generator"]["x"],
        state.ema["discriminator"]["discriminator"]["y"],
    ]
    np.testing.assert_allclose(found, [0.1 * 4 + 0.9 * 3, 0.1 * 2 + 0.9 * 3.5], rtol=1e-6)


def test_stopped_and_resumed_is_uninterrupted(tmp_path, capsys):
    chosen = players(optax.adam(0.5), starts_at=2)

    def run(folder, **options):
        begun, step = begin(chosen, ema=True, ema_decay=0.5)
        return training.run(folder, training.mesh(), begin=begun, step=step, batch=batch, **options)

    straight = run(tmp_path / "straight")
    assert "generator/loss=" in capsys.readouterr().err
    for step in (1, 3):
        folder = tmp_path / f"stopped{step}"
        with pytest.raises(Stopped):
            run(folder, log=stop_at(step))
        training.assert_same(run(folder), straight)


def test_sharded_players_stay_where_they_lie():
    mesh = training.mesh(2, 2, 2)
    tree = training.place(training.models()[2], mesh)
    chosen = {
        "prompt": Player(training.loss_fn(), ("prompt/.*",), optax.sgd(0.1)),
        "last": Player(
            training.loss_fn(), ("transformer/blocks/.*[-1:]",), optax.adam(0.1), every=2
        ),
    }
    begun = game.init_game(tree, chosen, mesh, ema=False)
    step = game.make_game_step(chosen, begun[0])
    where = jax.tree.map(lambda x: x.sharding, begun[0])
    with jax.set_mesh(mesh):
        rows = sharding.to_global(training.batch(0), mesh)
        state, _ = step(begun[0], begun[1], rows, sharding.make_key(7, mesh))
    assert jax.tree.map(lambda x: x.sharding, state) == where
    assert train.parameters(state, begun[1])["transformer"]["words"].shape == (28, 16)


@pytest.mark.parametrize("options", [{"every": 0}, {"starts_at": -1}])
def test_turns_that_cannot_be(options):
    with pytest.raises(
        UsageError, match="a player plays every .* steps from .* on; expected at le"
    ):
        players(**options)


def test_players_share_nothing():
    chosen = {**players(), "third": Player(product(1.0), (".*/y",), optax.sgd(0.5))}
    with pytest.raises(
        UsageError, match="discriminator/y is trained by discriminator and by third"
    ):
        begin(chosen)
