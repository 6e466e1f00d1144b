"""report.html of a comparison of methods."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from maskgit_prompt.metrics.run_result import INTERVALS
from maskgit_prompt.metrics.scores import HIGHER, find
from maskgit_prompt.report.html import Heading, Note, Section, Table, Text, write_report
from maskgit_prompt.report.pieces import Picture, flat_table, gallery, shots_in_words
from maskgit_prompt.report.tables import bars_by_shots, columns, in_brackets, table

_COLUMNS = ("method", "accuracy", "frechet", "kid", ..., "heldout_loss", "train_loss")
_COLUMNS += ("near_copies", "trainable", "seconds", "best_step")
_SHARED = "Several are named where the best number lies within their 95\u202f% intervals."
_LEADERS = ("accuracy", "frechet", "kid", ..., "heldout_loss")


def comparison_report(
    path: str | os.PathLike,
    rows: Sequence[Mapping[str, Any]],
    pictures: Mapping[str, Picture],
    *,
    methods: Mapping[str, str],
    title: str = "Comparison",
    config: Mapping[str, Any] | None = None,
    warnings: Sequence[str] = (),
) -> None:
    """Writes a report of several methods trained on the same few images.

    Args:
      path: the HTML file.
      rows: one for each method and number of shots: "method", "shots" (images per class) and
        scores, as in report/tables.py.
      pictures: name -> PIL image, PNG bytes or PNG path; "METHOD/SHOTS" stands below the table of
        its shots, any other at the end with its name as caption.
      methods: name -> title; one that has none is called by its name.
      title: the page's title.
      config: settings, folded away at the end.
      warnings: remarks on top.

    Raises:
      UserError: a picture that is missing or no PNG, or a file that cannot be written.
    """
    pictures = dict(pictures)
    all_shots = sorted({row["shots"] for row in rows})
    sections: list[Section] = [
        Text(
            "The same images and the same number of steps for every method, each judged at its "
            "best held-out step. No single number decides: a method that memorizes its training "
            "images can score high on accuracy, and shows in held-out loss and near-copies.",
            lead=True,
        )
    ]
    sections += [Note(warning) for warning in warnings]
    sections += _leaders(rows, all_shots, methods)
    scores = ("accuracy", "frechet", "heldout_loss")
    sections += bars_by_shots(rows, lambda row: _title(row, methods), scores, ("heldout_loss",))
    for shots in all_shots:
        sections.append(Heading(shots_in_words(shots)))
        chosen = [row for row in rows if row["shots"] == shots]
        titled = [{**row, "method": _title(row, methods)} for row in chosen]
        sections.append(table(titled, _COLUMNS))
        sections += map(Text, filter(None, [in_brackets(chosen)]))
        keys = {_title(row, methods): f"{row['method']}/{shots}" for row in chosen}
        sections += gallery(
            {
                f"{name}, {shots_in_words(shots)}": pictures.pop(k)
                for name, k in keys.items()
                if k in pictures
            }
        )
    sections += [Heading("Pictures")] if pictures else []
    sections += gallery({methods.get(name, name): p for name, p in pictures.items()})
    sections += flat_table(config, "All settings", "setting", folded=True)
    write_report(path, title, sections)


def _leaders(
    rows: Sequence[Mapping[str, Any]], all_shots: Sequence[int], methods: Mapping[str, str]
) -> list[Section]:
    """A table of the best method by each measure, and of those whose intervals hold its number."""
    lines = []
    for shots in all_shots:
        line: dict[str, Any] = {find("shots")[0].label: shots}
        for column in (c for c in columns(_LEADERS) if c.score.better):
            higher = column.score.better == HIGHER
            scored = [r for r in rows if r["shots"] == shots and r.get(column.name) is not None]
            best = (max if higher else min)((row[column.name] for row in scored), default=None)
            named = [_title(row, methods) for row in scored if _reaches(row, column.name, best)]
            name = f"{'highest' if higher else 'lowest'} {column.label}"
            line[name] = ", ".join(named) or None
        lines.append(line)
    if not lines:
        return []
    shared = [Text(_SHARED)] if any(row.get(INTERVALS) for row in rows) else []
    return [Table(lines), *shared]


def _reaches(row: Mapping[str, Any], name: str, best: float) -> bool:
    """Whether a number is the best one, or might be by its interval."""
    low, high = row.get(INTERVALS, {}).get(name) or (row[name], row[name])
    return row[name] == best or low <= best <= high


def _title(row: Mapping[str, Any], methods: Mapping[str, str]) -> str:
    return methods.get(row["method"], row["method"])
