"""A tuned segmenter used again: pixels in, the class of each pixel out."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from maskgit_prompt.backbones import Backbone
from maskgit_prompt.backbones.compute import Compute
from maskgit_prompt.devices import sharding
from maskgit_prompt.errors import UsageError
from maskgit_prompt.importers import obtain
from maskgit_prompt.models.segmentation_head import SegmentationHeadConfig
from maskgit_prompt.tasks.classification.predicting import Predictor
from maskgit_prompt.tasks.segmentation.model import Segmenter
from maskgit_prompt.tuning import tuned_classifier
from maskgit_prompt.tuning.tuned_classifier import SEGMENTER


class MaskPredictor(Predictor):
    """One segmenter, compiled; its answers are uint8 [n, S, S]."""

    KIND = Segmenter
    HEAD = SegmentationHeadConfig

    @staticmethod
    def answered(logits: jax.Array) -> jax.Array:
        """Logits [n, S, S, C] -> the likeliest class of each pixel."""
        return jnp.argmax(logits, axis=-1).astype(jnp.uint8)


@dataclasses.dataclass(frozen=True)
class Opened:
    """A segmenter on its backbone.

    Attributes:
      colours: uint8 [C, 3], of its classes in pictures.
    """

    backbone: Backbone
    predictor: MaskPredictor
    colours: np.ndarray

    @property
    def size(self) -> int:
        """The side of its images in pixels."""
        return self.backbone.part("encoder").cfg.image_size


def open_segmenter(config: ConfigDict) -> Opened:
    """The segmenter that config.segmenter names, on the backbone that it was tuned on.

    Raises:
      UsageError: none, or one that is not there. UserError: a file that cannot be used, or that was
        tuned on another backbone.
    """
    if not config.segmenter:
        raise UsageError("no segmenter: give --config.segmenter=DIR/segmenter.safetensors of a run")
    found = tuned_classifier.load(config.segmenter, SEGMENTER)
    backbone = obtain.tuned_on(config, {config.segmenter: found.backbone})
    mesh, compute = sharding.make_mesh(**config.mesh), Compute.of(config)
    compute.check(backbone.part("encoder").cfg, mesh)
    predictor = MaskPredictor(backbone, found, mesh, compute, config.segmenter)
    return Opened(backbone, predictor, np.uint8(found.images["colours"]))
