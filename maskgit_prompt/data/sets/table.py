"""A table of files and classes: a CSV as people and programs write them."""

import csv
import dataclasses
import io
import posixpath
import re
from collections.abc import Collection, Iterator

from maskgit_prompt.data.names import composed, legible
from maskgit_prompt.data.sets.leftovers import is_part
from maskgit_prompt.errors import UserError

EXPECTED = "file,class"
NAMES = ("labels.csv", "labels.tsv")

# Headings, in lower case and without what is not a letter.
_FILE = {
    *("file", "files", "filename", "filenames", "filepath", "path", "fname", "image", "images"),
    *("imageid", "imagename", "imagefile", "imagefilename", "imagepath", "img", "imgid"),
    *("imgname", "imgpath", "id", "picture", "photo", "uid", "uuid"),
}
_CLASS = (  # the first of these that is there
    *("class", "classname", "label", "labelname", "category", "categoryname", "classlabel"),
    *("species", "breed", "target", "tag", "type", "kind", "group", "classes", "labels"),
    *("categories", "classid", "labelid", "categoryid", "y"),
)
_DELIMITERS = ",;\t|"
_ENOUGH = 0.5  # of a column's cells that name images: it is the column of files


@dataclasses.dataclass(frozen=True)
class Table:
    """Lines of a table.

    Attributes:
      title: for messages.
      rows: (number of the line, file, class).
      heading: which of several columns has the classes, as ", column 'class'".
      notes: what a user should know of the other columns.
    """

    title: str
    rows: list[tuple[int, str, str]]
    heading: str = ""
    notes: tuple[str, ...] = ()


def is_table(name: str) -> bool:
    """Whether a file's name ends like a table's: "train.CSV" does, "train.txt" does not."""
    return name.lower().endswith((".csv", ".tsv"))


def parse(text: str, title: str, files: "Files") -> Table | None:
    """Reads a table; None: its columns are not understood.

    The columns are known by their headings, as "id,label" or "Filename;Category", and where these
    say nothing by the files they name; other columns are not looked at. Commas, semicolons, tabs or
    bars stand between cells, with or without spaces and quotes.

    Args:
      files: those that there are, to know their column by.

    Raises:
      UserError: a line without a file or a class, or a quote that is not closed.
    """
    lines = _lines(text, title)
    if not lines:
        return None
    columns, headed = _columns(lines, files)
    if columns is None:
        return None
    file, label = columns
    rows, header, lines = [], lines[0][1] if headed else [], lines[1 if headed else 0 :]
    for number, cells in lines:
        if len(cells) <= max(columns) or not cells[file] or not cells[label]:
            raise UserError(
                f"{title}, line {number}: {legible(','.join(cells))[:80]!r}, expected a file and "
                "its class"
            )
        rows.append((number, cells[file], legible(cells[label])))
    heading = f", column {legible(header[label])!r}" if len(header) > 2 else ""
    return Table(title, rows, heading, tuple(_parts(title, header, lines, columns)))


def _parts(title: str, header: list[str], lines: list, columns: tuple[int, int]) -> Iterator[str]:
    """Notes of columns that say which part of a data set a file belongs to."""
    for column, name in enumerate(header):
        found = {cells[column] for _, cells in lines if len(cells) > column} - {""}
        if column not in columns and len(found) > 1 and all(map(is_part, found)):
            parts = ", ".join(map(legible, sorted(found)))
            yield (
                f"{title} has parts of a data set in its column {legible(name)!r} ({parts}): the "
                "images of all are taken; leave lines out to take some"
            )


def first_line(text: str) -> str:
    """For messages: how a table begins."""
    return legible(text.split("\n", 1)[0].strip())[:80]


def _lines(text: str, title: str) -> list[tuple[int, list[str]]]:
    """(number of the line, its cells), without empty ones."""
    first = text.split("\n", 1)[0]
    told = re.fullmatch(r"sep=(.)\s*", first)  # as Excel writes
    outside = re.sub(r'"[^"]*"', "", first)
    delimiter = told[1] if told else max(_DELIMITERS, key=outside.count)
    try:
        return _cells(text, title, delimiter, bool(told))
    except UserError:
        # "a" ; "b": spaces behind a quote are wrong in a CSV, but people write them.
        spaced = re.sub(rf'"[ \t]+(?=({re.escape(delimiter)}|\r?$))', '"', text, flags=re.MULTILINE)
        if spaced == text:
            raise
        return _cells(spaced, title, delimiter, bool(told))


def _cells(text: str, title: str, delimiter: str, told: bool) -> list[tuple[int, list[str]]]:
    """As `_lines`; told: the first line says what the delimiter is, and is none of the table.

    Raises:
      UserError: quotes that are not closed.
    """
    table = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    lines = []
    try:
        for cells in table:
            cells = [cell.strip() for cell in cells]
            if any(cells) and not (told and table.line_num == 1):
                lines.append((table.line_num, cells))
    except csv.Error as error:
        raise UserError(
            f"{title}, line {table.line_num}: {error}; expected a CSV with quotes closed"
        ) from error
    return lines


def _columns(
    lines: list[tuple[int, list[str]]], files: "Files"
) -> tuple[tuple[int, int] | None, bool]:
    """((column of files, column of classes) or None, whether the first line is a heading)."""
    header = lines[0][1]
    words = [re.sub(r"[^a-z]", "", cell.lower()) for cell in header]
    likely = [i for i, word in enumerate(words) if word in _FILE]
    if len(likely) != 1:
        some = [cells for _, cells in lines[1:]] or [header]
        named = lambda i: sum(len(cells) > i and bool(files.find(cells[i])) for cells in some)
        best = max(likely or range(len(header)), key=named)
        if named(best) < _ENOUGH * len(some):
            return None, True
        likely = [best]
    [file] = likely
    headed = not files.find(header[file])
    others = [i for i in range(len(header)) if i != file]
    headings = [word for word in _CLASS if headed and word in [words[i] for i in others]]
    if headings:
        return (file, next(i for i in others if words[i] == headings[0])), headed
    return ((file, others[0]) if len(others) == 1 else None), headed


# --- Which file a cell names ---------------------------------------------------------------------


class Files:
    """Image files by what a table may call them.

    A cell is a file's path, else its path in upper or lower case, else that without the ending,
    else the file's own name in whatever folder, else that without the ending. An absolute path, as
    of the machine that the table was made on, means the file that the longest end of it names.
    """

    def __init__(self, images: Collection[str]):
        self.images = images
        self._by_form: dict[int, dict[str, list[str]]] = {}  # made when they are asked for

    def find(self, cell: str) -> list[str]:
        r"""The files that a cell may mean: of a/0.png and b/0.png C:\data\b\0.png means b/0.png."""
        cell = composed(cell).replace("\\", "/")
        relative = re.sub(r"^([A-Za-z]:)?/+", "", cell)
        found = self._called(re.sub(r"^(\./)+", "", relative))
        while not found and relative != cell and "/" in relative:
            cell, relative = relative, relative.partition("/")[2]
            found = self._called(relative)
        return found

    def _called(self, cell: str) -> list[str]:
        for level in range(len(_FORMS) if "/" not in cell else _FORMS_OF_PATHS):
            if level not in self._by_form:
                forms = self._by_form[level] = {}
                for name in self.images:
                    forms.setdefault(_FORMS[level](composed(name)), []).append(name)
            if found := self._by_form[level].get(cell.casefold() if level else cell):
                return found
        return []


_stem = lambda name: posixpath.splitext(name.casefold())[0]
_FORMS = (
    lambda name: name,
    str.casefold,
    _stem,
    lambda name: posixpath.basename(name.casefold()),
    lambda name: posixpath.basename(_stem(name)),
)
_FORMS_OF_PATHS = 3  # the first ones


def assign(table: Table, files: Files, where: str) -> tuple[dict[str, str], list[str]]:
    """({image: class}, cells that name no image).

    Raises:
      UserError: a cell that may mean several images, or an image of two classes.
    """
    classes: dict[str, str] = {}
    unknown = []
    for number, cell, label in table.rows:
        found = files.find(cell)
        if not found:
            unknown.append(cell)
            continue
        if len(found) > 1:
            names = " and ".join(map(legible, sorted(found)[:2]))
            raise UserError(
                f"{table.title}, line {number}: {legible(cell)} may be {names} in {where}; "
                "expected the file's path and ending: write one of these"
            )
        if classes.get(found[0]) == label:  # as in tables of boxes: one line for each
            continue
        if found[0] in classes:
            raise UserError(
                f"{table.title}, line {number}: {legible(cell)} for the second time, of another "
                "class; expected one class for every file: remove a line"
            )
        classes[found[0]] = label
    return classes, unknown
