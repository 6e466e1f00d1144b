"""What stands in front of a transformer, or beside its keys and values.

Shapes: B batch, K prompts that scroll past, P prompt tokens, D width.
"""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np
from flax import struct

Array = jax.Array

# arXiv 2203.12119, figure 5: tokens of their own; added to each token its own vector, or to all the
# same; pieces of images; a frame around the image; further channels of the image.
LOCATIONS = ("prepend", "add", "add-1", "pixel", "pad", "below")
ADDED = ("add", "add-1")  # they have no length of their own


@struct.dataclass
class Prompt:
    """Vectors for one of several places; exactly one field is set, besides weights.

    Prompt(tokens=x) stands before the codes, Prompt(prefix=x) before their keys and values.
    Marquee headers hold K prompts for every image: each shape then begins with [B, K].

    Attributes:
      tokens: [B, P, D], put in front once.
      layers: [B, layers, P, D], fresh tokens at every layer (VPT-deep, arXiv 2203.12119, eq. 5).
      prefix: [B, layers, 2, P, D], keys and values for every layer (arXiv 2101.00190, eq. 3); the
        attention splits D into heads.
      stages: as layers, for a transformer whose width grows: one array [B, layers, P, D] per stage.
      added: [B, layers, S or 1, D], for a vision transformer: added to what goes into each of the
        first layers, to each of S tokens its own or to all the same.
      patches: [B, P, side, side, 3], for a vision transformer: pieces of images, which it embeds as
        its own patches, without positions.
      frame: [B, F, F, 3], for any encoder but Swin: normalized pixels around the image, which takes
        the middle's place.
      weights: [B, layers, P], of a prefix: how often each of its tokens counts in the softmax. 1,
        as in None, is as the papers have it; 0 is not there at all, so that layers may have no
        prefix, and prefixes of several lengths share a batch.

    Raises:
      ValueError: no place is set, or more than one; weights of something other than a prefix.
    """

    tokens: Array | np.ndarray | None = None
    layers: Array | np.ndarray | None = None
    prefix: Array | np.ndarray | None = None
    stages: tuple[Array | np.ndarray, ...] | None = None
    added: Array | np.ndarray | None = None
    patches: Array | np.ndarray | None = None
    frame: Array | np.ndarray | None = None
    weights: Array | np.ndarray | None = None

    def __post_init__(self):
        names = self._places()
        found = [name for name in names if getattr(self, name) is not None]
        if len(found) != 1:
            raise ValueError(
                f"a prompt has {' and '.join(found) or 'no vectors'}, expected exactly one of "
                f"{', '.join(names)}"
            )
        if self.weights is not None and found != ["prefix"]:
            raise ValueError(f"a prompt of {found[0]} has weights, expected them with a prefix")

    @classmethod
    def _places(cls) -> list[str]:
        return [field.name for field in dataclasses.fields(cls) if field.name != "weights"]

    @property
    def place(self) -> str:
        """The field that is set: tokens, layers, prefix, stages, added, patches or frame."""
        return next(name for name in self._places() if getattr(self, name) is not None)

    @property
    def array(self) -> Array | np.ndarray:
        """The vectors, whatever their place; of stages the first one's."""
        return getattr(self, self.place) if self.stages is None else self.stages[0]

    def __len__(self) -> int:
        return len(self.array)

    def __array__(self, *args, **kwargs):
        # Otherwise numpy takes it for an endless sequence of sequences.
        raise TypeError(f"a prompt is not an array: take its {self.place}")

    def __getitem__(self, rows: np.ndarray) -> "Prompt":
        """The prompts of the images with these numbers [b]."""
        return jax.tree.map(lambda x: x[rows], self)


def first_tokens(prompt: Prompt | None) -> Array | None:
    """The tokens [B, P, D] that the first layer gets; None for a prefix or without a prompt."""
    if prompt is None or prompt.prefix is not None:
        return None
    return prompt.tokens if prompt.layers is None else prompt.layers[:, 0]


def stack(prompts: Sequence[Prompt]) -> Prompt:
    """Headers of K prompts per image, in the order they scroll past: K of [B, …] -> [B, K, …]."""
    return jax.tree.map(lambda *arrays: np.stack(arrays, axis=1), *prompts)
