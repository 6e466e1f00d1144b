"""Drawn scenes as one stream of examples of several tasks, for pretraining an encoder-decoder.

Texts of tasks that are not taught can be read without their images, with words hidden that the
answer fills in. A model then knows these words, and a prefix can teach it the task.
"""

import dataclasses
import functools
import hashlib
import json

import numpy as np
from ml_collections import ConfigDict

from maskgit_prompt.counts import counted
from maskgit_prompt.data import batches
from maskgit_prompt.data.sets import scene_tasks
from maskgit_prompt.data.sets.scene_cells import ATTRIBUTES, cells_of
from maskgit_prompt.data.sets.scenes import GRID, MOST, VERSION, Scene, draw, make_scene
from maskgit_prompt.data.text.words import WordsAndBytes
from maskgit_prompt.errors import UsageError
from maskgit_prompt.models.ofa import STRIDE
from maskgit_prompt.tasks.multimodal.words import Words, padded

LEARNT = 2000  # scenes whose texts make the vocabulary
HIDDEN = 0.3  # share of words that a text alone hides, as in OFA
COMPLETE = ' what is the complete text of " {} "?'  # OFA's words
POINTING = "refer"


@functools.cache
def vocabulary() -> Words:
    """All words of all tasks on drawn scenes, and a bin for every edge of their grid."""
    texts = [COMPLETE.format("")]
    for number in range(LEARNT):
        scene = make_scene(0, number)
        for name, task in scene_tasks.TASKS.items():
            if told := task.tell(scene, number):
                texts.append(task.instruction.format(*told[0]))
                texts += [f" {target}" for target in told[1] if name != POINTING]
    bins = GRID + 1
    return Words(WordsAndBytes.learn(texts, len(texts), bins=bins), GRID)


@dataclasses.dataclass(frozen=True)
class Shown:
    """One example: a scene and its number, whether its picture is shown, and ids."""

    number: int
    scene: Scene
    there: bool
    source: list[int]
    target: list[int]


@dataclasses.dataclass(frozen=True)
class SceneCorpus:
    """Where examples come from; see config/multimodal.py for `settings`.

    Attributes:
      settings: a pretraining job's config.scenes.
      num: how many scenes there are, those held out among them.
      seed: of the scenes. side: of their pictures in pixels.
    """

    settings: ConfigDict
    num: int
    seed: int
    side: int

    @classmethod
    def of(cls, config: ConfigDict) -> "SceneCorpus":
        """Raises UsageError for a task that does not exist or fewer scenes than hold one out."""
        found = cls(config.scenes, config.data.num, config.data.seed, config.data.size)
        for key in ("tasks", "texts"):
            for name in config.scenes[key]:
                if name not in scene_tasks.TASKS:
                    raise UsageError(
                        f"config.scenes.{key} has {name!r}, expected some of "
                        f"{', '.join(scene_tasks.TASKS)}"
                    )
        if not config.scenes.tasks:
            raise UsageError("config.scenes.tasks is empty, expected some tasks to learn")
        if found.num < 10:
            raise UsageError(f"config.data.num = {found.num}, expected 10 scenes or more")
        return found

    @property
    def name(self) -> str:
        return f"drawn scenes ({', '.join(self.settings.tasks)})"

    @property
    def classes(self) -> tuple[str, ...]:
        """None: their texts tell what scenes show."""
        return ()

    @property
    def images(self) -> "SceneCorpus":
        """What a corpus of pictures has: a name, a fingerprint, classes."""
        return self

    @property
    def fingerprint(self) -> str:
        parts = [VERSION, self.num, self.seed, self.side, self.settings.to_dict()]
        return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()

    @property
    def summary(self) -> str:
        return (
            f"{counted(self.num, 'drawn scene')}, every tenth held out: "
            f"{', '.join(self.settings.tasks)}; as texts alone: "
            f"{', '.join(self.settings.texts) or 'none'}"
        )

    def __len__(self) -> int:
        """How many scenes are trained on."""
        return self.num - self.num // 10

    def numbers(self, held: bool) -> np.ndarray:
        """The numbers of scenes that are held out, or of those that are not."""
        every = np.arange(self.num)
        return every[(every % 10 == 9) == held]

    def most_things(self, step: int) -> int:
        """How many things a scene may have at a step: with 3 steps to grow 1, 2, 3, 4, 4, …"""
        ease = self.settings.ease
        return MOST if step >= ease else 1 + step * (MOST - 1) // ease

    def shown(
        self, task: str, alone: bool, number: int, rng: np.random.Generator, most: int = MOST
    ) -> Shown | None:
        """A scene's example of a task; None where it has none, or a longer one than is taken.

        alone: the target as a text without its picture. most: things that the scene may have.
        """
        words, found = vocabulary(), scene_tasks.TASKS[task]
        scene = make_scene(self.seed, number, self.side)
        if len(scene.things) > most:
            return None
        told = found.tell(scene, int(rng.integers(2**62)))
        if told is None:
            return None
        target = told[1][int(rng.integers(len(told[1])))]
        if task == POINTING:
            size = np.array([self.side, self.side])
            target = words.box(np.array(target.split(","), float), size, self.side)
        text = marked(task, found.instruction.format(*told[0]))
        if alone:
            text = COMPLETE.format(with_holes(target, rng))
        source, answer = words.source(text), words.target(target)
        fits = len(source) <= self.settings.source_length
        if not fits or len(answer) > self.settings.target_length:
            return None
        return Shown(number, scene, not alone, source, answer)

    def batch(self, found: list[Shown]) -> dict[str, np.ndarray]:
        """Arrays as `tasks/multimodal/model.py` takes them; with config.scenes.cells those of
        `cells.py`, too."""
        scenes, cells = [one.scene for one in found], {}
        if self.settings.cells:
            names, edges = zip(*(cells_of(one, self.side // STRIDE) for one in scenes), strict=True)
            cells["cell_names"] = np.stack(names).reshape(len(found), -1, len(ATTRIBUTES))
            cells["cell_edges"] = np.stack(edges).reshape(len(found), -1, 4)
        return cells | {
            "images": np.stack([draw(one) for one in scenes]),
            "there": np.array([one.there for one in found]),
            "source": padded([one.source for one in found], self.settings.source_length),
            "target": padded([one.target for one in found], self.settings.target_length),
        }

    def held_out(self, task: str, count: int) -> list[Shown]:
        """The first examples of a task on held-out scenes, at most `count`."""
        found = []
        for number in self.numbers(held=True):
            rng = batches.generator(self.seed, (batches.STREAM_VIEW, number))
            if one := self.shown(task, False, int(number), rng):
                found.append(one)
            if len(found) == count:
                break
        return found


def marked(task: str, instruction: str) -> str:
    """An instruction that tells one style of answers from another, which ask the same otherwise.

    "caption-german" asks " what does the image describe? german".
    """
    style = task.partition("-")[2]
    return f"{instruction} {style}" if style else instruction


def with_holes(text: str, rng: np.random.Generator) -> str:
    """A text with some of its words hidden, at least one: "zwei <mask> Kreise"."""
    words = text.split(" ")
    hidden = rng.random(len(words)) < HIDDEN
    hidden[rng.integers(len(words))] = True
    return " ".join("<mask>" if hide else word for word, hide in zip(words, hidden, strict=True))


class SceneBatches:
    """step -> a batch of the corpus's tasks; a pure function of seed and step."""

    def __init__(self, corpus: SceneCorpus, seed: int, batch_size: int):
        self._corpus, self._seed, self._size = corpus, seed, batch_size
        self._numbers = corpus.numbers(held=False)
        settings = corpus.settings
        tasks = [(name, False) for name in settings.tasks]
        self._tasks = tasks + [(name, True) for name in settings.texts]
        shares = [1 / len(tasks) for _ in tasks]
        if settings.texts:
            alone = settings.texts_share
            shares = [(1 - alone) * share for share in shares]
            shares += [alone / len(settings.texts)] * len(settings.texts)
        if settings.weights:
            shares = np.array(settings.weights) / sum(settings.weights)
        self._shares = shares

    def __call__(self, step: int) -> dict[str, np.ndarray]:
        rng = batches.generator(self._seed, (batches.STREAM_MIXTURE, step))
        most = self._corpus.most_things(step)
        return self._corpus.batch([self._one(rng, most) for _ in range(self._size)])

    def _one(self, rng: np.random.Generator, most: int) -> Shown:
        while True:  # not every scene has an example of every task
            task, alone = self._tasks[rng.choice(len(self._tasks), p=self._shares)]
            number = int(self._numbers[rng.integers(len(self._numbers))])
            if one := self._corpus.shown(task, alone, number, rng, most):
                return one
