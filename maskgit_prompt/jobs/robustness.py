"""Accuracy of tuned classifiers on adversarial images, over the size of the change.

1. Read the classifiers, the encoder that they share, and the held-out images.
2. Attack each classifier with each attack and size; the changed images are rounded to whole pixel
   values, as a file would hold them.
3. Write results.json, results.md and report.html.
"""

import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from maskgit_prompt import backbones, streams
from maskgit_prompt.backbones.compiled import in_batches
from maskgit_prompt.backbones.compute import Compute
from maskgit_prompt.config import rules
from maskgit_prompt.data import loading, splits
from maskgit_prompt.devices import sharding
from maskgit_prompt.errors import UsageError
from maskgit_prompt.importers import obtain
from maskgit_prompt.metrics import intervals
from maskgit_prompt.progress import progress
from maskgit_prompt.report import attacked, results
from maskgit_prompt.storage import workdir
from maskgit_prompt.storage.files import write_whole
from maskgit_prompt.tasks import attacks
from maskgit_prompt.tasks.classification.predicting import Predictor
from maskgit_prompt.tuning import tuned_classifier


def run(config: ConfigDict, path: str) -> None:
    began = time.perf_counter()
    rules.check(config)

    # 1. Classifiers, encoder, images.
    files = tuple(config.classifiers)
    if not files:
        raise UsageError(
            "no classifier: give --config.classifiers=DIR/classifier.safetensors of a run; several "
            "by repeating the flag"
        )
    found = {file: tuned_classifier.load(file) for file in files}
    first = found[files[0]]
    loading.check_path(config.data)
    backbone = backbones.load(
        obtain.backbone(config.backbone, config.download)
        or backbones.embedded_with(first.backbone.fingerprint, first.backbone.parts)
    )
    for file, one in found.items():
        tuned_classifier.check_backbone(one, backbone, file)
        if one.images != first.images:
            raise UsageError(
                f"{file} makes pixels in another way than {files[0]}; attack them in runs of their "
                "own"
            )
    mesh, compute = sharding.make_mesh(**config.mesh), Compute.of(config)
    predictors = {
        file: Predictor(backbone, one, mesh, compute, file) for file, one in found.items()
    }
    settings = ConfigDict(config.data.to_dict())
    settings.fit = first.images["fit"]
    side = backbone.part("encoder").cfg.image_size
    data = loading.load(settings, side, None, first.images["resample"])
    for file, one in predictors.items():
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
        total = len(files) * len(config.attacks) * len(config.epsilons) * len(rows)
        with progress(total, "attack", "image", delay=5.0) as bar:
            for file, one in predictors.items():
                for attack in config.attacks:
                    for epsilon in config.epsilons:
                        right = answers(config, one, mesh, attack, epsilon, pixels, labels)
                        share = float(np.mean(right))
                        table.append(
                            {
                                "classifier": file,
                                "method": one.method,
                                "attack": attack,
                                "epsilon": epsilon,
                                "accuracy": share,
                                "interval": intervals.of_share(share, len(rows)),
                            }
                        )
                        bar.update(len(rows))

        # 3. Files.
        title = f"Robustness: {data.images.name} on {backbone.name}"
        values = {"rows": table, "images": len(rows), "config": config.to_dict()}
        results.write_json(home / "results.json", values)
        write_whole(home / "results.md", attacked.markdown(table, title, len(rows)).encode())
        attacked.attacked_report(home / "report.html", table, title, len(rows), config.to_dict())
        print(f"{time.perf_counter() - began:.0f} s; report: {home / 'report.html'}")


def answers(
    config: ConfigDict,
    one: Predictor,
    mesh,
    attack: str,
    epsilon: float,
    pixels: np.ndarray,
    labels: np.ndarray,
) -> np.ndarray:
    """Which attacked images are told right, bool [n]; epsilon: in pixel values."""
    run = _attack(one, attack, config.steps)
    key = jax.random.key(streams.seed_of(config.seed, "evaluate"))
    size = -(-config.batch_size // mesh.size) * mesh.size
    both = np.concatenate([np.arange(len(labels))[:, None], labels[:, None]], axis=1)

    def batch(some: np.ndarray) -> np.ndarray:
        given = {"images": pixels[some[:, 0]], "labels": some[:, 1].astype(np.int32)}
        with jax.set_mesh(mesh):
            own = jax.random.fold_in(key, int(some[0, 0]))
            right = run(one.tree, sharding.to_global(given, mesh), epsilon / 255, own)
        return sharding.to_host(right, mesh)

    return in_batches(batch, both, size)


@functools.cache
def _attack(one: Predictor, attack: str, steps: int):
    """(parameters, batch, epsilon, key) -> bool [B]; compiled once for all sizes of the change."""

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
