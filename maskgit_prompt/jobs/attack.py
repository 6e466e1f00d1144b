"""Answers of tuned encoder-decoders about adversarial images (FGSM), over the size of the change.

1. Read what was tuned, the backbone that the files share, and the held-out examples.
2. Attack each model with each size: the loss of the right answer rises along its gradient's sign;
   changed images are rounded to whole pixel values, as a file would hold them.
3. Write results.json, results.md and report.html.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from maskgit_prompt.backbones.compiled import in_batches
from maskgit_prompt.backbones.compute import Compute
from maskgit_prompt.config import rules
from maskgit_prompt.devices import sharding
from maskgit_prompt.errors import UsageError
from maskgit_prompt.importers import obtain
from maskgit_prompt.metrics.answered import OF_KIND, SHARES
from maskgit_prompt.report import attacked
from maskgit_prompt.storage import workdir
from maskgit_prompt.tasks import attacks
from maskgit_prompt.tasks.multimodal import opening
from maskgit_prompt.tasks.multimodal.answering import Answerer
from maskgit_prompt.tasks.multimodal.model import LossConfig, Multimodal, answer_sums
from maskgit_prompt.tasks.multimodal.plan import Plan, make_plan
from maskgit_prompt.tasks.multimodal.tuning import score
from maskgit_prompt.tasks.multimodal.words import padded


def run(config: ConfigDict, path: str) -> None:
    began = time.perf_counter()
    rules.check(config)

    # 1. Models and examples.
    found = opening.load_all(tuple(config.tuned), "tuned")
    backbone = obtain.tuned_on(config, {one.path: one.backbone for one in found})
    mesh, compute = sharding.make_mesh(**config.mesh), Compute.of(config)
    plan = make_plan(config, backbone, mesh, path)
    for one in found:
        if one.task["instruction"] != plan.goal.instruction:
            raise UsageError(
                f"{one.path} asks {one.task['instruction'].strip()!r}, but config.data and "
                f"config.goal ask {plan.goal.instruction.strip()!r}; give the examples that it was "
                "tuned on"
            )
    name = next(name for name in OF_KIND[plan.goal.scored] if name in SHARES)
    pixels = plan.test.examples.read(np.arange(len(plan.test)))

    with workdir.prepare(path, config) as home:
        # 2. Attacks.
        table: list[dict[str, Any]] = []
        for one in found:
            model, tree = opening.around(one, backbone, compute, mesh)
            size = min(config.score.batch_size, len(plan.test))
            answer = Answerer(model, plan.words.tokenizer, plan.search, plan.constraint, mesh, size)
            attack = make_attack(model)
            for epsilon in config.epsilons:
                changed = attacked_images(plan, attack, tree, pixels, epsilon, size)
                texts = answer(
                    tree, lambda rows, x=changed: x[rows], plan.test.sources, what="attack"
                ).texts
                share = score(plan, plan.test, texts).values[name]
                table.append(
                    attacked.row_of(one.path, one.method, "fgsm", epsilon, share, len(plan.test))
                )

        # 3. Files.
        title = f"Robustness: {plan.test.examples.name} on {backbone.name}"
        attacked.write(home, table, title, len(plan.test), config.to_dict())
        print(f"{time.perf_counter() - began:.0f} s; report: {home / 'report.html'}")


def make_attack(model: Multimodal) -> Callable[..., jax.Array]:
    """(parameters, batch, epsilon) -> uint8 images [B, S, S, 3], compiled once for all sizes.

    epsilon: of images of 0 to 1.
    """

    def changed(tree, batch, epsilon):
        def loss(x: jax.Array) -> jax.Array:
            own = batch | {"images": 255 * x}
            return answer_sums(model, LossConfig(), tree, own).loss

        images = batch["images"].astype(jnp.float32) / 255
        return jnp.round(attacks.fgsm(loss, images, epsilon) * 255).astype(jnp.uint8)

    return jax.jit(changed)


def attacked_images(
    plan: Plan, attack: Callable, tree, pixels: np.ndarray, epsilon: float, size: int
) -> np.ndarray:
    """All held-out images after an attack, uint8 [n, S, S, 3]; epsilon: in pixel values."""
    targets = padded([several[0] for several in plan.test.targets], plan.test.longest)

    def one(rows: np.ndarray) -> np.ndarray:
        batch = {
            "images": pixels[rows],
            "source": plan.test.sources[rows],
            "target": targets[rows],
        }
        with jax.set_mesh(plan.mesh):
            found = attack(tree, sharding.to_global(batch, plan.mesh), epsilon / 255)
        return sharding.to_host(found, plan.mesh)

    return in_batches(one, np.arange(len(pixels)), sharding.whole(size, plan.mesh))
