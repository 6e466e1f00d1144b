"""results.md and report.html of a sweep: tasks, means by group, every run of the grid."""

import os
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from maskgit_prompt.metrics.formats import number, percent
from maskgit_prompt.report.html import Heading, Note, Section, Table, Text, write_report
from maskgit_prompt.report.pieces import flat_table

Row = Mapping[str, Any]
COLUMNS = {
    "task": "task",
    "group": "group",
    "accuracy": "accuracy",
    "deviation": "± over seeds",
    "validation": "accuracy that decided",
    "tokens": "prompt tokens",
    "learning_rate": "learning rate",
    "weight_decay": "weight decay",
    "classes": "classes",
    "steps": "steps",
}
SHARES = ("accuracy", "± over seeds", "accuracy that decided")


def means(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Mean accuracy over the done tasks of each group, then over the groups and over all tasks."""
    done = [row for row in rows if row["accuracy"] is not None]
    groups = dict.fromkeys(row["group"] for row in done)
    found = [
        {"group": group, "tasks": len(x), "accuracy": statistics.fmean(x)}
        for group in groups
        if (x := [row["accuracy"] for row in done if row["group"] == group])
    ]
    if len(found) > 1:
        of_groups = statistics.fmean(line["accuracy"] for line in found)
        found.append({"group": "mean of groups", "tasks": len(done), "accuracy": of_groups})
        each = statistics.fmean(row["accuracy"] for row in done)
        found.append({"group": "mean of tasks", "tasks": len(done), "accuracy": each})
    return found


def _shown(rows: Sequence[Row]) -> list[dict[str, Any]]:
    done = [row for row in rows if row["accuracy"] is not None]
    empty = {key for key in COLUMNS if not any(row.get(key) for row in done)}
    return [
        {name: row.get(key) for key, name in COLUMNS.items() if key not in empty} for row in done
    ]


def markdown(rows: Sequence[Row], title: str, protocol: str) -> str:
    """results.md; equal runs make equal bytes."""
    parts = [f"# {title}", f"Protocol: {protocol}."]
    for found in (_shown(rows), means(rows)):
        if found:
            names = list(found[0])
            lines = [" | ".join(names), " | ".join("---" for _ in names)]
            lines += [" | ".join(_text(name, line[name]) for name in names) for line in found]
            parts.append("\n".join(f"| {line} |" for line in lines))
    for row in rows:
        if row["accuracy"] is None:
            parts.append(f"- {row['task']}: {row['status']}: {row['error'] or 'not begun'}")
    return "\n\n".join(parts) + "\n"


def _text(name: str, value: Any) -> str:
    return percent(value) if name in SHARES else number(value)


def swept_report(
    path: str | os.PathLike,
    rows: Sequence[Row],
    grids: Mapping[str, Sequence[Row]],
    title: str,
    protocol: str,
    config: Mapping[str, Any],
) -> None:
    """Writes the report.

    Args:
      rows: one a task.
      grids: task -> the rows of its grid.

    Raises:
      UserError: the file cannot be written.
    """
    shares = dict.fromkeys(SHARES, percent)
    sections: list[Section] = [
        Text(
            "Settings were chosen on images that decide; with the best ones a classifier was "
            "trained on these and the images to tune on, once per seed, and judged on held-out "
            f"images. Protocol: {protocol}.",
            lead=True,
        )
    ]
    sections += [
        Note(f"{row['task']}: {row['error'] or 'not begun'}")
        for row in rows
        if row["accuracy"] is None
    ]
    if shown := _shown(rows):
        sections.append(Table(shown, formats=shares))
    if len(found := means(rows)) > 1:
        sections += [Heading("Means"), Table(found, formats={"accuracy": percent})]
    for task, grid in grids.items():
        columns = ("tokens", "learning_rate", "weight_decay", "accuracy", "loss")
        table = [{name.replace("_", " "): row[name] for name in columns} for row in grid]
        caption = f"Every run of the grid: {task}"
        sections.append(Table(table, caption, formats={"accuracy": percent}, folded=True))
    sections += flat_table(config, "All settings", "setting", folded=True)
    write_report(path, title, sections)
