"""Images with texts: a table in a folder of images, one example per line.

A CSV with a heading, or JSON lines, as in

    image,text,target                   {"image": "a.png", "text": "how many?", "target": ["two"]}
    a.png,how many dogs?,two
    b/c.jpg,what is it?,a cat&&cat

Images lie below the table's folder, by these names. How targets are written: `split_targets`; in
JSON lines a list holds several. All images are decoded once when the table is opened: an example
that cannot be read is an error then, not in the middle of training.
"""

import concurrent.futures
import csv
import dataclasses
import functools
import hashlib
import io
import json
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from maskgit_prompt.data.examples import BETWEEN, Columns, Examples, split_targets
from maskgit_prompt.data.images import Reader
from maskgit_prompt.data.names import legible
from maskgit_prompt.data.pixels import BROKEN, Preprocessing, decode_image, examine, reason
from maskgit_prompt.errors import UsageError, UserError

ENDINGS = (".csv", ".jsonl")
_DELIMITERS = ",;\t"


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of a table.

    Attributes:
      where: for messages: "train.csv, line 3".
      image: its name, for messages and in a folder.
    """

    where: str
    image: str
    texts: tuple[str, ...]
    targets: tuple[str, ...]
    weights: tuple[float, ...]


def image_text(
    path: str | os.PathLike,
    preprocessing: Preprocessing,
    columns: Columns | None = None,
    threads: int | None = None,
) -> Examples:
    """The examples of a table: a file, or the only one of its kind in a folder.

    Raises:
      UsageError: no such file, or several in the folder.
      UserError: a column that is missing, a line that does not fit, no lines at all, an image that
        is missing or broken; with the file and its line.
    """
    table = _table(pathlib.Path(path))
    columns = columns or Columns()
    lines = _json_lines if table.suffix.lower() == ".jsonl" else _csv_lines
    rows = [
        make_row(where, cells[0], cells[1:-1], cells[-1])
        for where, cells in lines(table, columns.all)
    ]

    def fetch(index: int) -> bytes:
        return (table.parent / rows[index].image).read_bytes()

    return make_examples(table, rows, fetch, preprocessing, threads)


def _table(path: pathlib.Path) -> pathlib.Path:
    if not path.is_dir():
        if path.is_file() and path.suffix.lower() in ENDINGS:
            return path
        found = "is neither a CSV (.csv) nor JSON lines (.jsonl)" if path.exists() else "is missing"
        raise UsageError(f"{path} {found}: name a table of images, texts and targets")
    tables = sorted(p for p in path.iterdir() if p.suffix.lower() in ENDINGS)
    if len(tables) != 1:
        found = ", ".join(legible(table.name) for table in tables) or "none"
        raise UsageError(
            f"{path} has several tables ({found}): name one of them"
            if tables
            else f"{path} has no table: expected a CSV (.csv) or JSON lines (.jsonl) beside its "
            "images"
        )
    return tables[0]


def read_text(path: pathlib.Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 (byte {error.start:,}): save it as UTF-8") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({reason(error)})") from error


# --- Lines ---------------------------------------------------------------------------------------


def _csv_lines(table: pathlib.Path, wanted: Sequence[str | int]) -> Iterator[tuple[str, list[str]]]:
    """(where, the cells of the wanted columns) of each line."""
    text = read_text(table)
    delimiter = max(_DELIMITERS, key=text.split("\n", 1)[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        heading = [cell.strip() for cell in next(reader, [])]
        for name in wanted:
            if name not in heading:
                raise UserError(
                    f"{table} has the columns {legible(', '.join(heading))[:200] or 'none'}: "
                    f"expected {name!r} among them; rename one, or say which it is"
                )
        places = [heading.index(name) for name in wanted]
        for cells in reader:
            where = f"{table}, line {reader.line_num}"
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(heading):
                raise UserError(
                    f"{where}: {len(cells)} cells, expected {len(heading)} as in the heading; put "
                    f"quotes around texts that have {delimiter!r} in them"
                )
            yield where, [cells[place].strip() for place in places]
    except csv.Error as error:
        raise UserError(
            f"{table}, line {reader.line_num}: {error}; expected a CSV with quotes closed"
        ) from error


def _json_lines(
    table: pathlib.Path, wanted: Sequence[str | int]
) -> Iterator[tuple[str, list[str]]]:
    """As `_csv_lines`; lists are joined as a CSV would have them."""
    for number, line in enumerate(read_text(table).split("\n"), 1):
        where = f"{table}, line {number}"
        if not line.strip():
            continue
        try:
            found = json.loads(line)
            if not isinstance(found, dict):
                raise ValueError("not an object")
        except ValueError as error:
            raise UserError(
                f"{where}: {error}; expected a JSON object in one line, as "
                '{"image": "a.png", "text": "…", "target": "…"}'
            ) from error
        for name in wanted:
            if name not in found:
                names = legible(", ".join(found))[:200] or "nothing"
                raise UserError(f"{where} has {names}: expected {name!r} among them")
        yield where, [_cell(found[name]) for name in wanted]


def _cell(value: object) -> str:
    values = value if isinstance(value, list) else [value]
    return BETWEEN.join("" if v is None else str(v).strip() for v in values)


def make_row(where: str, image: str, texts: Sequence[str], target: str) -> Row:
    """A row of cells.

    Raises:
      UserError: no image or no target.
    """
    try:
        targets, weights = split_targets(target)
    except ValueError as error:
        raise UserError(
            f"{where}: target {legible(target)[:80]!r} ({error}), expected answers and weights "
            "above 0 as 0.6|!+yes&&1|!+no"
        ) from error
    if not image or not targets:
        raise UserError(
            f"{where}: no {'target' if image else 'image'}: expected one in each line; fill it in "
            "or remove the line"
        )
    return Row(where, image, tuple(texts), targets, weights)


# --- Images --------------------------------------------------------------------------------------


def make_examples(
    table: pathlib.Path,
    rows: Sequence[Row],
    fetch: Callable[[int], bytes],
    preprocessing: Preprocessing,
    threads: int | None,
) -> Examples:
    """Looks at all images, in threads. fetch: of a row's number -> the bytes of its image.

    Raises:
      UserError: no rows, or an image that is missing or broken.
    """
    if not rows:
        raise UserError(f"{table} has no examples: expected one per line")

    def look(index: int) -> tuple[bytes, tuple[int, int]]:
        row = rows[index]
        try:
            data = fetch(index)
            return hashlib.sha256(data).digest(), examine(data, preprocessing).size
        except FileNotFoundError as error:
            raise UserError(
                f"{row.where}: no image {legible(row.image)} in {table.parent}: expected its path "
                "from there; add it or remove the line"
            ) from error
        except BROKEN as error:
            raise UserError(
                f"{row.where}: image {legible(row.image)} is broken ({reason(error)}): mend it or "
                "remove the line"
            ) from error

    with concurrent.futures.ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        seen = list(pool.map(look, range(len(rows))))
    digests = np.frombuffer(b"".join(digest for digest, _ in seen), np.uint8).reshape(-1, 32)
    told = [(row.texts, row.targets, row.weights) for row in rows]
    return Examples(
        name=table.stem,
        texts=tuple(row.texts for row in rows),
        targets=tuple(row.targets for row in rows),
        weights=tuple(row.weights for row in rows),
        rows=tuple(row.where for row in rows),
        sizes=np.array([size for _, size in seen]),
        fingerprint=hashlib.sha256(
            f"{preprocessing.recipe}|{json.dumps(told)}|".encode() + digests.tobytes()
        ).hexdigest(),
        read=Reader(
            lambda indices: [(data, data) for data in map(fetch, indices)],
            functools.partial(decode_image, preprocessing=preprocessing),
            [f"{row.where}: image {legible(row.image)}" for row in rows],
            digests,
            preprocessing.shape,
            threads,
        ),
    )
