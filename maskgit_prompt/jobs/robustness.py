"""Accuracy of tuned classifiers on adversarial images, over the size of the change.

1. Read the classifiers, the encoder that they share, and the held-out images.
2. Attack each classifier with each attack and size; the changed images are rounded to whole pixel
   values, as a file would hold them.
3. Write results.json, results.md and report.html.
"""

import itertools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from maskgit_prompt import streams
from maskgit_prompt.backbones.compiled import in_batches
from maskgit_prompt.config import rules
from maskgit_prompt.data import loading, splits
from maskgit_prompt.devices import sharding
from maskgit_prompt.errors import UsageError
from maskgit_prompt.progress import progress
from maskgit_prompt.report import attacked
from maskgit_prompt.storage import workdir
from maskgit_prompt.tasks import attacks
from maskgit_prompt.tasks.classification.predicting import Predictor, open_all


def run(config: ConfigDict, path: str) -> None:
    began = time.perf_counter()
    rules.check(config)

    # 1. Classifiers, encoder, images.
    loading.check_path(config.data)
    opened = open_all(config)
    made = {f: (one.images, one.model.normalization) for f, one in opened.predictors.items()}
    first = next(iter(made))
    for file, way in made.items():
        if way != made[first]:
            raise UsageError(
                f"{file} makes pixels in another way than {first}; attack them in runs of their own"
            )
    settings, ((fit, resample), _) = ConfigDict(config.data.to_dict()), made[first]
    settings.fit = fit
    data = loading.load(settings, opened.size, None, resample)
    for file, one in opened.predictors.items():
        if one.classes != tuple(data.images.classes):
            raise UsageError(
                f"{file} tells {', '.join(one.classes[:3])}, … apart, but {data.images.name} has "
                f"{', '.join(data.images.classes[:3])}, …; give the images that it was tuned on"
            )
    rows = data.test[splits.thin(data.labels(data.test), config.most, config.data.seed)]
    pixels, labels = data.images.read(rows), data.labels(rows)

    with workdir.prepare(path, config) as home:
        # 2. Attacks.
        table: list[dict[str, Any]] = []
        tried = list(itertools.product(opened.predictors.items(), config.attacks))
        total = len(tried) * len(config.epsilons) * len(rows)
        with progress(total, "attack", "image", delay=5.0) as bar:
            for (file, one), attack in tried:
                run = make_attack(one, attack, config.steps)
                for epsilon in config.epsilons:
                    right = answers(config, opened.mesh, one, run, epsilon, pixels, labels)
                    share = float(np.mean(right))
                    table.append(
                        attacked.row_of(file, one.method, attack, epsilon, share, len(rows))
                    )
                    bar.update(len(rows))

        # 3. Files.
        title = f"Robustness: {data.images.name} on {opened.backbone.name}"
        attacked.write(home, table, title, len(rows), config.to_dict())
        print(f"{time.perf_counter() - began:.0f} s; report: {home / 'report.html'}")


def answers(
    config: ConfigDict,
    mesh: Mesh,
    one: Predictor,
    run: Callable[..., jax.Array],
    epsilon: float,
    pixels: np.ndarray,
    labels: np.ndarray,
) -> np.ndarray:
    """Which attacked images are told right, bool [n].

    Args:
      run: of `make_attack`; epsilon: in pixel values.
    """
    key = jax.random.key(streams.seed_of(config.seed, "evaluate"))

    def batch(rows: np.ndarray) -> np.ndarray:
        given = {"images": pixels[rows], "labels": labels[rows]}
        with jax.set_mesh(mesh):
            own = jax.random.fold_in(key, int(rows[0]))
            right = run(one.tree, sharding.to_global(given, mesh), epsilon / 255, own)
        return sharding.to_host(right, mesh)

    return in_batches(batch, np.arange(len(labels)), sharding.whole(config.batch_size, mesh))


def make_attack(one: Predictor, attack: str, steps: int) -> Callable[..., jax.Array]:
    """(parameters, batch, epsilon, key) -> which attacked images are told right, bool [B].

    Compiled once for all sizes of the change; steps: of "pgd".
    """

    def right(tree, batch, epsilon, key):
        labels = batch["labels"]
        logits = lambda x: one.model.logits(tree, {"images": one.model.normalization(255 * x)})

        def loss(x):
            each = optax.losses.softmax_cross_entropy_with_integer_labels
            return jnp.sum(each(logits(x), labels))

        images = batch["images"].astype(jnp.float32) / 255
        if attack == "fgsm":
            changed = attacks.fgsm(loss, images, epsilon)
        else:
            changed = attacks.pgd(loss, images, epsilon, key, steps=steps)
        whole = jnp.round(changed * 255) / 255
        return jnp.argmax(logits(whole), -1) == labels

    return jax.jit(right)
