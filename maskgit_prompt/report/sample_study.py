"""report.html of ways to decode one tuned prompt."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from maskgit_prompt.metrics.run_result import INTERVALS
from maskgit_prompt.metrics.scores import HIGHER, SCORES
from maskgit_prompt.report.html import Command, Heading, Note, Section, Text, write_report
from maskgit_prompt.report.pieces import Picture, flat_table, gallery, sentence
from maskgit_prompt.report.tables import in_brackets, table

_COLUMNS = ("setting", "frechet", "kid", "accuracy", "precision", "recall", "density", "coverage")
_COLUMNS += ("near_copies", "calls", "seconds_per_image")


def sample_study_report(
    path: str | os.PathLike,
    rows: Sequence[Mapping[str, Any]],
    again: Sequence[Mapping[str, Any]],
    pictures: Mapping[str, Picture],
    *,
    best: str,
    by: str,
    words: str,
    command: str,
    warnings: Sequence[str] = (),
    config: Mapping[str, Any] | None = None,
) -> None:
    """Writes a report of a grid of settings.

    Args:
      path: the HTML file.
      rows: one per setting, the run's own first: "setting", "calls" and scores, as in
        report/tables.py.
      again: from other noise the run's own setting, and the best one if that is another.
      pictures: setting -> its sheet.
      best: the best setting; by: the name of the score that decided.
      words: what was found, in a sentence.
      command: what samples with the best setting.
      warnings: remarks on top.
      config: settings of the study, folded away at the end.

    Raises:
      UserError: a picture that is missing or no PNG, or a file that cannot be written.
    """
    ordered = _best_first(rows, by)
    shown = [column for column in _COLUMNS if any(row.get(column) is not None for row in rows)]
    sections: list[Section] = [Text(f"{sentence(words)}.", lead=True), Command(command)]
    sections += [Note(warning) for warning in warnings]
    sections += [
        Heading("Scores"),
        table(ordered, shown),
        Text(
            "One row per setting, the best first; a setting is called by what it changes of the "
            "run's own. All draw from the same noise and are scored against the same images. The "
            "transformer's calls are counted per batch: some samplers stop when the last image of "
            "a batch is done."
        ),
        *map(Text, filter(None, [in_brackets(rows), _as_good(ordered, by)])),
        Heading("Once more, from other noise"),
        table(again, shown),
        Text(
            "The best of many numbers is best by luck in part. These images were drawn after the "
            "choice."
        ),
        Heading("Pictures"),
    ]
    names = {row["setting"]: _caption(row, best, by) for row in ordered}
    sections += gallery({names[s]: pictures[s] for s in names if s in pictures})
    sections += flat_table(config, "All settings", "setting", folded=True)
    write_report(path, "Ways to decode", sections)


def _best_first(rows: Sequence[Mapping[str, Any]], by: str) -> list[Mapping[str, Any]]:
    """Rows by their score, those without it last, and of equals in their order."""
    sign = -1 if SCORES[by].better == HIGHER else 1
    return sorted(rows, key=lambda row: (row.get(by) is None, sign * (row.get(by) or 0)))


def _as_good(ordered: Sequence[Mapping[str, Any]], by: str) -> str:
    """Which setting needs fewest calls among those that might be as good, if it is another one."""
    best = ordered[0]
    low, high = best.get(INTERVALS, {}).get(by) or (best[by], best[by])
    near = [row for row in ordered if row.get(by) is not None and low <= row[by] <= high]
    fewest = min(near, key=lambda row: row["calls"], default=best)
    if fewest["calls"] >= best["calls"]:
        return ""
    return (
        f"Fewest calls among settings within the best one's interval: {fewest['setting']}, with "
        f"{fewest['calls']:.0f} in place of {best['calls']:.0f}."
    )


def _caption(row: Mapping[str, Any], best: str, by: str) -> str:
    """As "Fréchet distance 3.97, the best: order=halton"."""
    score = SCORES[by]
    text = f"{score.label} {score.format(row.get(by))}"
    return f"{text}{', the best' if row['setting'] == best else ''}: {row['setting']}"
