"""Reads pages and charts back: which number stands where, which picture under which words."""

import base64
import dataclasses
import html.parser
import pathlib

import numpy as np
import pytest
from matplotlib.container import BarContainer
from matplotlib.figure import Figure

from tests.report.pages import PNG


@dataclasses.dataclass
class Page:
    """What a reader sees of a page; a space that does not break is read as a plain one.

    Attributes:
      tables: rows of {column: text}, in the order of the page.
      pictures: caption -> PNG bytes.
      texts: paragraphs.
    """

    tables: list[list[dict[str, str]]]
    pictures: dict[str, bytes]
    texts: list[str]

    def tables_of(self, column: str) -> list[list[dict[str, str]]]:
        """The tables whose first column has this name."""
        return [rows for rows in self.tables if next(iter(rows[0])) == column]

    def table_of(self, column: str) -> list[dict[str, str]]:
        (rows,) = self.tables_of(column)
        return rows


class _Reader(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.page = Page([], {}, [])
        self._text, self._rows, self._png = "", [], b""

    def handle_starttag(self, tag, attributes):
        if tag in ("th", "td", "p", "figcaption"):
            self._text = ""
        elif tag == "table":
            self._rows = []
        elif tag == "tr":
            self._rows.append([])
        elif tag == "img":
            self._png = base64.b64decode(dict(attributes)["src"].partition(",")[2])

    def handle_data(self, data):
        self._text += data

    def handle_endtag(self, tag):
        text = self._text.replace("\u202f", " ")
        if tag in ("th", "td"):
            self._rows[-1].append(text)
        elif tag == "table":
            columns, *rows = self._rows
            assert len(set(columns)) == len(columns), columns
            self.page.tables.append([dict(zip(columns, row, strict=True)) for row in rows])
        elif tag == "p":
            self.page.texts.append(text)
        elif tag == "figcaption":
            assert text not in self.page.pictures, text
            self.page.pictures[text] = self._png


def read(path: pathlib.Path) -> Page:
    reader = _Reader()
    reader.feed(path.read_text())
    return reader.page


@dataclasses.dataclass(frozen=True)
class Chart:
    """A chart as it is drawn.

    Attributes:
      label: of the axis of values.
      curves: name -> (steps, values); of dots, steps are places.
      bars: group or row -> {bar: value}.
    """

    label: str
    curves: dict[str, tuple[list[float], list[float]]]
    bars: dict[str, dict[str, float]]


def capture(monkeypatch: pytest.MonkeyPatch) -> list[Chart]:
    """The charts that are drawn from now on, in order; one small PNG is stored for each."""
    found = []

    def save(figure, buffer, **_):
        found.append(_chart(*figure.axes))
        buffer.write(PNG)

    monkeypatch.setattr(Figure, "savefig", save)
    return found


def _chart(axes) -> Chart:
    curves = {
        line.get_label(): tuple(np.asarray(x).tolist() for x in line.get_data())
        for line in axes.get_lines()
        if not line.get_label().startswith("_")  # matplotlib's name for what has none
    }
    containers = [c for c in axes.containers if isinstance(c, BarContainer)]
    lying = any(c.orientation == "horizontal" for c in containers)
    axis = axes.yaxis if lying else axes.xaxis
    names = [tick.get_text() for tick in axis.get_ticklabels()]
    bars: dict[str, dict[str, float]] = {}
    for container in containers:
        for bar in container:
            middle = (
                bar.get_y() + bar.get_height() / 2 if lying else bar.get_x() + bar.get_width() / 2
            )
            value = bar.get_width() if lying else bar.get_height()
            bars.setdefault(names[round(middle)], {})[container.get_label()] = float(value)
    return Chart(axes.get_xlabel() if lying else axes.get_ylabel(), curves, bars)


def png(number: int) -> bytes:
    """A PNG that differs from that of any other number."""
    return PNG + bytes([number])
