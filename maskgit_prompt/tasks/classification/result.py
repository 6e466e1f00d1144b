"""What a run found, as results.json holds it and as a terminal shows it."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from maskgit_prompt.metrics.classification import Judgement, confused
from maskgit_prompt.metrics.formats import brackets, percent, small_share
from maskgit_prompt.tasks.classification import protocols
from maskgit_prompt.tasks.classification.plan import Plan
from maskgit_prompt.tasks.classification.tuning import TunedClassifier
from maskgit_prompt.tuning.train import MEASURED


@dataclasses.dataclass(frozen=True)
class Result:
    """What a run found; None where it was not measured.

    Attributes:
      accuracy: part of the images ("train", "validation", "heldout") -> share of right answers.
      interval: of the held-out accuracy, 95 %.
      top5, by_class: of the held-out images, see metrics.classification.
      confusions: the pairs of classes that are most often confused: class, taken for, images.
      trainable, frozen: numbers of parameters.
      images: how many in each part.
      steps: of the state that was judged.
      seconds: by stage.
      file_bytes: size of the classifier's file.
    """

    accuracy: Mapping[str, float]
    interval: tuple[float, float]
    top5: float | None
    by_class: float
    confusions: Sequence[Mapping[str, Any]]
    method: str
    protocol: str
    backbone: str
    data: str
    classes: Sequence[str]
    images: Mapping[str, int]
    trainable: int
    frozen: int
    steps: int
    seconds: Mapping[str, float]
    speed: Mapping[str, float]
    config: Mapping[str, Any]
    file_bytes: int = 0

    @property
    def share(self) -> float:
        """Trained parameters over all."""
        return self.trainable / (self.trainable + self.frozen)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"share": self.share}


def summarize(plan: Plan, tuned: TunedClassifier, judgement: Judgement, seconds: dict) -> Result:
    """The result, but for the size of its file."""
    data, names = plan.data, plan.data.images.classes
    return Result(
        accuracy={part: 1 - wrong for part, wrong in tuned.run.loss.items()}
        | {"heldout": judgement.accuracy},
        interval=judgement.interval,
        top5=judgement.top5,
        by_class=judgement.by_class,
        confusions=[
            {"class": names[a], "taken for": names[b], "images": count}
            for a, b, count in confused(judgement.confusion)
        ],
        method=plan.config.method,
        protocol=protocols.find(plan.config.protocol).about,
        backbone=plan.backbone.name,
        data=data.images.name,
        classes=names,
        images={"tune": len(data.tune), "validation": len(data.judge), "heldout": len(data.test)},
        trainable=tuned.run.trainable,
        frozen=tuned.run.frozen,
        steps=tuned.run.steps,
        seconds=seconds,
        speed={name: tuned.run.last[name] for name in MEASURED if name in tuned.run.last},
        config=plan.config.to_dict(),
    )


def last_words(home: pathlib.Path, found: Result) -> str:
    """What a terminal shows at the end."""
    interval = brackets(found.interval, percent)
    lines = [
        f"accuracy {percent(found.accuracy['heldout'])} {interval} of "
        f"{found.images['heldout']:,} held-out images ({found.method}: {found.trainable:,} numbers "
        f"tuned, {small_share(found.share)} of the model)",
        f"protocol: {found.protocol}",
        f"report: {home / 'report.html'}",
        f"classifier: {home / 'classifier.safetensors'} ({found.file_bytes / 1e3:.0f} kB)",
    ]
    return "\n".join(lines)
