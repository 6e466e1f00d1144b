"""Examples as token ids: what the encoder reads, and what the decoder should write."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from maskgit_prompt.data import boxes
from maskgit_prompt.data.examples import Examples
from maskgit_prompt.data.names import legible
from maskgit_prompt.decoding.constraints import Trie, holds, make_trie
from maskgit_prompt.errors import UserError
from maskgit_prompt.tasks.multimodal.goals import BOXES, Goal
from maskgit_prompt.tasks.multimodal.words import Words, padded


@dataclasses.dataclass(frozen=True)
class Asked:
    """n examples as ids.

    Attributes:
      examples: images, and what is right.
      sources: int32 [n, L], instructions with </s>.
      targets: [n] lists of the ids of each right answer, with </s>.
      meant: boxes [n, 4] in pixels of the images' files, or None.
    """

    examples: Examples
    sources: np.ndarray
    targets: list[list[list[int]]]
    meant: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def longest(self) -> int:
        """Tokens of the longest answer, with </s>."""
        return max(len(ids) for several in self.targets for ids in several)


def ask(
    examples: Examples, goal: Goal, words: Words, side: int, positions: int, trie: Trie | None
) -> Asked:
    """The ids of examples.

    Args:
      side: of the images that the network gets, in pixels.
      positions: most tokens of a text.
      trie: that must hold every answer; None: any answer.

    Raises:
      UserError: another number of texts than the instruction takes, a text with more tokens than
        there are positions, a box that does not lie in its image, an answer that the trie does not
        hold; with the row.
    """
    meant = boxes.of_examples(examples) if goal.kind == BOXES else None
    sources, targets = [], []
    for i, row in enumerate(examples.rows):
        texts, right = examples.texts[i], examples.targets[i]
        if len(texts) != goal.texts:
            raise UserError(
                f"{row}: {len(texts)} texts for the instruction {goal.instruction.strip()!r}, "
                f"expected {goal.texts}: name {goal.texts} columns in config.data.texts, or change "
                "config.goal"
            )
        if meant is not None:
            right = (words.box(meant[i], examples.sizes[i], side),)
        sources.append(words.source(goal.instruction.format(*texts)))
        targets.append([words.target(answer) for answer in right])
        for what, ids in (("instruction", sources[-1]), *(("answer", t) for t in targets[-1])):
            if len(ids) > positions:
                raise UserError(
                    f"{row}: the {what} has {len(ids)} tokens, the model takes {positions}: "
                    "shorten the text"
                )
        if trie is not None:
            for answer, ids in zip(right, targets[-1], strict=True):
                if not holds(trie, ids[:-1]):
                    raise UserError(
                        f"{row}: the answer {legible(answer)[:80]!r} is not in the closed set of "
                        "answers: correct it, add it to the set, or set config.closed=any"
                    )
    length = max(map(len, sources))
    return Asked(examples, padded(sources, length), targets, meant)


def trie_of(answers: Sequence[str], words: Words) -> Trie:
    """The closed set of these answers."""
    return make_trie([words.target(answer)[:-1] for answer in answers])
