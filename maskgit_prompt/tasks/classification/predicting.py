"""Tuned classifiers on one frozen encoder, used again: pixels in, probabilities out."""

import dataclasses
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from maskgit_prompt import params
from maskgit_prompt.backbones import Backbone
from maskgit_prompt.backbones.compiled import in_batches
from maskgit_prompt.backbones.compute import Compute
from maskgit_prompt.devices import sharding
from maskgit_prompt.errors import UsageError, UserError
from maskgit_prompt.importers import obtain
from maskgit_prompt.models.adapter import AdapterConfig
from maskgit_prompt.models.head import AXES, HeadConfig
from maskgit_prompt.models.pixel_prompt import PLACES, PixelPromptConfig
from maskgit_prompt.models.prompt import PromptConfig
from maskgit_prompt.tasks.classification import sizes
from maskgit_prompt.tasks.classification.model import Classifier, Placing
from maskgit_prompt.tasks.classification.protocols import Normalization
from maskgit_prompt.tasks.classification.sizes import Sizes
from maskgit_prompt.tuning import tuned_classifier, tuned_file
from maskgit_prompt.tuning.lora import LoRAConfig
from maskgit_prompt.tuning.tuned_classifier import TunedClassifierFile

_OF = {
    "prompt": PromptConfig,
    "adapter": AdapterConfig,
    "lora": LoRAConfig,
    "placing": Placing,
}


class Predictor:
    """One classifier, compiled.

    Attributes:
      KIND, HEAD: what computes logits, and the class of its head's sizes.
      classes: names of its classes.
      method: how it was tuned.
      model, tree: what computes logits, and all parameters, on the mesh.
      images: how it wants pixels: (fit, resample).

    Raises:
      UserError: a file whose parameters do not fit the sizes that it states.
    """

    KIND: type[Classifier] = Classifier
    HEAD: type = HeadConfig

    def __init__(
        self,
        backbone: Backbone,
        found: TunedClassifierFile,
        mesh: Mesh,
        compute: Compute,
        path: str,
    ):
        part = backbone.part("encoder")
        try:
            made = _sizes(found.sizes, self.HEAD)
            own = Normalization(tuple(found.images["mean"]), tuple(found.images["std"]))
            self.images = (found.images["fit"], found.images["resample"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path} has a damaged header ({error!r}); copy it again") from error
        self.classes, self.method = found.classes, found.method
        if made.head.classes != len(self.classes):
            raise UserError(
                f"{path} has a damaged header ({len(self.classes)} names for {made.head.classes} "
                "classes); copy it again"
            )
        around = {name: x for name, x in found.tree.items() if name != "encoder"}
        params.check(around, sizes.outlines(made, part.tree), f"classifier {path}")
        graph = part.graphdef(compute.applied(part.cfg))
        self.model = sizes.classifier(made, graph, own, self.KIND)
        weights = tuned_file.overlaid(part.placed(mesh), found.tree, "encoder", path)
        self.tree = {"encoder": weights, **sharding.place(around, mesh, AXES)}
        self._mesh = mesh
        self._run = jax.jit(lambda tree, inputs: self.answered(self.model.logits(tree, inputs)))

    @staticmethod
    def answered(logits: jax.Array) -> jax.Array:
        """Logits [n, C] -> probabilities."""
        return jax.nn.softmax(logits, axis=-1)

    def __call__(self, pixels: np.ndarray, size: int) -> np.ndarray:
        """uint8 [n, S, S, 3] -> answers [n, …], `size` at a time."""

        def one(some: np.ndarray) -> np.ndarray:
            with jax.set_mesh(self._mesh):
                found = self._run(self.tree, sharding.to_global({"images": some}, self._mesh))
                return sharding.to_host(found, self._mesh)

        return in_batches(one, pixels, sharding.whole(size, self._mesh))


@dataclasses.dataclass(frozen=True)
class Opened:
    """Classifiers of one backbone.

    Attributes:
      predictors: by the files they are from.
    """

    backbone: Backbone
    mesh: Mesh
    predictors: dict[str, Predictor]

    @property
    def size(self) -> int:
        """The side of their images in pixels."""
        return self.backbone.part("encoder").cfg.image_size


def open_all(config: ConfigDict) -> Opened:
    """The classifiers that config.classifiers names, on the backbone that they were tuned on.

    Raises:
      UsageError: none, or one that is not there. UserError: a file that cannot be used, or that was
        tuned on another backbone.
    """
    files = tuple(config.classifiers)
    if not files:
        raise UsageError(
            "no classifier: give --config.classifiers=DIR/classifier.safetensors of a run; several "
            "by repeating the flag"
        )
    found = {file: tuned_classifier.load(file) for file in files}
    backbone = obtain.tuned_on(config, {file: one.backbone for file, one in found.items()})
    mesh, compute = sharding.make_mesh(**config.mesh), Compute.of(config)
    compute.check(backbone.part("encoder").cfg, mesh)
    predictors = {
        file: Predictor(backbone, one, mesh, compute, file) for file, one in found.items()
    }
    return Opened(backbone, mesh, predictors)


def _sizes(stored: dict[str, Any], head: type) -> Sizes:
    kinds = _OF | {"head": head}
    if stored["placing"]["location"] in PLACES:
        kinds["prompt"] = PixelPromptConfig
    return Sizes(**{name: kind(**stored[name]) for name, kind in kinds.items() if stored[name]})


def top(probabilities: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """(classes, probabilities) of the likeliest of each row, [n, number] each, the first first."""
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :number]
    return order, np.take_along_axis(probabilities, order, axis=1)
