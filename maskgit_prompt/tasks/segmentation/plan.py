"""What a run works on, checked as far as it can be before anything is written."""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Iterator

from jax.sharding import Mesh
from ml_collections import ConfigDict

from maskgit_prompt.backbones import Backbone
from maskgit_prompt.backbones.compute import Compute
from maskgit_prompt.data import masks
from maskgit_prompt.data.masks import MaskedSplits
from maskgit_prompt.data.sets import mask_folder, scene_masks
from maskgit_prompt.devices import distributed
from maskgit_prompt.errors import UsageError
from maskgit_prompt.models.segmentation_head import SegmentationHeadConfig
from maskgit_prompt.storage import workdir
from maskgit_prompt.tasks.classification import sizes
from maskgit_prompt.tasks.classification.plan import method_of, tuning_of
from maskgit_prompt.tasks.classification.protocols import Normalization
from maskgit_prompt.tasks.classification.sizes import Sizes
from maskgit_prompt.tasks.segmentation.model import Segmenter
from maskgit_prompt.tuning.methods import Method

PARTS = ("encoder",)  # of a backbone: what a tuned segmenter depends on


@dataclasses.dataclass(frozen=True)
class Plan:
    """What every stage of a run reads and none changes; attributes as of a classifier's plan."""

    config: ConfigDict
    tuning: ConfigDict
    backbone: Backbone
    mesh: Mesh
    data: MaskedSplits
    method: Method
    sizes: Sizes
    model: Segmenter


def make_plan(config: ConfigDict, backbone: Backbone, mesh: Mesh, path: str | os.PathLike) -> Plan:
    """Finds the images; raises for all that can be known to be wrong.

    path: the workdir, not touched.
    """
    part = backbone.part("encoder")
    if part.kind != "vit":
        raise UsageError(
            f"config.task = 'segmentation' needs an encoder that is a vit, but {backbone.name!r} "
            f"has a {part.kind}"
        )
    if config.prompt.location == "pad":
        raise UsageError(
            "config.prompt.location = 'pad' makes patches of other pixels than the mask's; "
            "expected prepend, add, add-1, pixel or below"
        )
    method = method_of(config, part, mesh)
    make_model(config, backbone, classes=2)
    size = part.cfg.image_size
    if config.data.path:
        images = mask_folder.load(config.data.path, size)
    else:
        images = scene_masks.load(config.data.num, size, config.data.seed)
    data = masks.split(images, config.data.heldout, config.data.seed)
    made, model = make_model(config, backbone, len(images.classes))
    tuning = tuning_of(config, method, part, made, len(data.tune))
    return Plan(config, tuning, backbone, mesh, data, method, made, model)


def make_model(config: ConfigDict, backbone: Backbone, classes: int) -> tuple[Sizes, Segmenter]:
    """(the sizes of what stands around the encoder, what computes logits).

    Raises:
      UsageError: sizes that do not fit the encoder.
    """
    part = backbone.part("encoder")
    cfg = dataclasses.replace(Compute.of(config).applied(part.cfg), remat=config.train.remat)
    with sizes.named("head"):
        head = SegmentationHeadConfig(cfg.width, classes, cfg.image_size, **config.head)
    made = Sizes(head, **sizes.around(config, cfg, part.kind))
    normalization = Normalization(cfg.mean, cfg.std)
    return made, sizes.classifier(made, part.graphdef(cfg), normalization, Segmenter)


@contextlib.contextmanager
def claim(plan: Plan, path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Makes the workdir, or checks that it is of this config and these images."""
    with workdir.prepare(path, plan.config) as home:
        data = plan.data
        workdir.bind(home, {"tuned on": data.digest(data.tune), "held out": data.digest(data.test)})
        if distributed.is_first():
            print(data.summary(), flush=True)
        yield home
