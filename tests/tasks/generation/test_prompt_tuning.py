"""What prompt tuning feeds to its steps, what it scores and what it keeps.

Image i of six has the codes 10 i + v in view v and the class 5 - i; held-out images have codes from
100 on. Steps only count: after step n every trained number is n. The training loss falls, 30, 20,
10, and the held-out loss is 3, 1, 2.
"""

import dataclasses
import pathlib
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx
from ml_collections import ConfigDict

from maskgit_prompt import params
from maskgit_prompt.backbones import Backbone, Part
from maskgit_prompt.config import defaults
from maskgit_prompt.data.batches import batch_indices, views
from maskgit_prompt.models.prompt import PromptConfig, PromptGenerator
from maskgit_prompt.tasks.generation import prompt_tuning
from maskgit_prompt.tasks.generation.pictures import CURVES
from maskgit_prompt.tasks.generation.plan import Plan
from maskgit_prompt.tasks.generation.prompt_tuning import TunedModel, make_examples
from maskgit_prompt.tuning import train
from tests import tiny, training
from tests.tuning import counting
from tests.tuning.counting import HELDOUT_LOSS, TRAIN_LOSS, values

PROMPT = PromptConfig(kind="table", tokens=2, width=16, classes=6)
IMAGES, VIEWS, LENGTH = 6, 3, 4
CODES = prompt_tuning.TuningCodes(
    codes=np.tile((10 * np.arange(IMAGES)[:, None] + np.arange(VIEWS))[..., None], LENGTH).astype(
        np.uint16
    ),
    labels=5 - np.arange(IMAGES, dtype=np.int32),
    scored=np.array([1, 4]),
    test=np.full((3, LENGTH), [[100], [101], [102]], np.int32),
    test_labels=np.array([3, 3, 0], np.int32),
)
NONE_HELD_OUT = dataclasses.replace(CODES, test=CODES.test[:0], test_labels=np.zeros(0, np.int32))
# Sizes that differ where one could be taken for the other: 20 codes, of the transformer's 24.
TOKENIZER = dataclasses.replace(tiny.TOKENIZER, codebook=20)
TRANSFORMER = dataclasses.replace(training.TRANSFORMER, dropout=0.1)
BACKBONE = Backbone(
    "stub",
    {
        "transformer": Part("masked", TRANSFORMER, training.models()[2]["transformer"]),
        "tokenizer": Part("vq", TOKENIZER, {"codebook": np.zeros((20, 4), np.float32)}),
    },
)


def configured(**changes) -> ConfigDict:
    config = defaults.transfer()
    config.seed = 7
    config.train.update(steps=3, batch_size=4, log_every=1, evaluate_every=1, tensorboard=False)
    config.update(changes)
    return config


def plan(**changes) -> Plan:
    return Plan(configured(**changes), BACKBONE, training.mesh(), None, PROMPT)


# --- Examples ------------------------------------------------------------------------------------


def batches(steps: int) -> list[dict[str, np.ndarray]]:
    examples = make_examples(configured(), CODES, None)
    return [examples.batch(step) for step in range(steps)]


def test_instance_ids_are_the_images_rows_and_class_ids_their_labels():
    for step, batch in enumerate(batches(3)):
        rows = batch["codes"][:, 0] // 10
        np.testing.assert_array_equal(batch["instance_ids"], rows)
        np.testing.assert_array_equal(batch["class_ids"], 5 - rows)
        np.testing.assert_array_equal(rows, batch_indices(7, step, IMAGES, 4))
        np.testing.assert_array_equal(batch["codes"][:, 0] % 10, views(7, step, 4, VIEWS))
        assert {name: x.dtype for name, x in batch.items()} == dict.fromkeys(batch, np.int32)


def test_batches_go_through_all_images_and_views():
    # 12 examples: six images twice.
    codes = np.concatenate([batch["codes"][:, 0] for batch in batches(3)])
    assert np.bincount(codes // 10).tolist() == [2] * IMAGES
    assert set(codes % 10) == {0, 1, 2}


def test_examples_are_as_many_as_the_images_that_are_tuned_on():
    assert make_examples(configured(), CODES, None).number == IMAGES


def test_evaluations_are_of_plain_views_and_of_held_out_images_with_their_own_labels():
    evaluate = lambda tree, codes, labels: (tree, codes[:, 0].tolist(), labels.tolist())
    evaluations = make_examples(configured(), CODES, evaluate).evaluations
    # Images 1 and 4 in view 0, of classes 4 and 1.
    assert {name: of("tree") for name, of in evaluations.items()} == {
        "train": ("tree", [10, 40], [4, 1]),
        "heldout": ("tree", [100, 101, 102], [3, 3, 0]),
    }


def test_evaluated_codes_are_of_32_bits():
    evaluate = lambda tree, codes, labels: codes.dtype
    evaluations = make_examples(configured(), CODES, evaluate).evaluations
    assert {of("tree") for of in evaluations.values()} == {np.dtype(np.int32)}


# --- A whole run ---------------------------------------------------------------------------------


@dataclasses.dataclass
class Run:
    """What a run of `tune_prompt` did.

    Attributes:
      tuned: what it gave.
      steps: what its steps got.
      scored: codes, labels and a number of the prompt, of each evaluation.
      rows: of metrics.jsonl.
    """

    tuned: TunedModel
    steps: counting.Steps
    scored: list[tuple]
    rows: list[dict]


def tuned(folder: pathlib.Path, codes=CODES, changes: dict | None = None, **options) -> Run:
    scored, steps = [], counting.Steps()

    def make_evaluator(config, objective, model, generator, mesh):
        def evaluate(tree, codes, labels):
            if not len(codes):
                return None
            number = int(np.asarray(tree["prompt"]["positions"])[0, 0])
            scored.append((codes[:, 0].tolist(), labels.tolist(), number))
            return (HELDOUT_LOSS if codes.min() >= 100 else TRAIN_LOSS)[number]

        return evaluate

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "make_step", steps.make)
        patch.setattr(prompt_tuning, "make_evaluator", make_evaluator)
        found = prompt_tuning.tune_prompt(plan(**changes or {}), codes, folder, **options)
    return Run(found, steps, scored, counting.rows(folder))


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return tuned(tmp_path_factory.mktemp("tuned"))


def test_steps_and_scores_are_those_of_the_examples(run):
    for found, expected in zip(run.steps.batches, batches(3), strict=True):
        training.assert_same(found, expected)
    assert run.scored == [
        (codes, labels, number)
        for number in (1, 2, 3)
        for codes, labels in (([10, 40], [4, 1]), ([100, 101, 102], [3, 3, 0]))
    ]


def test_losses_are_named_for_what_they_were_measured_on(run):
    assert run.tuned.run.loss == {"train": 10.0, "heldout": 2.0}
    found = [row for row in run.rows if "evaluated_train" in row]
    assert found == [
        {"step": step, "evaluated_train": TRAIN_LOSS[step], "evaluated_heldout": HELDOUT_LOSS[step]}
        for step in (1, 2, 3)
    ]


def test_curves_are_named_for_what_they_show(run):
    steps = [1, 2, 3]
    assert {CURVES[column]: points for column, points in run.tuned.run.curves.items()} == {
        "training batches": (steps, [7.0, 7.0, 7.0]),
        "training images": (steps, [30.0, 20.0, 10.0]),
        "held-out images": (steps, [3.0, 1.0, 2.0]),
    }


def test_without_held_out_images_there_is_no_such_loss(tmp_path):
    found = tuned(tmp_path, NONE_HELD_OUT, keep_best=True)
    assert found.tuned.run.loss == {"train": 10.0, "heldout": None}
    assert found.tuned.run.steps == 3 and values(found.tuned.prompt) == {3.0}
    assert not any("evaluated_heldout" in row for row in found.rows)


def test_the_last_prompt_is_kept_in_front_of_the_backbones_transformer(run):
    assert run.tuned.run.steps == 3 and values(run.tuned.prompt) == {3.0}
    shapes = {name: x.shape for name, x in run.tuned.prompt.items()}
    assert shapes == {"positions": (2, 16), "classes": (6, 2, 16)}
    assert all(isinstance(x, np.ndarray) for x in run.tuned.prompt.values())
    training.assert_same(run.tuned.transformer, BACKBONE.part("transformer").tree)


def test_trainable_is_the_prompt_and_frozen_all_else(run):
    assert run.tuned.run.trainable == (6 + 1) * 2 * 16  # classes and the bare prompt
    assert run.tuned.frozen == params.count(BACKBONE.part("transformer").tree) + 20 * 4


def test_a_transformer_that_is_trained_is_the_one_that_is_given_back(tmp_path):
    found = tuned(tmp_path, changes={"trainable": (".*",)})
    assert values(found.tuned.transformer) == values(found.tuned.prompt) == {3.0}
    assert found.tuned.transformer.keys() == BACKBONE.part("transformer").tree.keys()
    assert found.tuned.frozen == 20 * 4


def test_the_smallest_held_out_loss_is_kept(tmp_path):
    found = tuned(tmp_path, keep_best=True)
    assert len(found.steps.batches) == 3
    assert found.tuned.run.steps == 2 and values(found.tuned.prompt) == {2.0}
    assert found.tuned.run.loss == {"train": 20.0, "heldout": 1.0}


class Words(nnx.Module):
    """A transformer of random weights, of which there are two."""

    def __init__(self, rngs: nnx.Rngs):
        self.words = nnx.Param(jax.random.uniform(rngs.params(), (1, 2)))


def test_from_scratch_the_transformer_is_a_new_one_of_the_same_kind(tmp_path, monkeypatch):
    made = {("masked", TRANSFORMER): lambda rngs: Words(rngs)}
    monkeypatch.setattr(prompt_tuning, "make_module", lambda *args: made[args])
    found = tuned(tmp_path, scratch=True)
    # Seed 7, and 4 more for a transformer from scratch.
    expected = params.create(lambda rngs: Words(rngs))[1](jax.random.key(11))
    assert params.flatten(found.tuned.transformer).keys() == {"words"}
    np.testing.assert_allclose(found.tuned.transformer["words"], expected["words"], rtol=1e-6)


# --- What goes where -----------------------------------------------------------------------------


@pytest.fixture
def handed(monkeypatch, tmp_path):
    """Runs tune_prompt with none of what it calls; returns the arguments of each by name."""

    def run(**changes) -> dict[str, tuple]:
        seen: dict[str, tuple] = {}

        def take(name: str, gives: Any) -> None:
            def call(*args, **options):
                seen[name] = (*args, *options.values())
                return gives

            monkeypatch.setattr(prompt_tuning, name, call)

        for name in ("make_objective", "prompt_loss", "make_evaluator", "make_examples"):
            take(name, f"of {name}")
        take("tune", prompt_tuning.Tuned({"prompt": {}, "transformer": {}}, *[0] * 2, {}, *[0] * 5))
        prompt_tuning.tune_prompt(plan(**changes), CODES, tmp_path)
        return seen

    return run


def test_the_objective_is_of_the_transformers_decoding_and_of_the_tokenizers_codes(handed):
    assert handed()["make_objective"] == (configured(), "parallel", 20)


def test_training_and_evaluation_are_of_the_same_model_and_objective(handed, tmp_path):
    seen, mesh = handed(), training.mesh()
    model, generator, objective = seen["prompt_loss"]
    assert objective == "of make_objective"
    assert seen["make_evaluator"] == (configured(), objective, model, generator, mesh)
    assert seen["make_examples"] == (configured(), CODES, "of make_evaluator")
    config, _, *rest = seen["tune"]
    assert config == configured()
    assert rest == ["of prompt_loss", "of make_examples", tmp_path, mesh, ""]


def test_tuning_begins_with_the_seeds_prompt_and_the_backbones_transformer(handed):
    _, tree, *_ = handed()["tune"]
    assert tree.keys() == {"prompt", "transformer"}
    expected = params.create(lambda rngs: PromptGenerator(PROMPT, rngs=rngs))[1](jax.random.key(7))
    for name, x in expected.items():
        np.testing.assert_allclose(tree["prompt"][name], x, rtol=1e-5, atol=1e-6)
    training.assert_same(tree["transformer"], BACKBONE.part("transformer").tree)


def test_the_transformer_is_computed_as_the_config_says_and_without_dropout(handed):
    seen = handed(dtype="bfloat16", attention="xla", train={"remat": True})
    model, generator, _ = seen["prompt_loss"]
    tree = seen["tune"][1]
    assert nnx.merge(model, tree["transformer"]).cfg == dataclasses.replace(
        TRANSFORMER, dtype="bfloat16", attention_implementation="xla", remat=True, dropout=0.0
    )
    assert nnx.merge(generator, tree["prompt"]).cfg == PROMPT


def test_attention_is_computed_as_asked(tmp_path):
    with pytest.raises(ValueError, match="'cudnn' needs an NVIDIA GPU"):
        prompt_tuning.tune_prompt(plan(attention="cudnn"), CODES, tmp_path)
