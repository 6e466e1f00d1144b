"""Tables and charts of rows, all from metrics.scores: on pages and in markdown.

A row is a mapping with the keys that results.json of several runs has: names of scores, with the
origin in front where it is not the tuned prompt ("kid", "untuned_kid"), and words. None, or a key
that is missing: not measured, an em dash. "intervals" holds theirs, by the same names.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from maskgit_prompt.metrics.formats import Format, aligned, brackets, fixed, percent
from maskgit_prompt.metrics.run_result import INTERVALS
from maskgit_prompt.metrics.scores import Names, Score, expand, find
from maskgit_prompt.report import curves
from maskgit_prompt.report.html import Figure, Section, Table
from maskgit_prompt.report.pieces import shots_in_words

Row = Mapping[str, Any]

BRACKETS = (
    "Brackets hold 95\u202f% intervals: how far a number would move with other images of the same "
    "kind, as many of them. They say nothing of another prompt or another classifier."
)

# Columns of words: key of a row -> label.
_WORDS = {word: word for word in ("group", "method", "model", "setting", "task", "transformer")}
_WORDS |= {"origin": "images", "tasks": "tasks done"}


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table; score: None where it holds words."""

    name: str
    label: str
    score: Score | None

    def format(self, rows: Sequence[Row], steady: bool) -> Callable[[Any], str]:
        if self.score is None:
            return str
        if self.score.decimals is None:
            return self.score.format
        return (
            fixed(self.score.decimals) if steady else aligned([row.get(self.name) for row in rows])
        )


def in_brackets(rows: Sequence[Row]) -> str:
    """What the brackets in a table of these rows hold, "" where there are none."""
    return BRACKETS if any(row.get(INTERVALS) for row in rows) else ""


def columns(names: Names) -> list[Column]:
    """Columns for the keys of rows; `...` as in `scores.expand`."""
    found = []
    for name in expand(names):
        if name in _WORDS:
            found.append(Column(name, _WORDS[name], None))
        else:
            score, origin = find(name)
            found.append(Column(name, score.label_of(origin), score))
    return found


def table(rows: Sequence[Row], names: Names, *, steady: bool = False) -> Table:
    """A table of a page.

    steady: rows are of different data sets: their distances have decimals that do not depend on
      what else stands in the column.
    """
    shown = columns(names)
    formats = {column.label: column.format(rows, steady) for column in shown}
    return Table(
        [{column.label: row.get(column.name) for column in shown} for row in rows],
        formats=formats,
        notes=[{c.label: _interval(row, c, formats[c.label]) for c in shown} for row in rows],
    )


def _interval(row: Row, column: Column, format: Format) -> str:
    """The 95 % interval of a row's number as text, "" where it is not known."""
    return brackets(row.get(INTERVALS, {}).get(column.name), format)


def markdown(rows: Sequence[Row], names: Names) -> str:
    """As `table`, steady; columns as wide as their widest text, those of words to the left, of
    numbers to the right."""
    cells = []
    for column in columns(names):
        text = column.format(rows, steady=True)
        lines = [column.label]
        for row in rows:
            words = (text(row.get(column.name)), _interval(row, column, text))
            lines.append(" ".join(filter(None, words)))
        width = max(map(len, lines))
        if column.score is None:
            rule = "-" * width
            lines = [line.ljust(width) for line in lines]
        else:
            rule = "-" * (width - 1) + ":"
            lines = [line.rjust(width) for line in lines]
        cells.append([lines[0], rule, *lines[1:]])
    return "\n".join(f"| {' | '.join(line)} |" for line in zip(*cells, strict=True))


def is_share(score: Score) -> bool:
    """Whether charts show it in percent."""
    return score.format is percent


def axis(score: Score) -> str:
    """What a chart's axis is called."""
    return score.label + (" (%)" if is_share(score) else "")


def bars_by_shots(
    rows: Sequence[Row], bar: Callable[[Row], str], names: Sequence[str], dots: Sequence[str] = ()
) -> list[Section]:
    """A chart of each score that some row has: a group for each number of images per class.

    Args:
      rows: with "shots".
      bar: the name of a row's bar.
      names: of the scores; those in `dots` are dots, on an axis that need not begin at zero.
    """
    sections: list[Section] = []
    for name in names:
        score, _ = find(name)
        groups: dict[str, dict[str, float | None]] = {}
        for row in sorted(rows, key=lambda row: row["shots"]):
            groups.setdefault(shots_in_words(row["shots"]), {})[bar(row)] = row.get(name)
        if any(value is not None for bars in groups.values() for value in bars.values()):
            chart = curves.bar_chart(
                groups, axis(score), percent=is_share(score), dots=name in dots
            )
            sections.append(Figure(chart, score.captioned()))
    return sections
