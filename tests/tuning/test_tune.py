"""How long tuning goes on, what it scores and what it keeps, with steps that only count.

After step n the two trained numbers are n, and their average is 10 n; the three frozen ones are 9.
The training loss falls, 30, 20, 10, and the held-out loss is 3, 1, 2.
"""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from maskgit_prompt.config import defaults
from maskgit_prompt.devices import sharding
from maskgit_prompt.errors import UsageError
from maskgit_prompt.tuning import train, tune
from maskgit_prompt.tuning.game import Player
from tests import training
from tests.tuning import counting
from tests.tuning.counting import HELDOUT_LOSS, TRAIN_LOSS, values

EXAMPLES = 6
FIELDS = ("show", "stats", "frozen", "what")  # of Examples


@dataclasses.dataclass
class Run:
    """What a run of `tune` did.

    Attributes:
      tuned: what it gave.
      steps: what its steps got.
      scored: the name of each evaluation, and what the trained and the frozen numbers were.
      rows: of metrics.jsonl.
    """

    tuned: tune.Tuned
    steps: counting.Steps
    scored: list[tuple]
    rows: list[dict]


def loss_fn(tree, batch, key):
    raise AssertionError("steps that only count take no loss")


def tuned(
    folder: pathlib.Path, ema: float = 0.0, measured=("train", "heldout"), trainable=None, **options
) -> Run:
    """measured: of evaluations; the others give None. options: keys of the config's sections,
    fields of Examples, arguments of tune."""
    scored, steps = [], counting.Steps()
    by_step = {"train": TRAIN_LOSS, "heldout": HELDOUT_LOSS}

    def evaluation(name):
        def evaluate(tree):
            (number,) = values(tree["prompt"])
            scored.append((name, number, *values(tree["transformer"])))
            return by_step[name][number // 10 if ema else number] if name in measured else None

        return evaluate

    config = defaults.transfer()
    config.seed = 6
    config.train.update(
        steps=3, batch_size=4, log_every=2, evaluate_every=1, tensorboard=False, ema_decay=ema
    )
    config.trainable = trainable or config.trainable
    config.train.update(options.pop("train", {}))
    config.optimizer.update(options.pop("optimizer", {}))
    config.profile = options.pop("profile", "")
    examples = tune.Examples(
        EXAMPLES,
        lambda step: {"number": np.full(4, step)},
        {name: evaluation(name) for name in options.pop("evaluations", ("train", "heldout"))},
        **{name: options.pop(name) for name in FIELDS if name in options},
    )
    tree = {
        "prompt": {"x": np.zeros(2, np.float32)},
        "transformer": {"words": np.full((1, 3), 9, np.float32)},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "make_step", steps.make)
        mesh = training.mesh()
        placed = training.place(tree, mesh)
        found = tune.tune(config, placed, loss_fn, examples, folder, mesh, **options)
    return Run(found, steps, scored, counting.rows(folder))


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return tuned(tmp_path_factory.mktemp("tuned"))


# --- Steps ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("epochs", "most", "images", "steps"),
    [
        (0.0, 300, 1000, 300),
        (3.0, 300, 1000, 94),  # 3,000 images in batches of 32
        (3.0, 90, 1000, 90),
        (100.0, 50_000, 1000, 3125),
        (0.001, 300, 10, 1),
    ],
)
def test_steps_by_the_size_of_the_set(epochs, most, images, steps):
    train = defaults.transfer().train
    train.update(epochs=epochs, steps=most, batch_size=32)
    assert tune.steps_of(train, images) == steps


def test_steps_follow_the_number_of_examples(tmp_path):
    # One epoch of six examples in batches of 4; the learning rate falls over as many steps.
    found = tuned(tmp_path, train={"epochs": 1.0})
    assert found.tuned.steps == len(found.steps.batches) == 2
    with pytest.raises(UsageError, match="expected 0 to 1 for a run of 2 steps"):
        tuned(tmp_path, train={"epochs": 1.0}, optimizer={"warmup_steps": 2})


def test_every_step_has_its_batch_and_the_key_of_the_seed(run):
    assert [batch["number"].tolist() for batch in run.steps.batches] == [[0] * 4, [1] * 4, [2] * 4]
    # Seed 6, and 1 more for training.
    assert [jax.random.key_data(key).tolist() for key in run.steps.keys] == [[0, 7]] * 3


def test_the_step_is_made_of_the_loss_and_the_settings(tmp_path, run):
    assert run.steps.made == {"loss_fn": loss_fn, "micro_batches": 1, "ema_decay": 0.0}
    assert values(run.steps.like.trainable) == {0.0}  # the state that training begins with
    found = tuned(tmp_path, ema=0.9, train={"micro_batches": 2})
    assert found.steps.made == {"loss_fn": loss_fn, "micro_batches": 2, "ema_decay": 0.9}


def test_the_progress_line_begins_with_what_is_trained(tmp_path, capsys):
    tuned(tmp_path, what="tokenizer")
    assert "tokenizer: 100%" in capsys.readouterr().err


# --- What is shown -------------------------------------------------------------------------------


@pytest.mark.parametrize(("every", "expected"), [(2, [2, 3]), (3, [3]), (1, [1, 2, 3]), (0, [])])
def test_the_whole_tree_is_shown_every_so_many_steps_and_at_the_last(tmp_path, every, expected):
    shown = []
    show = lambda step, tree: shown.append(
        (step, values(tree["prompt"]), values(tree["transformer"]))
    )
    tuned(tmp_path, train={"show_every": every}, show=show)
    assert shown == [(step, {float(step)}, {9.0}) for step in expected]


def test_averages_are_shown(tmp_path):
    shown = []
    show = lambda step, tree: shown.append(values(tree["prompt"]))
    tuned(tmp_path, ema=0.9, train={"show_every": 3}, show=show)
    assert shown == [{30.0}]


def test_nothing_to_show(tmp_path):
    assert tuned(tmp_path, train={"show_every": 1}).tuned.steps == 3


def test_a_trace_lies_in_the_workdir(tmp_path):
    tuned(tmp_path, profile="1:1")
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))
    with pytest.raises(UsageError, match="config.profile = '3:1' goes to step 4, the run has 3"):
        tuned(tmp_path / "other", profile="3:1")


def test_rates_of_parameters_that_are_not_there(tmp_path):
    message = "config.optimizer.rates: 'transformer/word' matches no parameter"
    with pytest.raises(UsageError, match=message):
        tuned(tmp_path, optimizer={"rates": ("transformer/word=1",)})
    # A rate for what is frozen is not used.
    assert tuned(tmp_path, optimizer={"rates": ("transformer/words=1",)}).tuned.steps == 3


# --- Scores --------------------------------------------------------------------------------------


def test_all_evaluations_are_of_the_whole_tree(run):
    expected = [(name, number, 9) for number in (1, 2, 3) for name in ("train", "heldout")]
    assert run.scored == expected


def test_the_end_is_scored_once_however_often_scores_are_asked_for(tmp_path):
    found = tuned(tmp_path, train={"evaluate_every": 0})
    assert [number for _, number, _ in found.scored] == [3, 3]
    assert found.tuned.loss == {"train": 10.0, "heldout": 2.0}
    again = tuned(tmp_path)  # finished before: no step is left to score
    assert [number for _, number, _ in again.scored] == [3, 3]
    assert again.tuned.loss == found.tuned.loss


def test_losses_have_the_names_of_their_evaluations(run):
    assert run.tuned.loss == {"train": 10.0, "heldout": 2.0}
    found = [row for row in run.rows if "evaluated_train" in row]
    assert found == [
        {"step": step, "evaluated_train": TRAIN_LOSS[step], "evaluated_heldout": HELDOUT_LOSS[step]}
        for step in (1, 2, 3)
    ]


def test_a_loss_that_nothing_is_measured_on_is_not_logged(tmp_path):
    found = tuned(tmp_path, measured=("train",), best="heldout")
    assert found.tuned.loss == {"train": 10.0, "heldout": None} and found.tuned.steps == 3
    assert values(found.tuned.tree["prompt"]) == {3.0}
    assert not any("evaluated_heldout" in row for row in found.rows)
    assert found.tuned.curves.keys() == {"loss", "evaluated_train"}
    # The last line is of an evaluation, and has no loss of a batch.
    assert found.tuned.last["loss"] == 7.0 and found.tuned.last["evaluated_train"] == 10.0


def test_without_evaluations_only_batches_are_logged(tmp_path):
    found = tuned(tmp_path, evaluations=())
    assert found.tuned.loss == {}
    # Half a cosine over 3 steps: 0.01 at step 0, then 3/4 and 1/4 of it.
    assert [without_measured(row) for row in found.rows] == [
        {"step": step, "loss": 7.0, "grad_norm": 0.5, "learning_rate": pytest.approx(rate)}
        for step, rate in ((2, 0.0075), (3, 0.0025))
    ]
    assert found.tuned.last == found.rows[-1]


def test_the_optimizers_rate_falls_over_the_steps_that_epochs_give(tmp_path):
    """One epoch of 6 examples in batches of 4 is 2 steps, not 300: half the rate at the second."""
    plain = {"name": "sgd", "learning_rate": 1.0, "momentum": 0.0, "clip": 0.0}
    found = tuned(tmp_path, train={"epochs": 1.0, "steps": 300}, optimizer=plain)
    assert found.tuned.steps == 2
    one, tx = {"prompt": jnp.ones(1)}, found.steps.tx
    state = tx.init(one)
    for expected in (-1.0, -0.5):
        update, state = tx.update(one, state, one)
        assert float(update["prompt"][0]) == pytest.approx(expected)


def without_measured(row: dict[str, float]) -> dict[str, float]:
    """A line of metrics without speed and memory."""
    return {name: x for name, x in row.items() if name not in train.MEASURED}


def test_every_line_has_speed_and_memory(tmp_path):
    # Eight images in the two steps of the first line are four that count: the first compiles.
    for row in tuned(tmp_path, evaluations=()).rows:
        assert row["images_per_second"] == pytest.approx(4 / row["step_seconds"])
        assert row["host_peak_bytes"] > 2**26 and "device_peak_bytes" not in row


def test_curves_are_of_batches_and_of_every_evaluation(run):
    assert run.tuned.curves == {
        "loss": ([2, 3], [7.0, 7.0]),  # logged every 2 steps and at the last
        "evaluated_train": ([1, 2, 3], [30.0, 20.0, 10.0]),
        "evaluated_heldout": ([1, 2, 3], [3.0, 1.0, 2.0]),
    }


def test_curves_hold_the_rows_that_have_the_column():
    rows = [{"step": 5, "loss": 2.0}, {"step": 6, "evaluated_a": 1.5}, {"step": 9, "loss": 1.0}]
    assert tune.curves_of(rows, ["loss", "evaluated_a", "evaluated_b"]) == {
        "loss": ([5, 9], [2.0, 1.0]),
        "evaluated_a": ([6], [1.5]),
    }
    assert tune.curves_of(rows, ["loss"]).keys() == {"loss"}


# --- What is kept --------------------------------------------------------------------------------


def test_the_last_state_is_kept_with_what_is_frozen(run):
    assert run.tuned.steps == 3
    assert values(run.tuned.tree["prompt"]) == {3.0}
    assert values(run.tuned.tree["transformer"]) == {9.0}
    assert (run.tuned.trainable, run.tuned.frozen) == (2, 3)


def test_what_the_config_names_is_trained(tmp_path):
    found = tuned(tmp_path, trainable=("transformer/.*",), evaluations=())
    assert values(found.tuned.tree["transformer"]) == {3.0}
    assert values(found.tuned.tree["prompt"]) == {0.0}
    assert (found.tuned.trainable, found.tuned.frozen) == (3, 2)


def test_what_the_examples_freeze_stays_whatever_the_config_names(tmp_path):
    found = tuned(tmp_path, trainable=(".*",), frozen=("transformer/.*",), evaluations=())
    assert values(found.tuned.tree["prompt"]) == {3.0}
    assert values(found.tuned.tree["transformer"]) == {9.0}
    assert (found.tuned.trainable, found.tuned.frozen) == (2, 3)


def test_players_train_by_their_own_losses_and_have_curves_by_name(tmp_path):
    """Each pulls its only number towards the other's, 1 and 5, by a tenth of the way a step."""
    config = defaults.transfer()
    config.train.update(steps=2, batch_size=4, log_every=1, tensorboard=False)

    def player(own: str, other: str) -> Player:
        def pull(tree, batch, key):
            return (tree[own]["x"] - tree[other]["x"]) ** 2, {}

        return Player(pull, (f"{own}/.*",), optax.sgd(0.05))

    players = {"first": player("a", "b"), "second": player("b", "a")}
    mesh = training.mesh()
    tree = {"a": {"x": np.float32(1)}, "b": {"x": np.float32(5)}}
    placed = sharding.place(tree, mesh, ((".*", None),))
    examples = tune.Examples(EXAMPLES, lambda step: {"number": np.full(4, step)})
    found = tune.tune(config, placed, players, examples, tmp_path, mesh)
    # 1 -> 1.4; 5 -> 4.64, from 1.4; then 1.4 -> 1.724 and 4.64 -> 4.3484.
    np.testing.assert_allclose(found.tree["a"]["x"], 1.724, rtol=1e-5)
    np.testing.assert_allclose(found.tree["b"]["x"], 4.3484, rtol=1e-5)
    assert list(found.curves) == ["first/loss", "second/loss"]
    np.testing.assert_allclose(found.curves["first/loss"][1], [16, 3.24**2], rtol=1e-5)
    assert (found.trainable, found.frozen) == (2, 0)


@pytest.mark.parametrize(("best", "step"), [("heldout", 2), ("train", 3)])
def test_the_state_of_the_smallest_loss_is_kept(tmp_path, best, step):
    found = tuned(tmp_path, best=best)
    assert len(found.steps.batches) == 3
    assert found.tuned.steps == step and values(found.tuned.tree["prompt"]) == {float(step)}
    assert values(found.tuned.tree["transformer"]) == {9.0}
    assert found.tuned.loss == {"train": TRAIN_LOSS[step], "heldout": HELDOUT_LOSS[step]}


def test_averages_are_scored_and_kept(tmp_path):
    found = tuned(tmp_path, ema=0.9)
    assert [number for _, number, _ in found.scored] == [10, 10, 20, 20, 30, 30]
    assert values(found.tuned.tree["prompt"]) == {30.0}


def test_the_best_is_an_average_where_there_is_one(tmp_path):
    found = tuned(tmp_path, ema=0.9, best="heldout")
    assert found.tuned.steps == 2 and values(found.tuned.tree["prompt"]) == {20.0}


@pytest.mark.parametrize(("best", "step"), [("", 3), ("heldout", 2)])
def test_stats_are_kept_of_the_same_step(tmp_path, best, step):
    found = tuned(tmp_path, best=best, stats=("transformer/words",))
    assert values(found.tuned.tree["prompt"]) == {float(step)}
    assert values(found.tuned.tree["transformer"]) == {100.0 * step}
    assert found.scored[1][1:] == (1, 100.0)
    assert (found.tuned.trainable, found.tuned.frozen) == (2, 0)


def test_a_finished_run_gives_the_same_again(tmp_path):
    first = tuned(tmp_path, best="heldout").tuned
    # A line of a step that was not saved.
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 4, "loss": 5.0}\n')
    again = tuned(tmp_path, best="heldout")
    assert again.steps.batches == []
    assert (first.resumed, again.tuned.resumed) == (0, 3)
    for name in ("steps", "loss", "curves", "last"):
        assert getattr(again.tuned, name) == getattr(first, name), name
    training.assert_same(again.tuned.tree, first.tree)


# --- The best so far -----------------------------------------------------------------------------


def offered(path: pathlib.Path, losses: list[tuple[float, float]]) -> tune._Best:
    """Best of (training loss, held-out loss) at steps 1, 2, …; the parameters are the step."""
    best = tune._Best(path, "heldout")
    for step, (train_loss, heldout) in enumerate(losses, 1):
        tree = {"prompt": {"x": np.float32([step])}}
        best.offer(step, {"train": train_loss, "heldout": heldout}, lambda tree=tree: tree)
    return best


def test_of_equal_losses_the_first_is_kept(tmp_path):
    best = offered(tmp_path / "best", [(3, 2.0), (2, 1.0), (1, 1.0), (0, 1.5)])
    assert best.step == 2 and best.scores == {"train": 2, "heldout": 1.0}
    assert best.tree["prompt"]["x"].tolist() == [2.0]


@pytest.mark.parametrize(("latest", "step"), [(3, 2), (2, 2), (1, 0)])
def test_the_best_of_a_step_that_runs_again_is_forgotten(tmp_path, latest, step):
    offered(tmp_path / "best", [(3, 2.0), (2, 1.0), (1, 1.5)])
    again = tune._Best(tmp_path / "best", "heldout")
    again.resume(latest)
    assert again.step == step
    if step:
        assert again.scores == {"train": 2, "heldout": 1.0}
        assert again.tree["prompt"]["x"].tolist() == [2.0]
