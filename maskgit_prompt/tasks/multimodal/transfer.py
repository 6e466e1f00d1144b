"""A plan carried out: examples -> tuned prefixes -> answers -> report.

1. Answer the held-out examples with the model as it is, to compare.
2. Tune what config.method trains.
3. Answer the held-out examples by beam search, and score the answers.
4. Write the file of what was tuned, results.json, answers.csv and report.html.
"""

import csv
import dataclasses
import io
import pathlib
from typing import Any

from maskgit_prompt.devices import distributed
from maskgit_prompt.progress import Clock
from maskgit_prompt.report import results
from maskgit_prompt.report.multimodal import multimodal_report
from maskgit_prompt.storage.files import write_whole
from maskgit_prompt.tasks.multimodal import pictures
from maskgit_prompt.tasks.multimodal.answering import Answers
from maskgit_prompt.tasks.multimodal.plan import PARTS, Plan
from maskgit_prompt.tasks.multimodal.result import (
    TUNED,
    UNTUNED,
    Result,
    in_words,
    last_words,
    summarize,
)
from maskgit_prompt.tasks.multimodal.sizes import Sizes
from maskgit_prompt.tasks.multimodal.tuning import Held, TunedModel, first_tree, tune_model
from maskgit_prompt.tuning import tuned_answerer, tuned_prefix
from maskgit_prompt.tuning.tuned_answerer import TunedAnswerer
from maskgit_prompt.tuning.tuned_file import TunedOn
from maskgit_prompt.tuning.tuned_prefix import TunedPrefix


def carry_out(plan: Plan, home: pathlib.Path, clock: Clock) -> Result:
    """Does all that follows the plan, in a workdir that was claimed.

    clock: holds the seconds of stages before.
    """
    held, before, scores = Held(plan), None, {}

    # 1. The model as it is.
    if plan.config.score.untuned:
        with clock("untuned"):
            bare = _bare(plan)
            before = Held(bare).answers(first_tree(bare), "untuned")
            scores[UNTUNED] = held.score(before)

    # 2. What is tuned.
    with clock("tune"):
        tuned = tune_model(plan, home, held)

    # 3. Its answers.
    with clock("answer"):
        answers = held.answers(tuned.tree)
        scores[TUNED] = held.score(answers)

    # 4. Files.
    seconds = {stage: round(s, 2) for stage, s in clock.seconds.items()}
    found = summarize(plan, tuned, scores, seconds)
    path = save_tuned(plan, tuned, found, home)
    found = dataclasses.replace(found, file=path.name, file_bytes=path.stat().st_size)
    save_answers(home / "answers.csv", plan, answers, before, scores[TUNED].right)
    shown = pictures.examples(plan, held, answers, before, scores[TUNED])
    drawn = pictures.training(tuned)
    values = found.to_json()
    results.write_json(home / "results.json", values)
    words = {origin: in_words(values, origin) for origin in found.scores}
    multimodal_report(home / "report.html", values, words, shown, drawn)
    if distributed.is_first():
        print(last_words(home, found))
    return found


def _bare(plan: Plan) -> Plan:
    """The plan of the frozen model alone, with nothing around it."""
    model = dataclasses.replace(plan.model, prompt=None, adapters={}, lora=None)
    return dataclasses.replace(plan, sizes=Sizes(), model=model)


def of_task(plan: Plan) -> dict[str, Any]:
    """What a file of tuned parameters says of its task, enough to ask the same again."""
    return {
        "goal": plan.config.goal,
        "instruction": plan.goal.instruction,
        "kind": plan.goal.kind,
        "scored": plan.goal.scored,
        "answers": list(plan.answers),
        "side": plan.side,
        "search": dataclasses.asdict(plan.search),
        "data": plan.tune.examples.name,
    }


def save_tuned(plan: Plan, tuned: TunedModel, found: Result, home: pathlib.Path) -> pathlib.Path:
    """Writes prefix.safetensors, or tuned.safetensors of another method."""
    on, task = TunedOn.of(plan.backbone, PARTS), of_task(plan)
    scores = dict(found.scores[TUNED]["values"])
    if plan.sizes.prompt is not None and set(tuned.changed) == {"prompt"}:
        path = home / tuned_prefix.FILE.name
        tuned_prefix.save(
            path, TunedPrefix(plan.sizes.prompt, tuned.changed["prompt"], on, task, scores)
        )
        return path
    path = home / tuned_answerer.FILE.name
    stored = dataclasses.asdict(plan.sizes)
    tuned_answerer.save(
        path, TunedAnswerer(tuned.changed, stored, on, plan.config.method, task, scores)
    )
    return path


def save_answers(
    path: pathlib.Path, plan: Plan, answers: Answers, before: Answers | None, right: Any
) -> None:
    """A row for each held-out example: where it is from, what was asked, answered and right."""
    examples, text = plan.test.examples, io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    head = ["row", "asked", "answer", "right answers", "worth", "score"]
    rows.writerow(head + ["before tuning"] * bool(before))
    for i, where in enumerate(examples.rows):
        row = [
            where,
            plan.goal.instruction.format(*examples.texts[i]).strip(),
            answers.texts[i],
            "&&".join(examples.targets[i]),
            f"{float(right[i]):g}",
            f"{answers.scores[i]:.4f}",
        ]
        rows.writerow(row + [before.texts[i]] if before else row)
    write_whole(path, text.getvalue().encode())
