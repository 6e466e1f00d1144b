"""What a report shows of single examples: the image, what was asked, answered and right."""

import dataclasses
from typing import Any

import numpy as np

from maskgit_prompt.metrics.answered import Found
from maskgit_prompt.report import boxes, curves
from maskgit_prompt.tasks.multimodal.answering import Answers
from maskgit_prompt.tasks.multimodal.plan import Plan
from maskgit_prompt.tasks.multimodal.tuning import Held, TunedModel

SHOWN = 12
CURVES = {"evaluated_heldout": "held-out examples"}


@dataclasses.dataclass(frozen=True)
class Example:
    """One held-out example as a report shows it; `right`: whether the answer counts as right."""

    picture: Any
    asked: str
    answer: str
    before: str
    meant: str
    right: bool


def examples(
    plan: Plan, held: Held, answers: Answers, before: Answers | None, found: Found
) -> list[Example]:
    """Some held-out examples, half of them wrong ones if there are enough; in their order."""
    wrong = np.flatnonzero(found.right < 0.5)[: SHOWN // 2]
    right = np.flatnonzero(found.right >= 0.5)[: SHOWN - len(wrong)]
    asked, shown = plan.test.examples, []
    meant, drawn = plan.test.meant, None
    if meant is not None:
        own = plan.words.boxes(answers.texts, asked.sizes, plan.side)
        drawn = {"right": meant, "answered": own}
    for row in np.sort(np.concatenate([wrong, right])).tolist():
        scale = plan.side / np.tile(asked.sizes[row], 2)
        own = {name: scale * found[row] for name, found in drawn.items()} if drawn else None
        pixels = held.pictures(np.array([row]))[0]
        shown.append(
            Example(
                boxes.picture(pixels, own),
                plan.goal.instruction.format(*asked.texts[row]).strip(),
                answers.texts[row],
                before.texts[row] if before else "",
                " or ".join(asked.targets[row]),
                bool(found.right[row] >= 0.5),
            )
        )
    return shown


def training(tuned: TunedModel) -> dict[str, bytes]:
    """name -> PNG: the loss while tuning."""
    series = tuned.run.curves
    shown = {"training batches": series["loss"]} if "loss" in series else {}
    shown |= {name: series[key] for key, name in CURVES.items() if key in series}
    return {"loss": curves.loss_curve(shown)} if shown else {}
