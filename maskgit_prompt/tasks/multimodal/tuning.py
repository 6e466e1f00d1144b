"""Tuning of what config.method trains, on examples of one goal."""

import dataclasses
import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from maskgit_prompt import streams
from maskgit_prompt.data import kept
from maskgit_prompt.data.ahead import Ahead
from maskgit_prompt.decoding.constraints import Constraint
from maskgit_prompt.devices import sharding
from maskgit_prompt.errors import UsageError
from maskgit_prompt.metrics import answered
from maskgit_prompt.metrics.answered import Found
from maskgit_prompt.models import prefixes
from maskgit_prompt.params import Tree
from maskgit_prompt.tasks.multimodal import sizes
from maskgit_prompt.tasks.multimodal.answering import Answerer, Answers
from maskgit_prompt.tasks.multimodal.asked import Asked
from maskgit_prompt.tasks.multimodal.batches import Batches
from maskgit_prompt.tasks.multimodal.goals import BOXES
from maskgit_prompt.tasks.multimodal.model import LossConfig, answer_loss, answer_sums
from maskgit_prompt.tasks.multimodal.plan import Plan
from maskgit_prompt.tasks.multimodal.words import padded
from maskgit_prompt.tuning import tuned_file
from maskgit_prompt.tuning.tune import Evaluation, Examples, Tuned, tune


@dataclasses.dataclass(frozen=True)
class TunedModel:
    """What tuning made.

    Attributes:
      tree: all parameters, on the mesh.
      changed: what a file must hold beside the backbone, on the host.
      run: how the tuning went.
    """

    tree: Tree
    changed: Tree
    run: Tuned


class Held:
    """The held-out examples of a plan, and what answers them."""

    def __init__(self, plan: Plan):
        self.plan = plan
        self.pictures = kept.if_few(len(plan.test), plan.side, plan.test.examples.read)
        tokenizer, size = plan.words.tokenizer, plan.config.score.batch_size
        size = min(size, len(plan.test))
        self._answer = Answerer(
            plan.model, tokenizer, plan.search, plan.constraint, plan.mesh, size
        )

    def answers(self, tree: Tree, what: str = "answer") -> Answers:
        """The answers to all held-out examples; tree: all parameters, on the mesh."""
        return self._answer(tree, self.pictures, self.plan.test.sources, what=what)

    def score(self, answers: Answers) -> Found:
        return score(self.plan, self.plan.test, answers.texts)


def score(plan: Plan, asked: Asked, texts: list[str]) -> Found:
    """Scores of answers to the examples of `asked`."""
    examples = asked.examples
    if plan.goal.kind == BOXES:
        return answered.of_boxes(plan.words.boxes(texts, examples.sizes, plan.side), asked.meant)
    return answered.of_texts(plan.goal.scored, texts, examples.targets, examples.weights)


def first_tree(plan: Plan) -> Tree:
    """All parameters before the first step, on the mesh.

    Raises:
      UsageError: a text to start from that has too few tokens or does not fit the generator.
    """
    part = plan.backbone.part("multimodal")
    key = jax.random.key(streams.seed_of(plan.config.seed, "prompt"))
    around = sizes.initial(plan.sizes, part.tree, key)
    weights = part.placed(plan.mesh)
    if plan.config.prompt.start_text and plan.sizes.prompt is not None:
        around["prompt"] = _from_text(plan, around["prompt"], weights)
    return {"multimodal": weights, **sharding.place(around, plan.mesh, sizes.AXES)}


def _from_text(plan: Plan, tree: Tree, weights: Tree) -> Tree:
    """A generator's parameters that begin as the keys and values of config.prompt.start_text."""
    ids = jnp.asarray([plan.words.source(plan.config.prompt.start_text)])
    with jax.set_mesh(plan.mesh):
        network = nnx.merge(plan.model.network, weights)
        found = network.prefixes_of(None, ids, ids)
    try:
        made = prefixes.started(plan.sizes.prompt, tree, found)
    except ValueError as error:
        raise UsageError(f"config.prompt.start_text: {error}") from error
    return jax.tree.map(np.asarray, made)


def tune_model(plan: Plan, home: pathlib.Path, held: Held) -> TunedModel:
    """Tunes what plan.tuning.trainable names; home: the workdir."""
    settings, tree = plan.config.loss, first_tree(plan)
    loss = LossConfig(settings.smoothing, settings.drop_worst, settings.r_drop)
    batches = Batches(
        plan.tune,
        kept.if_few(len(plan.tune), plan.side, plan.tune.examples.read),
        plan.config.seed,
        plan.config.train.batch_size,
        twice=settings.r_drop > 0,
    )
    examples = Examples(
        number=len(plan.tune),
        batch=Ahead(batches, plan.tuning.train.steps),
        evaluations={"heldout": _heldout(plan, held)},
    )
    tuned = tune(
        plan.tuning,
        tree,
        answer_loss(plan.model, loss, constraint_of_loss(plan)),
        examples,
        home,
        plan.mesh,
        best="heldout" if plan.config.train.best else "",
    )
    changed = tuned_file.changed(tuned.tree, plan.tuning.trainable, "multimodal")
    return TunedModel(tuned.tree, sharding.tree_to_host(changed, plan.mesh), tuned)


def constraint_of_loss(plan: Plan) -> Constraint | None:
    """What probabilities are shared among in losses; None: everything."""
    return plan.constraint if plan.config.loss.closed else None


def _heldout(plan: Plan, held: Held) -> Evaluation:
    """The loss of the first right answer of held-out examples, in nats per token."""
    size = sharding.whole(min(plan.config.score.batch_size, len(plan.test)), plan.mesh)
    # The last row has no target, so what fills the last batch up does not count.
    targets = padded([*(several[0] for several in plan.test.targets), []], plan.test.longest)
    run = jax.jit(_sums(plan))

    def evaluate(tree: Tree) -> float:
        total = np.zeros(2)
        with jax.set_mesh(plan.mesh):
            for first in range(0, len(plan.test), size):
                rows = np.arange(first, first + size)
                there = np.minimum(rows, len(plan.test) - 1)
                batch = {
                    "images": held.pictures(there),
                    "source": plan.test.sources[there],
                    "target": targets[np.minimum(rows, len(plan.test))],
                }
                found = run(tree, sharding.to_global(batch, plan.mesh))
                total += [float(sharding.to_host(x, plan.mesh)) for x in found]
        return float(total[0] / total[1])

    return evaluate


def _sums(plan: Plan) -> Callable:
    def run(tree: Tree, batch):
        found = answer_sums(plan.model, LossConfig(), tree, batch, constraint_of_loss(plan))
        return found.nll, found.count

    return run
