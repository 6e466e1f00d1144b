"""What tuning feeds to its steps, what it scores and what it keeps, with steps that only count.

After step n every trained number is n, and its average 10 n. Image i of six has the codes 10 i + v
in view v and the class 5 - i; held-out images have codes from 100 on. The training loss falls,
30, 20, 10, and the held-out loss is 3, 1, 2.
"""

import dataclasses
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from maskgit_prompt import params
from maskgit_prompt.backbones import Backbone, Part
from maskgit_prompt.config import defaults
from maskgit_prompt.data.batches import batch_indices
from maskgit_prompt.models.prompt import PromptConfig
from maskgit_prompt.tuning import train, tune
from tests import tiny, training

PROMPT = PromptConfig(kind="table", tokens=2, width=16, classes=6)
IMAGES, VIEWS, LENGTH = 6, 3, 4
CODES = tune.TuningCodes(
    codes=np.tile((10 * np.arange(IMAGES)[:, None] + np.arange(VIEWS))[..., None], LENGTH).astype(
        np.uint16
    ),
    labels=5 - np.arange(IMAGES, dtype=np.int32),
    scored=np.array([1, 4]),
    heldout=np.full((3, LENGTH), [[100], [101], [102]], np.int32),
    heldout_labels=np.array([3, 3, 0], np.int32),
)
SOURCE = Backbone(
    "stub",
    {
        "transformer": Part("masked", training.TRANSFORMER, training.models()[2]["transformer"]),
        "tokenizer": Part("vq", tiny.TOKENIZER, {"codebook": np.zeros((24, 4), np.float32)}),
    },
)
TRAIN_LOSS, HELDOUT_LOSS = {1: 30.0, 2: 20.0, 3: 10.0}, {1: 3.0, 2: 1.0, 3: 2.0}


@dataclasses.dataclass
class Run:
    """What a run of `tune` did.

    Attributes:
      tuned: what it gave.
      batches: of each step.
      scored: codes, labels and a number of the prompt, of each evaluation.
      rows: of metrics.jsonl.
      made: options that the step was made with.
    """

    tuned: tune.Tuned
    batches: list[dict]
    scored: list[tuple]
    rows: list[dict]
    made: dict


def tuned(folder: pathlib.Path, codes=CODES, ema: float = 0.0, **options) -> Run:
    batches, scored, made = [], [], {}

    @jax.jit
    def advance(state):
        number = state.step + 1
        fill = lambda tree, x: jax.tree.map(lambda a: jnp.full_like(a, x), tree)
        average = None if state.ema is None else fill(state.ema, 10 * number)
        trainable = fill(state.trainable, number)
        return state.replace(step=number, trainable=trainable, ema=average)

    def make_step(loss_fn, tx, **options):
        made.update(options)

        def step(state, frozen, batch, key):
            batches.append(jax.device_get(batch))
            return advance(state), {"loss": 7.0, "grad_norm": 0.5}

        return step

    def make_evaluator(config, objective, model, generator, mesh):
        def evaluate(tree, codes, labels):
            if not len(codes):
                return None
            number = int(np.asarray(tree["prompt"]["positions"])[0, 0])
            scored.append((codes[:, 0].tolist(), labels.tolist(), number))
            by_step = HELDOUT_LOSS if codes.min() >= 100 else TRAIN_LOSS
            return by_step[number // 10 if ema else number]

        return evaluate

    config = defaults.transfer()
    config.train.update(
        steps=3, batch_size=4, log_every=1, evaluate_every=1, tensorboard=False, ema_decay=ema
    )
    config.train.update(options.pop("train", {}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "make_step", make_step)
        patch.setattr(tune, "make_evaluator", make_evaluator)
        found = tune.tune(config, SOURCE, PROMPT, codes, folder, training.mesh(), **options)
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return Run(found, batches, scored, [json.loads(line) for line in lines], made)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return tuned(tmp_path_factory.mktemp("tuned"))


def values(tree) -> set[float]:
    return {float(x) for leaf in jax.tree.leaves(tree) for x in np.ravel(leaf)}


# --- Batches -------------------------------------------------------------------------------------


def test_instance_ids_are_the_images_rows_and_class_ids_their_labels(run):
    for step, batch in enumerate(run.batches):
        rows = batch["codes"][:, 0] // 10
        np.testing.assert_array_equal(batch["instance_ids"], rows)
        np.testing.assert_array_equal(batch["class_ids"], 5 - rows)
        np.testing.assert_array_equal(rows, batch_indices(0, step, IMAGES, 4))
        assert {name: x.dtype for name, x in batch.items()} == dict.fromkeys(batch, np.int32)


def test_batches_go_through_all_images_and_views(run):
    assert len(run.batches) == 3  # 12 examples: six images twice
    codes = np.concatenate([batch["codes"][:, 0] for batch in run.batches])
    assert np.bincount(codes // 10).tolist() == [2] * IMAGES
    assert set(codes % 10) == {0, 1, 2}


def test_steps_follow_the_images_that_are_tuned_on(tmp_path):
    # Two epochs of six images in batches of 4; of the three held-out ones it would be 2 steps.
    found = tuned(tmp_path, train={"epochs": 2.0})
    assert found.tuned.steps == len(found.batches) == 3


# --- Scores --------------------------------------------------------------------------------------


def test_scores_are_of_plain_views_with_their_own_labels(run):
    # Images 1 and 4 in view 0, then the held-out ones; at steps 1, 2, 3 and at the end.
    expected = [
        (codes, labels, number)
        for number in (1, 2, 3, 3)
        for codes, labels in (([10, 40], [4, 1]), ([100, 101, 102], [3, 3, 0]))
    ]
    assert run.scored == expected


def test_losses_are_named_for_what_they_were_measured_on(run):
    assert run.tuned.loss == {"train": 10.0, "heldout": 2.0}
    found = [row for row in run.rows if "evaluated_train" in row]
    assert found == [
        {"step": step, "evaluated_train": TRAIN_LOSS[step], "evaluated_heldout": HELDOUT_LOSS[step]}
        for step in (1, 2, 3)
    ]


def test_curves_are_named_for_what_they_show(run):
    steps = [1, 2, 3]
    assert run.tuned.curves == {
        "training batches": (steps, [7.0, 7.0, 7.0]),
        "training images": (steps, [30.0, 20.0, 10.0]),
        "held-out images": (steps, [3.0, 1.0, 2.0]),
    }


def test_curves_hold_the_rows_that_have_the_column():
    rows = [{"step": 5, "loss": 2.0}, {"step": 6, "evaluated_train": 1.5}, {"step": 9, "loss": 1.0}]
    assert tune._curves(rows) == {
        "training batches": ([5, 9], [2.0, 1.0]),
        "training images": ([6], [1.5]),
    }


def test_without_held_out_images_there_is_no_such_loss(tmp_path):
    none = dataclasses.replace(CODES, heldout=CODES.heldout[:0], heldout_labels=np.zeros(0, int))
    found = tuned(tmp_path, none, keep_best=True)
    assert found.tuned.loss == {"train": 10.0, "heldout": None} and found.tuned.steps == 3
    assert values(found.tuned.prompt) == {3.0}
    assert not any("evaluated_heldout" in row for row in found.rows)


# --- What is kept --------------------------------------------------------------------------------


def test_the_last_state_is_kept_in_front_of_the_sources_transformer(run):
    assert run.tuned.steps == 3 and values(run.tuned.prompt) == {3.0}
    training.assert_same(run.tuned.transformer, SOURCE.part("transformer").tree)


def test_trainable_is_the_prompt_and_frozen_all_else(run):
    assert run.tuned.trainable == (6 + 1) * 2 * 16  # classes and the bare prompt
    assert run.tuned.frozen == params.count(SOURCE.part("transformer").tree) + 24 * 4


def test_the_smallest_held_out_loss_is_kept(tmp_path):
    found = tuned(tmp_path, keep_best=True)
    assert len(found.batches) == 3
    assert found.tuned.steps == 2 and values(found.tuned.prompt) == {2.0}
    assert found.tuned.loss == {"train": 20.0, "heldout": 1.0}


def test_averages_are_scored_and_kept(tmp_path):
    found = tuned(tmp_path, ema=0.9, train={"micro_batches": 2})
    assert found.made == {"micro_batches": 2, "ema_decay": 0.9}
    assert [number for _, _, number in found.scored] == [10, 10, 20, 20, 30, 30, 30, 30]
    assert values(found.tuned.prompt) == {30.0}


def test_the_best_is_an_average_where_there_is_one(tmp_path):
    found = tuned(tmp_path, ema=0.9, keep_best=True)
    assert found.tuned.steps == 2 and values(found.tuned.prompt) == {20.0}


class Words(nnx.Module):
    """A transformer of random weights, of which there are two."""

    def __init__(self, rngs: nnx.Rngs):
        self.words = nnx.Param(jnp.full((1, 2), 0.5))


def test_from_scratch_the_transformer_is_a_new_one_of_the_same_kind(tmp_path, monkeypatch):
    made = {("transformer", "masked", training.TRANSFORMER): lambda rngs: Words(rngs)}
    monkeypatch.setattr(tune, "make_module", lambda *args: made[args])
    found = tuned(tmp_path, scratch=True)
    assert params.flatten(found.tuned.transformer).keys() == {"words"}
    assert values(found.tuned.transformer) == {0.5}


# --- The best so far -----------------------------------------------------------------------------


def offered(path: pathlib.Path, losses: list[tuple[float, float]]) -> tune._Best:
    """Best of (training loss, held-out loss) at steps 1, 2, …; the parameters are the step."""
    best = tune._Best(path)
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
    again = tune._Best(tmp_path / "best")
    again.resume(latest)
    assert again.step == step
    if step:
        assert again.scores == {"train": 2, "heldout": 1.0}
        assert again.tree["prompt"]["x"].tolist() == [2.0]
