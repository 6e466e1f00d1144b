"""One tuned classifier, of images or of pixels, one .safetensors file: what is around the encoder.

Its tensors are the parameters of head, prompt, adapters and low-rank updates, and those of the
encoder that were trained. The header holds sizes, class names, how images are prepared, and the
backbone's name and fingerprint.
"""

import dataclasses
import pathlib
from typing import Any

from maskgit_prompt.params import Tree
from maskgit_prompt.tuning import tuned_file
from maskgit_prompt.tuning.tuned_file import TunedOn

FILE = tuned_file.Kind(
    "classifier", "classifier.safetensors", "maskgit_prompt_classifier", format=1
)
SEGMENTER = tuned_file.Kind(
    "segmenter", "segmenter.safetensors", "maskgit_prompt_segmenter", format=1
)


@dataclasses.dataclass(frozen=True)
class TunedClassifierFile:
    """A tuned classifier and everything needed to use it again.

    Attributes:
      tree: parameters by part: "head" and, where they are, "prompt", "adapter", "lora", "encoder".
      sizes: of these parts, as plain values.
      classes: class c is called classes[c].
      backbone: what it was tuned on.
      method: how it was tuned.
      images: how pixels are made: "fit", "resample", "mean", "std".
      scores: what was measured.
    """

    tree: Tree
    sizes: dict[str, Any]
    classes: tuple[str, ...]
    backbone: TunedOn
    method: str
    images: dict[str, Any]
    scores: dict[str, Any] = dataclasses.field(default_factory=dict)


def save(path: pathlib.Path, found: TunedClassifierFile, kind: tuned_file.Kind = FILE) -> None:
    """Writes the file whole or not at all; kind: FILE or SEGMENTER."""
    names = ("sizes", "classes", "method", "images", "scores")
    header = {"backbone": dataclasses.asdict(found.backbone)}
    header |= {name: getattr(found, name) for name in names}
    tuned_file.save(path, kind, found.tree, header)


def load(path: str | pathlib.Path, kind: tuned_file.Kind = FILE) -> TunedClassifierFile:
    """Reads a classifier's file, or a segmenter's.

    Raises:
      UsageError: no such file. UserError: truncated, damaged, or not of this kind.
    """
    with tuned_file.opened(path, kind) as (tree, header):
        on = header.pop("backbone")
        backbone = TunedOn(on["name"], on["fingerprint"], tuple(on["parts"]))
        header["classes"] = tuple(header["classes"])
        return TunedClassifierFile(tree, backbone=backbone, **header)
