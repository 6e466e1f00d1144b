"""What a run found, as results.json holds it and as a terminal shows it."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from maskgit_prompt.metrics.answered import OF_KIND, SCORES, Found
from maskgit_prompt.metrics.formats import brackets, small_share
from maskgit_prompt.tasks.multimodal.plan import Plan
from maskgit_prompt.tasks.multimodal.tuning import TunedModel
from maskgit_prompt.tuning.train import MEASURED

TUNED, UNTUNED = "tuned", "untuned"


@dataclasses.dataclass(frozen=True)
class Result:
    """What a run found.

    Attributes:
      scores: "tuned", and where it was measured "untuned" -> values, intervals, notes.
      kind: of answers: "captions", "answers", "boxes".
      loss: of held-out examples in nats per token.
      examples: how many in each part.
      trainable, frozen: numbers of parameters. steps: of the state that was scored.
      seconds: by stage. speed: measured by the training loop.
      answers: how many closed ones there are; 0: any.
      search: settings of the beam search, as they were used.
      file_bytes: size of the file of what was tuned.
    """

    scores: Mapping[str, Mapping[str, Any]]
    kind: str
    goal: str
    title: str
    instruction: str
    method: str
    backbone: str
    data: str
    loss: float | None
    examples: Mapping[str, int]
    trainable: int
    frozen: int
    steps: int
    seconds: Mapping[str, float]
    speed: Mapping[str, float]
    answers: int
    search: Mapping[str, Any]
    config: Mapping[str, Any]
    file: str = ""
    file_bytes: int = 0

    @property
    def share(self) -> float:
        """Trained parameters over those of the network and all around it."""
        return self.trainable / (self.trainable + self.frozen)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"share": self.share}


def summarize(
    plan: Plan, tuned: TunedModel, scores: Mapping[str, Found], seconds: Mapping[str, float]
) -> Result:
    """The result, but for the file of what was tuned; scores: by TUNED and UNTUNED."""
    return Result(
        scores={origin: found.to_json() for origin, found in scores.items()},
        kind=plan.goal.scored,
        goal=plan.config.goal,
        title=plan.goal.title,
        instruction=plan.goal.instruction,
        method=plan.config.method,
        backbone=plan.backbone.name,
        data=plan.tune.examples.name,
        loss=tuned.run.loss["heldout"],
        examples={"tune": len(plan.tune), "heldout": len(plan.test)},
        trainable=tuned.run.trainable,
        frozen=tuned.run.frozen,
        steps=tuned.run.steps,
        seconds=seconds,
        speed={name: tuned.run.last[name] for name in MEASURED if name in tuned.run.last},
        answers=len(plan.answers),
        search=dataclasses.asdict(plan.search),
        config=plan.config.to_dict(),
    )


def in_words(found: Mapping[str, Any], origin: str = TUNED) -> str:
    """Scores of results.json as text: "right answers 85.0 % [81.2, 88.1]"."""
    own = found["scores"][origin]
    parts = []
    for name in OF_KIND[found["kind"]]:
        if name in own["values"]:
            score = SCORES[name]
            interval = brackets(own["intervals"].get(name), score.format)
            parts.append(f"{score.title} {score.format(own['values'][name])} {interval}".strip())
    return ", ".join(parts)


def last_words(home: pathlib.Path, found: Result) -> str:
    """What a terminal shows at the end."""
    values = found.to_json()
    lines = [f"{in_words(values)} of {found.examples['heldout']:,} held-out examples"]
    if UNTUNED in found.scores:
        lines.append(f"before tuning: {in_words(values, UNTUNED)}")
    lines += [
        f"{found.method}: {found.trainable:,} numbers tuned, {small_share(found.share)} of the "
        "model",
        f"report: {home / 'report.html'}",
        f"tuned: {home / found.file} ({found.file_bytes / 1e3:.0f} kB)",
    ]
    return "\n".join(lines)
