"""What is generated: images of every class, untuned ones, and strips under a marquee header."""

import dataclasses
from typing import Any

import numpy as np

from maskgit_prompt import streams
from maskgit_prompt.backbones.compute import Compute
from maskgit_prompt.data import splits
from maskgit_prompt.devices import sharding
from maskgit_prompt.errors import UserError
from maskgit_prompt.metrics import diversity
from maskgit_prompt.models.prompt import NONE
from maskgit_prompt.models.prompts import Prompt, stack
from maskgit_prompt.params import Tree
from maskgit_prompt.tasks.generation import pictures
from maskgit_prompt.tasks.generation.encoding import Encoded
from maskgit_prompt.tasks.generation.plan import Plan
from maskgit_prompt.tasks.generation.sampling import (
    Prompts,
    Sampler,
    even,
    make_prompts,
    unconditional,
)
from maskgit_prompt.tasks.generation.score import Scorer


def classes_to_draw(plan: Plan) -> np.ndarray:
    """The class of each image that is generated, int32, increasing.

    config.score.per_class of each class; or config.score.images in all, no more than there are
    reference images, in the proportions that classes have among these: what distances to them ask
    for. Classes without an image to tune on are left out: nothing was learnt of them.
    """
    config, data = plan.config, plan.data
    classes = len(data.images.classes)
    counts = np.full(classes, config.score.per_class)
    if config.score.images:
        law = np.bincount(data.labels(data.reference), minlength=classes)
        counts = splits.shares(min(config.score.images, law.sum()), law / max(1, law.sum()))
    counts[np.bincount(data.labels(data.tune), minlength=classes) == 0] = 0
    if not counts.sum():
        raise UserError(
            f"{data.images.name}: no class has images both to tune on and among the "
            f"{data.reference_name}; choose other splits, or config.score.images = 0"
        )
    return np.repeat(np.arange(classes, dtype=np.int32), counts)


@dataclasses.dataclass(frozen=True)
class TunedSampler:
    """Draws with a tuned prompt generator and the transformer behind it.

    Attributes:
      prompts: of classes and instances.
      uncond: what guidance moves away from, see sampling.unconditional.
    """

    sampler: Sampler
    prompts: Prompts
    uncond: Prompt | None

    @classmethod
    def of(cls, plan: Plan, transformer: Tree, prompt: Tree) -> "TunedSampler":
        """transformer, prompt: parameters, on the mesh and on the host."""
        sampler = Sampler(
            plan.backbone,
            plan.mesh,
            plan.decode_config,
            Compute.of(plan.config),
            transformer,
            plan.prompt_config,
        )
        prompts = make_prompts(plan.prompt_config, prompt)
        return cls(sampler, prompts, unconditional(plan.decode_config, prompts))

    def of_classes(self, plan: Plan, classes: np.ndarray, what: str = "sample") -> np.ndarray:
        """Images under the prompts of classes [n]: uint8 [n, S, S, 3]; the same at every call."""
        key = sharding.make_key(streams.seed_of(plan.config.seed, "generate"), plan.mesh)
        headers = stack([self.prompts(classes)])
        return self.sampler.images(headers, key, uncond=self.uncond, what=what)


def untuned_images(plan: Plan, count: int) -> np.ndarray:
    """What the backbone makes of classes of its own, drawn at random: uint8 [n, S, S, 3]."""
    config = plan.config
    sampler = Sampler(plan.backbone, plan.mesh, plan.decode_config, Compute.of(config))
    own = np.full(count, NONE)
    if sampler.classes:
        rng = np.random.default_rng(streams.seed_of(config.seed, "classes"))
        own = rng.integers(sampler.classes, size=count)
    key = sharding.make_key(streams.seed_of(config.seed, "generate"), plan.mesh)
    return sampler.images(sampler.class_prompts(own), key, what="untuned")


def marquee_of(
    plan: Plan, stored: Encoded, tuned: TunedSampler, scorer: Scorer
) -> tuple[np.ndarray | None, list[dict[str, Any]]]:
    """Images under headers [an instance's prompt, its class's prompt], one instance a class.

    Of more than pictures.SHEET_ROWS classes some, evenly chosen.

    Returns:
      (instances and their images [classes, 1 + cutoffs, S, S, 3] or None,
       [{"cutoff", "diversity", "distance_to_instance", "accuracy"}]); the first row, of cutoff 0,
       is of the class's prompt alone.
    """
    config, data = plan.config, plan.data
    num = config.score.marquee_images
    if not num or not config.prompt.instances:
        return None, []
    labels = data.labels(data.tune)
    classes = pictures.shown_classes(labels)
    instances = np.array([np.argmax(labels == c) for c in classes])  # the first image of each class
    originals = tuned.sampler.decode(stored.plain(data.tune[instances]))
    owner = np.repeat(np.arange(len(classes)), num)
    drawn = np.repeat(classes, num)
    of_instance = tuned.prompts(classes, instances)[owner]
    of_class = tuned.prompts(classes)[owner]
    headers, alone = stack([of_instance, of_class]), stack([of_class])  # [n, 2, …], [n, 1, …]
    rows, columns = [], [originals]
    for cutoff in (0.0, *config.score.marquee_cutoffs):
        # The same key at every cutoff: what differs is the header alone.
        key = sharding.make_key(streams.seed_of(config.seed, "marquee"), plan.mesh)
        made = tuned.sampler.images(
            headers if cutoff else alone,
            key,
            uncond=tuned.uncond,
            cutoff=cutoff or 1.0,
            batch_size=even(len(drawn), config.sample.batch_size),
            what=f"marquee {cutoff:g}",
        )
        spread = diversity.pairwise_distance_by_class(made, owner) if num > 1 else None
        nearness = diversity.distance_to_by_class(made, owner, originals, np.arange(len(classes)))
        rows.append(
            {
                "cutoff": float(cutoff),
                "diversity": spread,
                "distance_to_instance": nearness,
                "accuracy": scorer.accuracy(made, drawn),
            }
        )
        columns.append(made[::num])
    return np.stack(columns, axis=1), rows
