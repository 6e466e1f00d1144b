"""Several players in one step: each trains its own parameters by its own loss.

Adversarial training is a game of two, a tokenizer and its discriminator. The state is a TrainState
whose `trainable` and `opt` hold a tree per player, by name. Loop and checkpoints are the same.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from maskgit_prompt import params
from maskgit_prompt.devices import sharding
from maskgit_prompt.errors import UsageError
from maskgit_prompt.params import Tree
from maskgit_prompt.tuning import train
from maskgit_prompt.tuning.train import Batch, LossFn, TrainState


@dataclasses.dataclass(frozen=True)
class Player:
    """One of several players, each of which trains its own parameters by its own loss.

    It plays in steps starts_at, starts_at + every, starts_at + 2 · every, …, counted from 0.

    Attributes:
      loss_fn: of the whole parameter tree; only the player's own parameters follow its gradient.
      patterns: select its parameters, see params.split; no two players share one.
      tx: its optimizer; schedules count the steps that the player played.
    """

    loss_fn: LossFn
    patterns: tuple[str, ...]
    tx: optax.GradientTransformation
    every: int = 1
    starts_at: int = 0

    def __post_init__(self):
        if self.every < 1 or self.starts_at < 0:
            raise UsageError(
                f"a player plays every {self.every} steps from {self.starts_at} on; expected at "
                "least every = 1 and starts_at = 0"
            )


def init_game(
    tree: Tree,
    players: Mapping[str, Player],
    mesh: Mesh,
    ema: bool,
    stats: tuple[str, ...] = (),
) -> tuple[TrainState, Tree]:
    """Like `train.init_state`, for several players."""
    renewed, rest = train.split_stats(tree, stats)
    trainable, frozen = params.split_among(rest, {n: p.patterns for n, p in players.items()})
    opt = {name: train.init_opt(p.tx, trainable[name], mesh) for name, p in players.items()}
    state = train.begin(trainable, opt, renewed, mesh, ema)
    return state.replace(players=tuple(players)), frozen


def make_game_step(
    players: Mapping[str, Player],
    like: TrainState,
    *,
    micro_batches: int = 1,
    ema_decay: float = 0.0,
) -> Callable[[TrainState, Tree, Batch, jax.Array], tuple[TrainState, dict[str, jax.Array]]]:
    """Like `train.make_step`, for several players that take turns in a step, in the given order.

    Each player sees the parameters that the players before it have just updated. All see the same
    batch, and each has its own random key. Metrics are "NAME/loss" and so on, and 0 if a player
    does not play.
    """
    updates = {n: train.make_update(p.loss_fn, p.tx, micro_batches) for n, p in players.items()}

    def step(state: TrainState, frozen: Tree, batch: Batch, key: jax.Array):
        key = jax.random.fold_in(key, state.step)
        trainable, opt, stats, metrics = dict(state.trainable), dict(state.opt), state.stats, {}
        for number, (name, player) in enumerate(players.items()):
            others = [tree for other, tree in trainable.items() if other != name]
            play = functools.partial(
                updates[name],
                others=(*others, frozen),
                batch=batch,
                key=jax.random.fold_in(key, number),
            )
            own = (trainable[name], opt[name], stats)
            own, found = _in_turn(player, play, state.step, own)
            trainable[name], opt[name], stats = own
            metrics |= {f"{name}/{metric}": value for metric, value in found.items()}
        ema = train.averaged(state.ema, trainable, state.step, ema_decay)
        state = state.replace(
            step=state.step + 1, trainable=trainable, opt=opt, ema=ema, stats=stats
        )
        return state, metrics

    return jax.jit(step, donate_argnums=0, out_shardings=(sharding.of(like), None))


def _in_turn(player: Player, play: Callable, step: jax.Array, own: tuple):
    """play(own) if it is the player's turn, else own unchanged and metrics of 0."""
    if player.every == 1 and player.starts_at == 0:
        return play(own)
    metrics = jax.eval_shape(play, own)[1]
    since = step - player.starts_at
    due = (since >= 0) & (since % player.every == 0)
    skip = lambda own: (own, jax.tree.map(jnp.zeros_like, metrics))
    return jax.lax.cond(due, play, skip, own)
