"""What a file in models/ declares about its network, so that no other room names it."""

import dataclasses
from collections.abc import Callable
from typing import Any

# Parameter path (full match, first wins) -> logical axis of each dimension; None: on every device.
Axes = tuple[tuple[str, tuple[str, ...] | None], ...]

DECODING = ("parallel", "autoregressive")


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of network that a backbone's part can be.

    Attributes:
      part: "tokenizer", "transformer", "features", "encoder" of images for a classifier, or
        "multimodal" for one that reads images and texts and writes texts.
      name: as folders and configs call it; no two files in models/ have the same.
      config: the class of its sizes.
      module: (config, *, rngs) -> the network.
      axes: where its parameters lie on a mesh.
      decoding: for a transformer, one of DECODING: "parallel" (all hidden codes at once) or
        "autoregressive" (one code after the other). It decides what is learned and how images are
        made.
      project: the project that published networks of this kind; a tokenizer and a transformer from
        two projects do not belong together.
    """

    part: str
    name: str
    config: type
    module: Callable[..., Any]
    axes: Axes
    decoding: str = ""
    project: str = ""

    def __post_init__(self):
        if (self.decoding in DECODING) is not (self.part == "transformer"):
            raise ValueError(
                f"{self.name}: decoding {self.decoding!r}; a transformer's is one of "
                f"{', '.join(DECODING)}, and other parts have none"
            )
