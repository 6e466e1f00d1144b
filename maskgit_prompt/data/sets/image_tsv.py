"""Images with texts as OFA's files have them: lines of columns with tabs between, images in base64.

The files have no heading; columns are counted from 0. A line of the files published for

    captions      id, image id, caption, objects, image             Columns(4, (), 2)
    VQA           id, image id, question, answers, objects, image   Columns(5, (2,), 3)
    RefCOCO       id, image id, text, box, image                    Columns(4, (2,), 3)
    SNLI-VE       id, image id, image, hypothesis, caption, label   Columns(2, (4, 3), 5)

Files are larger than memory: images stay on disk and are found by where their lines begin.
"""

import base64
import binascii
import os
import pathlib

from maskgit_prompt.data.examples import Columns, Examples
from maskgit_prompt.data.names import legible
from maskgit_prompt.data.pixels import Preprocessing
from maskgit_prompt.data.sets.image_text import make_examples, make_row
from maskgit_prompt.errors import UsageError, UserError


def image_tsv(
    path: str | os.PathLike,
    preprocessing: Preprocessing,
    columns: Columns,
    threads: int | None = None,
) -> Examples:
    """The examples of a file of lines with tabs.

    Raises:
      UsageError: no such file.
      UserError: a line with too few columns, no lines at all, an image that is broken; with the
        file and its line.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise UsageError(f"no file {path}: name a file of lines with tabs between columns")
    rows, places, begin = [], [], 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                rows.append(_row(f"{path}, line {number}", line, columns))
                places.append((begin, len(line)))
            begin += len(line)

    def fetch(index: int) -> bytes:
        begin, length = places[index]
        with path.open("rb") as file:
            file.seek(begin)
            cell = _cells(file.read(length))[columns.image]
        # Standard or the alphabet for addresses, which the published files use.
        try:
            return base64.b64decode(cell.translate(_STANDARD), validate=True)
        except binascii.Error as error:
            raise ValueError(f"not base64: {error}") from error

    return make_examples(path, rows, fetch, preprocessing, threads)


_STANDARD = bytes.maketrans(b"-_", b"+/")


def _cells(line: bytes) -> list[bytes]:
    return line.rstrip(b"\r\n").split(b"\t")


def _row(where: str, line: bytes, columns: Columns):
    cells = _cells(line)
    last = max(columns.all)
    if len(cells) <= last:
        begins = legible(line[:40].decode("utf-8", "replace"))
        raise UserError(
            f"{where}: {len(cells)} columns, expected at least {last + 1}: the line begins with "
            f"{begins!r}; say which columns hold image, texts and target, counted from 0"
        )
    try:
        texts = [cells[column].decode("utf-8").strip() for column in columns.texts]
        target = cells[columns.target].decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: not UTF-8 ({error.reason}): save the file as UTF-8") from error
    image = f"in column {columns.image}" if cells[columns.image] else ""
    return make_row(where, image, texts, target)
