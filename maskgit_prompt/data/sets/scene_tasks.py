"""Tasks on drawn scenes, as examples that every reader of images with texts takes."""

import dataclasses
import functools
import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Iterator

import numpy as np

from maskgit_prompt.data.examples import Examples
from maskgit_prompt.data.sets import scene_captions, scene_questions
from maskgit_prompt.data.sets.scene_captions import GERMAN_COLOURS
from maskgit_prompt.data.sets.scenes import GRID, VERSION, Scene, draw, make_scene
from maskgit_prompt.errors import UsageError

SPLITS = ("tune", "test")
_HELD_OUT = 10  # every tenth scene is of the split "test"
LEAST_SIDE = 32

Told = tuple[tuple[str, ...], tuple[str, ...]]  # texts, and the targets that are right


@dataclasses.dataclass(frozen=True)
class Task:
    """What is learned from scenes.

    Attributes:
      instruction: to the encoder, "{}" where the text of an example stands; in OFA's words.
      tell: (scene, seed) -> texts and targets; None: nothing can be asked of this scene.
      answers: the closed set of targets; empty: any text, or a box.
    """

    instruction: str
    tell: Callable[[Scene, int], Told | None]
    answers: tuple[str, ...] = ()


def _caption(scene: Scene, seed: int, style: Callable) -> Told:
    return (), style(scene, seed)


def _asked(scene: Scene, seed: int, ask: Callable) -> Told | None:
    found = ask(scene, seed)
    return found and ((found[0],), (found[1],))


def _refer(scene: Scene, seed: int) -> Told | None:
    """The box as `boxes.of_examples` reads it."""
    found = scene_questions.refer(scene, seed)
    return found and ((found[0],), (",".join(f"{edge:g}" for edge in found[1]),))


def _captions(style: Callable) -> Task:
    return Task(" what does the image describe?", functools.partial(_caption, style=style))


def _questions(ask: Callable, answers: tuple[str, ...]) -> Task:
    return Task(" {}", functools.partial(_asked, ask=ask), answers)


TASKS: dict[str, Task] = {
    "caption": _captions(scene_captions.plain),
    "caption-terse": _captions(scene_captions.terse),
    "caption-german": _captions(scene_captions.german),
    **{
        name: _questions(ask, scene_questions.ANSWERS[name])
        for name, ask in scene_questions.QUESTIONS.items()
    },
    "question": _questions(
        scene_questions.question, tuple(sum(scene_questions.ANSWERS.values(), ()))
    ),
    "colour-german": _questions(scene_questions.colour_german, tuple(GERMAN_COLOURS.values())),
    "refer": Task(' which region does the text " {} " describe?', _refer),
    "entail": Task(
        ' does the image describe " {} "?',
        functools.partial(_asked, ask=scene_questions.statement),
        scene_questions.LABELS,
    ),
}


def numbers(split: str) -> Iterator[int]:
    """The numbers of a split's scenes: 9, 19, 29, … of "test", all others of "tune"."""
    number = 0
    while True:
        if (number % _HELD_OUT == _HELD_OUT - 1) == (split == "test"):
            yield number
        number += 1


def scene_examples(
    task: str, num: int, seed: int = 0, split: str = "tune", side: int = GRID
) -> Examples:
    """The first `num` examples of a task: one per scene that has one, drawn when read.

    Args:
      seed: 0 to 2**63 - 1; another seed has other scenes.
      split: "tune" or "test": no scene is in both.
      side: width and height S in pixels.

    Raises:
      UsageError: no such task or split, or a number out of range.
    """
    for what, name, known in (("task", task, TASKS), ("split", split, SPLITS)):
        if name not in known:
            raise UsageError(f"{what} {name!r} of scenes; expected one of {', '.join(known)}")
    if num < 1:
        raise UsageError(f"num={num} scenes asked for; expected at least 1")
    if not 0 <= seed < 2**63:
        raise UsageError(f"seed={seed}; expected 0 to 2**63 - 1")
    if side < LEAST_SIDE:
        raise UsageError(f"side={side} pixels for scenes; expected at least {LEAST_SIDE}")
    found: dict[int, Told] = {}
    for number in numbers(split):
        told = TASKS[task].tell(make_scene(seed, number, side), (seed << 64) | number)
        if told:
            found[number] = told
        if len(found) == num:
            break
    drawn = tuple(found)

    def read(indices: np.ndarray) -> np.ndarray:
        pixels = np.empty((len(indices), side, side, 3), np.uint8)  # [k, S, S, 3]
        for row, index in enumerate(np.asarray(indices).tolist()):
            if not 0 <= index < num:
                raise IndexError(f"example {index} of {num}")
            pixels[row] = draw(make_scene(seed, drawn[index], side))
        return pixels

    # Another release may round otherwise.
    makers = tuple(map(importlib.metadata.version, ("pillow", "numpy")))
    parts = json.dumps([VERSION, makers, task, seed, side, list(found.items())])
    texts, targets = zip(*found.values(), strict=True)
    return Examples(
        name=f"scenes/{task}/{split}",
        texts=texts,
        targets=targets,
        weights=tuple((1.0,) * len(right) for right in targets),
        rows=tuple(f"scene {number} of seed {seed}" for number in drawn),
        sizes=np.full((num, 2), side),
        fingerprint=hashlib.sha256(parts.encode()).hexdigest(),
        read=read,
    )
