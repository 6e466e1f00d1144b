"""The vocabulary of a backbone's texts, and the frame that boxes are counted in."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from maskgit_prompt.backbones import Backbone
from maskgit_prompt.data import boxes
from maskgit_prompt.data.text import bpe
from maskgit_prompt.data.text.tokenizer import Tokenizer
from maskgit_prompt.data.text.words import WordsAndBytes
from maskgit_prompt.errors import UsageError
from maskgit_prompt.models.specials import END, PAD


@dataclasses.dataclass(frozen=True)
class Words:
    """Texts and boxes to ids and back.

    Attributes:
      tokenizer: of texts.
      frame: the pixels that all bins reach over; see `data/boxes.py`.
    """

    tokenizer: Tokenizer
    frame: int = boxes.FRAME

    @property
    def bins(self) -> int:
        return self.tokenizer.layout.bins

    def stored(self) -> dict[str, Any]:
        """As a backbone's config.json keeps it; of a vocabulary of words and bytes."""
        return {**json.loads(self.tokenizer.to_json()), "frame": self.frame}

    def source(self, text: str) -> list[int]:
        """Ids of an instruction, with </s>."""
        return [*self.tokenizer.encode(text), END]

    def target(self, text: str) -> list[int]:
        """Ids of an answer, with </s>. As in OFA, a space stands in front."""
        return [*self.tokenizer.encode(f" {text}"), END]

    def box(self, box: np.ndarray, size: np.ndarray, side: int) -> str:
        """The marks of a box [4] in an image of a size [2] that is resized to side x side."""
        return boxes.to_text(boxes.to_bins(box[None], size[None], side, self.bins, self.frame)[0])

    def boxes(self, answers: Sequence[str], sizes: np.ndarray, side: int) -> np.ndarray:
        """Boxes [n, 4] of answers in images of sizes [n, 2]; NaN for what is not a box."""
        found = [boxes.from_text(answer.strip()) or (np.nan,) * 4 for answer in answers]
        return boxes.from_bins(np.array(found), sizes, side, self.bins, self.frame)


def of_backbone(backbone: Backbone, folder: str = "") -> Words:
    """The vocabulary that a backbone was trained with.

    Args:
      folder: of a published vocabulary's files, for a backbone that brings none.

    Raises:
      UsageError: none, or two. UserError: the vocabulary of another model.
    """
    own = backbone.vocabulary
    if own is None and not folder:
        raise UsageError(
            f"backbone {backbone.name!r} brings no vocabulary: expected the folder of its files "
            f"({', '.join(bpe.FILES)}) in config.vocabulary"
        )
    if own is not None and folder:
        raise UsageError(
            f"config.vocabulary = {folder!r}, but backbone {backbone.name!r} brings its own; leave "
            "it out"
        )
    if own is None:
        words = Words(bpe.read(folder))
    else:
        source = f"the vocabulary of {backbone.name!r}"
        words = Words(WordsAndBytes.from_json(json.dumps(own), source), int(own["frame"]))
    words.tokenizer.check(backbone.part("multimodal").cfg.vocabulary)
    return words


def padded(rows: Sequence[Sequence[int]], length: int) -> np.ndarray:
    """Ids as int32 [n, length], filled up with PAD. Rows (5, 2) and (2,) to 3: 5 2 1 and 2 1 1."""
    found = np.full((len(rows), length), PAD, np.int32)
    for i, row in enumerate(rows):
        found[i, : len(row)] = row
    return found
