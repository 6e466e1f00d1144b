"""What a tuned prompt has learned: how its classes and images lie to each other, who looks at it.

Shapes: C classes, I images with a prompt of their own, P prompt tokens, L codes in R rows.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx

from maskgit_prompt import streams
from maskgit_prompt.backbones.compute import Compute
from maskgit_prompt.data import splits
from maskgit_prompt.devices import sharding
from maskgit_prompt.metrics import planes, prompt_space
from maskgit_prompt.models.masked import MASK
from maskgit_prompt.models.prompt import AXES as EVERYWHERE
from maskgit_prompt.models.prompt import NONE
from maskgit_prompt.models.prompts import Prompt
from maskgit_prompt.params import Tree
from maskgit_prompt.report import prompts as prompts_page
from maskgit_prompt.tasks.generation.encoding import Encoded
from maskgit_prompt.tasks.generation.plan import Plan
from maskgit_prompt.tasks.generation.sampling import Prompts

SHOWN = 300  # images whose prompts are compared, and classes, at most
NUMBERS = 2**26  # of the prompts of either, at most: 0.25 GiB
LOOKING = 32  # images whose attention is averaged, at most
HIDDEN = 0.5  # the share of their codes that a masked transformer does not see


@dataclasses.dataclass(frozen=True)
class PromptAnalysis:
    """What is found; None where it cannot be told.

    Attributes:
      classes: [C'], those whose prompts are compared: all, or some, evenly chosen.
      apart: [C', C'], see prompt_space.distances.
      owners: [I'], the classes of the images whose own prompts are compared.
      principal: [C' + I', 2], prompts of classes, then of images, on their principal axes.
      neighbours: [C' + I', 2], the same where neighbours stay near.
      alike: (share of images whose prompt's nearest other one is of their class, chance).
      attention: [layers, P, R], the attention that a prompt token gets where the codes of a row
        are predicted, mean over images and heads. Over all tokens, prompts or not, it sums to 1.
    """

    classes: np.ndarray
    apart: np.ndarray
    owners: np.ndarray
    principal: np.ndarray
    neighbours: np.ndarray | None
    alike: tuple[float, float] | None
    attention: np.ndarray

    def to_json(self, names: Sequence[str]) -> dict[str, Any]:
        """What results.json holds; names: of all classes."""
        found: dict[str, Any] = {"attention": self.attention.sum(1).mean(1).tolist()}
        if (count := len(self.classes)) > 1:
            found["distance"] = float(self.apart.sum() / (count * (count - 1)))
            nearest = prompt_space.nearest(self.apart)
            found["nearest"] = {
                names[self.classes[i]]: {
                    "class": names[self.classes[other]],
                    "distance": float(self.apart[i, other]),
                }
                for i, other in enumerate(nearest)
            }
        if self.alike is not None:
            found["images_alike"] = dict(zip(("share", "chance"), self.alike, strict=True))
        return found

    def draw(self, names: Sequence[str]) -> dict[str, bytes]:
        """The report's pictures by name; names: of all classes."""
        return prompts_page.draw(
            {prompts_page.PLACES: self.principal, prompts_page.NEIGHBOURS: self.neighbours},
            np.concatenate([self.classes, self.owners]),
            names,
            len(self.classes),
            self.attention,
        )


def analyse(plan: Plan, stored: Encoded, prompts: Prompts, transformer: Tree) -> PromptAnalysis:
    """Compares the prompts of a plan's classes and of some of its images, each image's without its
    class, and averages attention over some of the images that were tuned on.

    Args:
      prompts: of the tuned generator. transformer: parameters, on the mesh.
    """
    data, cfg = plan.data, plan.prompt_config
    labels = data.labels(data.tune)
    most = max(2, min(SHOWN, NUMBERS // (math.prod(cfg.slots) * cfg.width)))
    classes = _some(np.arange(len(data.images.classes)), most)
    of_class = _numbers(prompts(classes))
    shown = np.zeros(0, int)
    if cfg.instances:
        shown = _some(splits.thin(labels, most, plan.config.data.seed, least=1), most)
    of_image = np.zeros([0, of_class.shape[1]], np.float32)
    if len(shown):
        of_image = _numbers(prompts(np.full(len(shown), NONE), shown))
    points = np.concatenate([of_class, of_image])
    seed = streams.seed_of(plan.config.seed, "look")
    alike = None
    if len(shown) > 1:
        apart = prompt_space.distances(of_image)
        alike = prompt_space.neighbours_of_class(apart, labels[shown])
    return PromptAnalysis(
        classes=classes,
        apart=prompt_space.distances(of_class),
        owners=labels[shown],
        principal=planes.principal(points),
        neighbours=planes.neighbour_embedding(points, seed),
        alike=alike,
        attention=_attention(plan, stored, prompts, transformer),
    )


def _some(numbers: np.ndarray, most: int) -> np.ndarray:
    """At most this many, evenly chosen: (4, 5, 6, 7, 8), 3 gives (4, 6, 8)."""
    if len(numbers) <= most:
        return numbers
    return numbers[np.linspace(0, len(numbers) - 1, most).round().astype(int)]


def _numbers(prompt: Prompt) -> np.ndarray:
    """A prompt [n, …] as float32 [n, N]."""
    return np.asarray(prompt.array).reshape(len(prompt), -1)


def _attention(plan: Plan, stored: Encoded, prompts: Prompts, transformer: Tree) -> np.ndarray:
    """[layers, P, R] float64, see PromptAnalysis."""
    data, backbone = plan.data, plan.backbone
    part, side = backbone.part("transformer"), backbone.part("tokenizer").cfg.latent_size
    labels = data.labels(data.tune)
    rows = _some(splits.thin(labels, LOOKING, plan.config.data.seed, least=1), LOOKING)
    codes = np.asarray(stored.plain(data.tune[rows]), np.int32)
    if part.decoding == "parallel":
        rng = np.random.default_rng(streams.seed_of(plan.config.seed, "look"))
        codes = np.where(rng.random(codes.shape) < HIDDEN, MASK, codes)
    else:
        codes = codes[:, :-1]  # the last one predicts nothing
    graphdef = part.prompted(plan.prompt_config, Compute.of(plan.config))
    made = prompts(labels[rows])

    @jax.jit
    def weights(tree, codes, array):
        return nnx.merge(graphdef, tree).attention_weights(codes, Prompt(**{made.place: array}))

    # All of them on every device, so that their number need not divide.
    batch = sharding.place({"codes": codes, "prompt": made.array}, plan.mesh, EVERYWHERE)
    with jax.set_mesh(plan.mesh):
        found = weights(transformer, batch["codes"], batch["prompt"])
    found = np.asarray(sharding.tree_to_host(found, plan.mesh), np.float64)  # [layers, S, …]
    # The last L tokens are those that the codes are predicted at.
    of_codes = found[:, -side * side :, : plan.prompt_config.tokens]
    return of_codes.reshape(len(found), side, side, -1).mean(2).swapaxes(1, 2)
