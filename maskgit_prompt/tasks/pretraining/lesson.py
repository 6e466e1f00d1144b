"""What a stage of pretraining is given, and what it hands to the training loop."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from maskgit_prompt.backbones import Backbone
from maskgit_prompt.data import splits
from maskgit_prompt.data.corpus import Corpus
from maskgit_prompt.data.views import ViewMaker
from maskgit_prompt.params import Tree
from maskgit_prompt.tasks.perceptual import Perceptual
from maskgit_prompt.tasks.pretraining.scenes import SceneCorpus
from maskgit_prompt.tuning.game import Player
from maskgit_prompt.tuning.train import LossFn
from maskgit_prompt.tuning.tune import Examples


@dataclasses.dataclass(frozen=True)
class Network:
    """The network of a stage: its kind, its sizes, and what makes it.

    Attributes:
      part: "tokenizer", "transformer", "features", "encoder" or "multimodal".
      kind: of backbones.kinds().
      init: key -> parameters.
    """

    part: str
    kind: str
    cfg: Any
    graphdef: Any
    init: Callable


@dataclasses.dataclass(frozen=True)
class Setup:
    """What a stage is given.

    Attributes:
      before: the backbone of the stages before.
      corpus: pictures, with what makes views of them; scenes have none.
      own: the network's first parameters, on the mesh.
      home: the workdir.
      perceptual: what a tokenizer's reconstructions are compared with, if there is one.
    """

    config: ConfigDict
    network: Network
    before: Backbone
    corpus: Corpus | SceneCorpus
    view_maker: ViewMaker | None
    own: Tree
    mesh: Mesh
    home: pathlib.Path
    perceptual: Perceptual | None = None

    def scored(self) -> np.ndarray:
        """Rows of held-out images, config.score.most of them at most, each class in proportion."""
        held = self.corpus.heldout
        labels = self.corpus.images.labels[held]
        return held[splits.thin(labels, self.config.score.most, self.config.data.seed, least=1)]


@dataclasses.dataclass(frozen=True)
class Lesson:
    """How a network is trained.

    Attributes:
      loss: of the whole tree, or players by name.
      tree: all parameters, on the mesh.
      examples: batches, evaluations and pictures. The evaluation "heldout" decides which state is
        kept, where there is one.
    """

    loss: LossFn | Mapping[str, Player]
    tree: Tree
    examples: Examples
