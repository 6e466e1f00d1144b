"""A report as one HTML file: no scripts, no requests, light and dark, wide and narrow."""

import base64
import dataclasses
import html
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from maskgit_prompt.errors import UserError
from maskgit_prompt.metrics.formats import Format, number
from maskgit_prompt.storage.files import write_whole

_PNG = b"\x89PNG\r\n\x1a\n"
# A picture with more pixels across than this is not shown at half the page's width.
_LARGE = 800


@dataclasses.dataclass(frozen=True)
class Heading:
    text: str


@dataclasses.dataclass(frozen=True)
class Text:
    text: str
    lead: bool = False  # the summary: larger type


@dataclasses.dataclass(frozen=True)
class Note:
    """A remark or warning, set apart."""

    text: str


@dataclasses.dataclass(frozen=True)
class Command:
    """A line to copy into a shell; it wraps where it is long, which copying leaves out."""

    text: str


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of {column: value}; columns in order of first appearance.

    A column whose values are all numbers (or None) is right-aligned; None is an em dash.

    Attributes:
      rows: the rows.
      caption: a line above the table.
      formats: column -> function from a value to its text; `number` where there is none.
      notes: for each row, column -> a small line below the value; none: no such lines.
      folded: shown closed, with the caption to open it.
    """

    rows: Sequence[Mapping[str, Any]]
    caption: str = ""
    formats: Mapping[str, Format] = dataclasses.field(default_factory=dict)
    notes: Sequence[Mapping[str, str]] = ()
    folded: bool = False


@dataclasses.dataclass(frozen=True)
class Figure:
    """A PNG, as bytes or as the path of a file, and its caption."""

    png: bytes | str | os.PathLike
    caption: str = ""


@dataclasses.dataclass(frozen=True)
class Gallery:
    """Figures side by side where the window is wide enough; large ones stand alone."""

    figures: Sequence[Figure]


Section = Heading | Text | Note | Command | Table | Figure | Gallery


def write_report(
    path: str | os.PathLike, title: str, sections: Sequence[Section], reload: int = 0
) -> None:
    """Writes a self-contained report: pictures inside, everything escaped, whole or not at all.

    reload: seconds after which a browser looks at the file again; 0: never.

    Raises:
      UserError: a picture that is missing or no PNG, or a file that cannot be written.
    """
    body = "\n".join(_render(section) for section in sections)
    again = f'\n<meta http-equiv="refresh" content="{reload}">' if reload else ""
    page = _PAGE.format(title=html.escape(title), reload=again, style=_STYLE, body=body)
    write_whole(path, page.encode())


def _render(section: Section) -> str:
    match section:
        case Heading(text):
            return f"<h2>{html.escape(text)}</h2>"
        case Text(text, lead):
            kind = ' class="lead"' if lead else ""
            return f"<p{kind}>{html.escape(text)}</p>"
        case Note(text):
            return f'<p class="note">{html.escape(text)}</p>'
        case Command(text):
            # A browser may break a line after a hyphen: inside of "--" that misleads.
            text = re.sub(r"\S*--\S+", r"<span>\g<0></span>", html.escape(text))
            return f"<pre><code>{text}</code></pre>"
        case Table():
            return _table(section)
        case Figure():
            return _figure(section)
        case Gallery(figures):
            return f'<div class="gallery">{"".join(map(_figure, figures))}</div>'
    raise TypeError(f"a report section of type {type(section).__name__}")


def _table(table: Table) -> str:
    columns = list(dict.fromkeys(column for row in table.rows for column in row))
    numeric = {c for c in columns if _is_numeric([row.get(c) for row in table.rows])}

    def cell(tag: str, column: str, text: str, note: str = "") -> str:
        align = ' class="n"' if column in numeric else ""
        below = f" <small>{html.escape(note)}</small>" if note else ""
        return f"<{tag}{align}>{html.escape(text)}{below}</{tag}>"

    head = "".join(cell("th", c, c) for c in columns)
    lines = []
    for row, notes in zip(table.rows, table.notes or [{}] * len(table.rows), strict=True):
        texts = {c: table.formats.get(c, number)(row.get(c)) for c in columns}
        lines.append("".join(cell("td", c, texts[c], notes.get(c, "")) for c in columns))
    caption = html.escape(table.caption)
    inside = f"<thead><tr>{head}</tr></thead><tbody>"
    inside += "".join(f"<tr>{line}</tr>" for line in lines) + "</tbody>"
    if table.folded:
        summary = f"<summary>{caption}</summary>"
        return f'<details>{summary}<div class="wide"><table>{inside}</table></div></details>'
    caption = f"<caption>{caption}</caption>" if caption else ""
    return f'<div class="wide"><table>{caption}{inside}</table></div>'


def _is_numeric(values: list[Any]) -> bool:
    values = [value for value in values if value is not None]
    kinds = (int, float, np.integer, np.floating)
    return bool(values) and all(isinstance(v, kinds) and not isinstance(v, bool) for v in values)


def _figure(figure: Figure) -> str:
    png, where = figure.png, "the picture"
    if not isinstance(png, bytes):
        where = str(png)
        try:
            png = pathlib.Path(png).read_bytes()
        except OSError as error:
            raise UserError(
                f"cannot read the picture {where}: {error.strerror or error}; "
                "expected a PNG file; make it before the report"
            ) from error
    if not png.startswith(_PNG):
        raise UserError(f"{where} begins with {png[:8]!r}: expected a PNG file; convert it")
    caption = html.escape(figure.caption)
    encoded = base64.b64encode(png).decode()
    shown = f"<figcaption>{caption}</figcaption>" if caption else ""
    # Stated in the PNG's header; with it the page does not jump while loading.
    width, height = (int.from_bytes(png[i : i + 4], "big") for i in (16, 20))
    large = ' class="large"' if width > _LARGE else ""
    return (
        f'<figure{large}><img src="data:image/png;base64,{encoded}" alt="{caption}" '
        f'width="{width}" height="{height}">{shown}</figure>'
    )


_STYLE = """
:root { color-scheme: light dark; --paper: #fafaf8; --ink: #24262a; --muted: #646a73;
  --rule: #dfe1e4; --box: #f0f1f2; --mark: #b8892c; }
@media (prefers-color-scheme: dark) { :root { --paper: #17191c; --ink: #e4e5e7; --muted: #a0a5ad;
  --rule: #34383d; --box: #212428; --mark: #d3a64a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 920px; margin: 0 auto; padding: 40px 20px 64px; }
h1, h2, p, pre { max-width: 780px; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 20px; font-weight: 650; }
h2 { font-size: 1.2rem; margin: 44px 0 10px; font-weight: 650; }
p { margin: 10px 0; overflow-wrap: anywhere; }
.lead { font-size: 1.08rem; line-height: 1.6; }
.note { border-left: 3px solid var(--mark); background: var(--box); padding: 8px 14px;
  border-radius: 0 6px 6px 0; }
pre { background: var(--box); border-radius: 6px; padding: 12px 14px; margin: 12px 0;
  white-space: pre-wrap; overflow-wrap: anywhere; font-size: 0.86rem; line-height: 1.5; }
pre span { display: inline-block; max-width: 100%; }
code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.wide { overflow-x: auto; margin: 14px 0; }
table { border-collapse: collapse; font-size: 0.88rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--muted); padding: 0 0 6px; }
th, td { padding: 5px 16px 5px 0; }
td:first-child:not(.n) { min-width: 8.6em; }
th { font-weight: 600; text-align: left; vertical-align: bottom;
  border-bottom: 1px solid var(--muted); }
td { border-bottom: 1px solid var(--rule); vertical-align: top; }
th:last-child, td:last-child { padding-right: 0; }
th.n, td.n { text-align: right; }
td.n { white-space: nowrap; }
td small { display: block; color: var(--muted); }
figure { margin: 20px 0 26px; max-width: 780px; }
.gallery { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(340px, 100%), 1fr));
  gap: 0 22px; align-items: start; }
.gallery .large { grid-column: 1 / -1; }
.gallery figure { margin: 10px 0 18px; max-width: none; }
img { display: block; max-width: 100%; height: auto; border-radius: 6px;
  border: 1px solid var(--rule); }
figcaption { color: var(--muted); font-size: 0.9rem; margin-top: 7px; }
details { margin: 14px 0; }
summary { cursor: pointer; color: var(--muted); }
""".strip()

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>{reload}
<style>
{style}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
{body}
</main>
</body>
</html>
"""
