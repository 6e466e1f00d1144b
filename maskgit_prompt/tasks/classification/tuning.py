"""Tuning of a classifier: what config.method trains, on images or on features of the encoder."""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np

from maskgit_prompt import params, streams
from maskgit_prompt.data import splits
from maskgit_prompt.devices import sharding
from maskgit_prompt.models.head import AXES
from maskgit_prompt.params import Tree
from maskgit_prompt.tasks.classification import protocols, sizes
from maskgit_prompt.tasks.classification.inputs import Source, make_batches, on_mesh, source
from maskgit_prompt.tasks.classification.model import HEAD_STATS, classification_loss
from maskgit_prompt.tasks.classification.plan import Plan
from maskgit_prompt.tasks.classification.starting import from_patches
from maskgit_prompt.tuning import tuned_file
from maskgit_prompt.tuning.tune import Examples, Tuned, tune

# The standard deviation of a class token that begins anew, as in VPT's code.
RESTARTED = 1e-6
MOST = 2000  # images to tune on whose error is measured


@dataclasses.dataclass(frozen=True)
class TunedClassifier:
    """A tuned classifier.

    Attributes:
      tree: all parameters, on the mesh.
      changed: what a file must hold beside the backbone: all that stands around the encoder, and
        what of the encoder was trained; on the host.
      run: how the tuning went; its losses are shares of wrong answers.
      predict: rows of the plan's images -> logits [n, C].
      features: rows -> what the head sees of them [n, D].
    """

    tree: Tree
    changed: Tree
    run: Tuned
    predict: Callable[[np.ndarray], np.ndarray]
    features: Callable[[np.ndarray], np.ndarray]


def tune_classifier(plan: Plan, home) -> TunedClassifier:
    """Tunes what plan.tuning.trainable names; home: the workdir."""
    mesh, given = plan.mesh, source(plan)
    tree = first_parameters(plan, plan.config.seed)
    encoder = plan.backbone.part("encoder").placed(mesh)
    tree |= {"encoder": params.overlaid(encoder, tree.get("encoder", {}))}
    logits, seen = jax.jit(plan.model.logits), jax.jit(plan.model.seen)

    def predict(tree: Tree, rows: np.ndarray) -> np.ndarray:
        return on_mesh(plan, logits, tree, given, rows, "evaluate")

    best = "heldout" if protocols.find(plan.config.protocol).best else ""
    examples = make_examples(plan, given, predict, heldout=bool(best))
    tuned = tune(
        plan.tuning, tree, classification_loss(plan.model), examples, home, mesh, best=best
    )
    changed = tuned_file.changed(tuned.tree, plan.tuning.trainable, "encoder")
    return TunedClassifier(
        tree=tuned.tree,
        changed=sharding.tree_to_host(changed, mesh),
        run=tuned,
        predict=lambda rows: predict(tuned.tree, rows),
        features=lambda rows: on_mesh(plan, seen, tuned.tree, given, rows, "features"),
    )


def first_parameters(plan: Plan, seed: int) -> Tree:
    """What stands around the encoder before the first step, and what of the encoder begins anew,
    on the mesh."""
    part = plan.backbone.part("encoder")
    key = jax.random.key(streams.seed_of(seed, "prompt"))
    around = sizes.initial(plan.sizes, part.tree, key)
    if plan.sizes.prompt is not None and plan.config.prompt.get("start") == "patches":
        around["prompt"]["positions"] = from_patches(plan, seed)
    whole = params.flatten({"encoder": part.tree})
    for i, path in enumerate(plan.method.restarts):
        draw = jax.random.normal(jax.random.fold_in(key, 100 + i), whole[path].shape)
        around = params.unflatten(params.flatten(around) | {path: RESTARTED * np.asarray(draw)})
    return sharding.place(around, plan.mesh, AXES)


def make_examples(
    plan: Plan,
    given: Source,
    predict: Callable[[Tree, np.ndarray], np.ndarray],
    *,
    heldout: bool = False,
) -> Examples:
    """Batches, and shares of wrong answers on images of each part.

    heldout: also on held-out images if nothing is looked at while tuning; they are judged once it
    is done, so one look more would be for nothing.
    """
    data = plan.data
    some = splits.thin(data.labels(data.tune), MOST, plan.config.data.seed)
    parts = {"train": data.tune[some], "validation": data.judge}
    if heldout or plan.config.train.evaluate_every:
        parts["heldout"] = data.test

    def wrong(rows: np.ndarray) -> Callable[[Tree], float]:
        labels = data.labels(rows)
        return lambda tree: float(np.mean(predict(tree, rows).argmax(1) != labels))

    return Examples(
        number=len(data.tune),
        batch=make_batches(plan, given, plan.config.seed),
        evaluations={name: wrong(rows) for name, rows in parts.items() if len(rows)},
        stats=stats_of(plan),
    )


def stats_of(plan: Plan) -> tuple[str, ...]:
    """Patterns of what the loss renews without a gradient."""
    return (HEAD_STATS,) if plan.sizes.head.hidden else ()
