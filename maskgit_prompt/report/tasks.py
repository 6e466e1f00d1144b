"""results.md and report.html of many tasks, a prompt tuned for each on one backbone.

A row is one task: "task", "group", "status" ("done", "failed" or "missing"), "error" (one line or
None) and, where it is done, "folder", "classes", "images" (tuned on), "steps", "generated" and
scores as in report/tables.py, such as "untuned_frechet".
"""

import os
import statistics
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from maskgit_prompt.metrics.scores import SCORES, expand
from maskgit_prompt.report import curves, tables
from maskgit_prompt.report.html import Figure, Heading, Note, Section, Table, Text, write_report
from maskgit_prompt.report.pieces import Picture, flat_table, gallery
from maskgit_prompt.report.tables import Row

_SCORES = ("frechet", "untuned_frechet", "kid", "accuracy", "real_accuracy", ...)
_SCORES += ("heldout_loss", "near_copies")
_COUNTS = ("classes", "images", "steps")
_MEANS = ("group", "tasks", *_SCORES)
_SIZES = ("task", *_COUNTS, "generated", "trainable", "share")

_DISTANCES = (
    "Fréchet distance and KID are those of generated to real images of the reference split, in "
    "the features of the backbone's own small network; lower is better. They are not FID: they "
    "compare only with distances made with the same network, from as many images."
)
_OTHERS = (
    "Untuned: images of the backbone's own classes. Accuracy: the share of generated images "
    "that a classifier trained on real ones reads as their class; real: the same of held-out real "
    "images. Held-out loss: nats per code. A mean is over the done tasks that have the number, "
    "each counted once."
)


def means(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Means over the done tasks of each group that has one, and over "all" of them.

    A task counts once, whatever its group: "all" of svhn 1.0 and dtd 2.0 (natural) and eurosat 9.0
    (specialized) is 4.0, where the mean of the groups' means is 5.25.

    Returns:
      One dict a group, in order of appearance, then "all": "group", "tasks" (how many are done),
      "of" (how many there are) and each score's mean over the done tasks that have it, or None.
    """
    groups = {group: [r for r in rows if r["group"] == group] for group in _groups(rows)}
    found = [_mean(group, members) for group, members in groups.items()]
    return [line for line in found if line["tasks"]] + [_mean("all", rows)]


def markdown(rows: Sequence[Row], title: str, remarks: Sequence[str]) -> str:
    """results.md: tasks, means, what failed or is missing, remarks; equal runs make equal bytes."""
    parts = [
        f"# {title}",
        textwrap.fill(
            " ".join([_DISTANCES, _OTHERS, tables.in_brackets(rows)]), 100, break_on_hyphens=False
        ),
        tables.markdown(rows, ("task", "group", *_COUNTS, *_SCORES, "share")),
        "## Means",
        tables.markdown(_means_in_words(rows), _MEANS),
    ]
    for heading, lines in (("Failed and missing", _absent(rows)), ("Remarks", remarks)):
        if lines:
            parts += [f"## {heading}", "\n".join(f"- {line}" for line in lines)]
    return "\n\n".join(parts) + "\n"


def chart(rows: Sequence[Row]) -> bytes:
    """A PNG of all tasks' Fréchet distances, tuned and untuned; a dash where there is none.

    Raises:
      UserError: no rows.
    """
    names = {"frechet": "tuned", "untuned_frechet": "untuned"}
    return curves.horizontal_bars(_bars(rows, names), tables.axis(SCORES["frechet"]))


def tasks_report(
    path: str | os.PathLike,
    rows: Sequence[Row],
    pictures: Mapping[str, Picture],
    *,
    title: str,
    remarks: Sequence[str] = (),
    config: Mapping[str, Any] | None = None,
) -> None:
    """Writes a report of many tasks.

    Args:
      path: the HTML file.
      rows: one a task, as above.
      pictures: task -> PIL image, PNG bytes or PNG path.
      title: the page's title.
      remarks: notes below those of failed and missing tasks.
      config: settings, folded away at the end.

    Raises:
      UserError: a picture that is missing or no PNG, or a file that cannot be written.
    """
    done = _done(rows)
    sections: list[Section] = [
        Text(
            "For each task a prompt was tuned on the same backbone, and images were generated "
            f"with it. Tasks done: {len(done)} of {len(rows)}. {_DISTANCES}",
            lead=True,
        ),
        *map(Note, [*_absent(rows), *remarks]),
        Heading("Means"),
        tables.table(_means_in_words(rows), _MEANS, steady=True),
        Text(_OTHERS),
        Heading("Tasks"),
        tables.table(rows, ("task", "group", *_SCORES), steady=True),
        *map(Text, filter(None, [tables.in_brackets(rows)])),
        *_charts(rows),
    ]
    if pictures:
        sections += [
            Heading("Pictures"),
            *gallery({f"Generated for {task}": picture for task, picture in pictures.items()}),
        ]
    if done:
        sections += [
            Heading("Size"),
            tables.table(done, _SIZES, steady=True),
            Heading("Each task's own report"),
            Table([{"task": r["task"], "report": f"{r['folder']}/report.html"} for r in done]),
        ]
    sections += flat_table(config, "All settings", "setting", folded=True)
    write_report(path, title, sections)


def _charts(rows: Sequence[Row]) -> list[Section]:
    """Charts of what was measured in at least one task."""
    sections: list[Section] = []
    if any(row.get("frechet") is not None for row in rows):
        caption = SCORES["frechet"].captioned("Fréchet distance of generated to real images")
        sections.append(Figure(chart(rows), caption))
    if any(row.get("accuracy") is not None for row in rows):
        names = {"accuracy": "generated images", "real_accuracy": "held-out real images"}
        accuracy = SCORES["accuracy"]
        bars = curves.horizontal_bars(_bars(rows, names), tables.axis(accuracy), percent=True)
        sections.append(Figure(bars, accuracy.captioned("Share of images read as their class")))
    return sections


def _groups(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row["group"] for row in rows))


def _done(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row["status"] == "done"]


def _mean(group: str, rows: Sequence[Row]) -> dict[str, Any]:
    done = _done(rows)
    line: dict[str, Any] = {"group": group, "tasks": len(done), "of": len(rows)}
    for key in expand(_SCORES):
        values = [row[key] for row in done if row.get(key) is not None]
        line[key] = statistics.fmean(values) if values else None
    return line


def _means_in_words(rows: Sequence[Row]) -> list[Row]:
    return [line | {"tasks": f"{line['tasks']} of {line['of']}"} for line in means(rows)]


def _absent(rows: Sequence[Row]) -> list[str]:
    """A line for each reason: "dtd, svhn missing: no such folder"."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row["status"] != "done":
            error = f": {row['error']}" if row["error"] else ""
            reasons.setdefault(f"{row['status']}{error}", []).append(row["task"])
    return [f"{', '.join(tasks)} {reason}" for reason, tasks in reasons.items()]


def _bars(rows: Sequence[Row], names: Mapping[str, str]) -> dict[str, dict[str, dict]]:
    """Names {"kid": "KID"} give {"natural": {"svhn": {"KID": 0.1}}}."""
    return {
        group: {
            row["task"]: {name: row.get(key) for key, name in names.items()}
            for row in rows
            if row["group"] == group
        }
        for group in _groups(rows)
    }
