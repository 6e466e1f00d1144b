"""Contact sheets: labelled grids of small images."""

import functools
import importlib.util
import io
import os
import pathlib
import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from maskgit_prompt.errors import UserError
from maskgit_prompt.storage.files import write_whole

_PAPER = (250, 250, 248)
_INK = (34, 36, 40)
_MUTED = (104, 109, 117)
_MARGIN = 20
_GAP = 4
# Large enough to read at half size, as a report shows two sheets side by side.
_LABEL_SIZE = 20
_TITLE_SIZE = 24
# Labels too wide for their place are set smaller, down to these sizes, and only then cut.
_SMALLEST_ROW_LABEL = 16
_SMALLEST_COLUMN_LABEL = 11
# Row labels may always be so wide, and on wide sheets up to a third of the sheet.
_LABEL_WIDTH = 260
_LABEL_GAP = 12
# Where no scale is given, images smaller than this are enlarged up to it.
_CELL = 64
# The same where each image has a caption of its own; larger ones are shrunk to it.
_CARD = 160
_CARD_GAP = 18
_CAPTION_SIZE, _SMALLEST_CAPTION = 16, 13


def grid(
    images: np.ndarray,
    row_labels: Sequence[str] | None = None,
    col_labels: Sequence[str] | None = None,
    scale: float | None = None,
    title: str = "",
    present: np.ndarray | None = None,
) -> Image.Image:
    """A contact sheet of images on light paper.

    Args:
      images: uint8 [rows, cols, S, S, 3].
      row_labels: a name for each row, on the left; long ones are set smaller, then cut in the
        middle, "class_with…name_000". Latin, Greek, Cyrillic and more, but not Chinese, Japanese
        or Korean: the font (DejaVu Sans) draws those as boxes.
      col_labels: a name for each column, on top, no wider than the column.
      scale: whole numbers enlarge by repeating pixels, fractions below 1 shrink smoothly;
        none: the largest whole number for which an image takes no more than 64 pixels, or 1.
      title: a line above all.
      present: bool [rows, cols], False where there is no image (a class with fewer of them).

    Raises:
      UserError: another dtype or shape, labels that do not fit in number, a scale of 2.5, or no
        font because matplotlib is not installed.
    """
    rows, cols, height, width = _check(images, row_labels, col_labels, present)
    if scale is None:
        scale = max(1, _CELL // max(height, width))
    if scale <= 0 or (scale > 1 and scale != int(scale)):
        raise UserError(f"scale {scale}: expected 1, 2, 3, ... or a fraction between 0 and 1")
    cell_h, cell_w = max(1, round(height * scale)), max(1, round(width * scale))
    title, title_font = unicodedata.normalize("NFC", title), _font(_TITLE_SIZE)

    across = cols * (cell_w + _GAP) - _GAP
    # A third of the sheet is half of the rest.
    third = (across + 2 * _MARGIN + _LABEL_GAP) // 2
    row_names, row_font = _fit(row_labels or (), max(_LABEL_WIDTH, third), _SMALLEST_ROW_LABEL)
    col_names, col_font = _fit(col_labels or (), cell_w + _GAP - 6, _SMALLEST_COLUMN_LABEL)
    left = _MARGIN
    if row_names:
        left += int(np.ceil(max(map(row_font.getlength, row_names)))) + _LABEL_GAP
    top = _MARGIN + (_TITLE_SIZE + 14 if title else 0)
    columns_at = top
    top += _LABEL_SIZE + 8 if col_names else 0
    full_width = left + across + _MARGIN
    if title:
        full_width = max(full_width, int(np.ceil(title_font.getlength(title))) + 2 * _MARGIN)
    sheet = Image.new("RGB", (full_width, top + rows * (cell_h + _GAP) - _GAP + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(sheet)

    if title:
        draw.text((_MARGIN, _MARGIN - 2), title, _INK, title_font)
    for j, name in enumerate(col_names):
        middle = left + j * (cell_w + _GAP) + cell_w // 2
        draw.text((middle, columns_at + _LABEL_SIZE), name, _MUTED, col_font, anchor="ms")
    resample = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS
    for i in range(rows):
        y = top + i * (cell_h + _GAP)
        if row_names:
            place = (left - _LABEL_GAP, y + cell_h // 2)
            draw.text(place, row_names[i], _MUTED, row_font, anchor="rm")
        for j in range(cols):
            if present is None or present[i, j]:
                cell = Image.fromarray(np.ascontiguousarray(images[i, j]))
                cell = cell.resize((cell_w, cell_h), resample)
                sheet.paste(cell, (left + j * (cell_w + _GAP), y))
    return sheet


def cards(images: np.ndarray, captions: Sequence[Sequence[str]], cols: int = 4) -> Image.Image:
    """Images side by side, row by row, each above the lines of its own caption.

    Five images and four columns are a row of four and a row of one.

    Args:
      images: uint8 [n, S, S, 3].
      captions: [n] of as many lines each; the first is set darker. Wide ones are cut as in `grid`.

    Raises:
      UserError: as `grid`.
    """
    _check(images[:, None], captions, None, None)
    count, height, width = images.shape[:3]
    cols = min(cols, count)
    larger = max(height, width)
    scale = max(1, _CARD // larger) if larger <= _CARD else _CARD / larger
    cell_h, cell_w = max(1, round(height * scale)), max(1, round(width * scale))
    lines = len(captions[0])
    texts = [line for caption in captions for line in caption]
    texts, font = _fit(texts, cell_w, _SMALLEST_CAPTION, _CAPTION_SIZE)
    step = _CAPTION_SIZE + 5
    card_h, rows = cell_h + 6 + lines * step, -(-count // cols)
    across = cols * (cell_w + _CARD_GAP) - _CARD_GAP + 2 * _MARGIN
    down = rows * (card_h + _CARD_GAP) - _CARD_GAP + 2 * _MARGIN
    sheet = Image.new("RGB", (across, down), _PAPER)
    draw = ImageDraw.Draw(sheet)
    resample = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS
    for i, image in enumerate(images):
        x = _MARGIN + i % cols * (cell_w + _CARD_GAP)
        y = _MARGIN + i // cols * (card_h + _CARD_GAP)
        cell = Image.fromarray(np.ascontiguousarray(image)).resize((cell_w, cell_h), resample)
        sheet.paste(cell, (x, y))
        for line in range(lines):
            ink = _MUTED if line else _INK
            place = (x, y + cell_h + 6 + line * step)
            draw.text(place, texts[i * lines + line], ink, font)
    return sheet


def by_class(images: np.ndarray, labels: np.ndarray, classes: int, cols: int) -> tuple:
    """The first `cols` images of each class as a grid: ([classes, cols, S, S, 3], present).

    Labels (0, 1, 0), two classes, two columns: row 0 holds images 0 and 2, row 1 image 1 and
    a gap; present is ((True, True), (True, False)).
    """
    cells = np.zeros((classes, cols, *images.shape[1:]), np.uint8)
    present = np.zeros((classes, cols), bool)
    for label in range(classes):
        chosen = np.flatnonzero(np.asarray(labels) == label)[:cols]
        cells[label, : len(chosen)] = images[chosen]
        present[label, : len(chosen)] = True
    return cells, present


def png_bytes(image: Image.Image) -> bytes:
    """The image as a PNG file's bytes; equal images give equal bytes."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def save_png(image: Image.Image, path: str | os.PathLike) -> None:
    """Writes the image to path as PNG, whole or not at all.

    Raises:
      UserError: the file cannot be written.
    """
    write_whole(path, png_bytes(image))


def save_all(pictures: Mapping[str, Image.Image | bytes], folder: pathlib.Path) -> None:
    """Writes each picture, or PNG's bytes, to FOLDER/NAME.png.

    Raises:
      UserError: a file cannot be written.
    """
    for name, picture in pictures.items():
        if isinstance(picture, bytes):
            write_whole(folder / f"{name}.png", picture)
        else:
            save_png(picture, folder / f"{name}.png")


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    # Pillow's own font knows Latin letters alone. find_spec, because importing matplotlib takes a
    # second and writes a font cache.
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise UserError("matplotlib is not installed, and its font is needed: pip install it")
    fonts = pathlib.Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"
    return ImageFont.truetype(str(fonts / "DejaVuSans.ttf"), size)


def _fit(
    names: Sequence[str], width: float, smallest: int, largest: int = _LABEL_SIZE
) -> tuple[list[str], ImageFont.FreeTypeFont]:
    """The names and the largest font in which all fit `width` pixels.

    Where not even the smallest does, those that are too wide are cut in the middle.
    """
    # Folders made on a Mac write "ö" as two characters, which a font draws side by side.
    names = [unicodedata.normalize("NFC", str(name)) for name in names]
    for size in range(largest, smallest - 1, -1):
        font = _font(size)
        if all(font.getlength(name) <= width for name in names):
            return names, font
    return [_shorten(name, font, width) for name in names], font


def _shorten(name: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """The name, or its beginning, "…" and its end if it is wider than `width` pixels.

    Names of classes often differ in a number at the end: with room for five, "bird_012" is "bi…12".
    """
    shown = name
    for kept in range(len(name) - 1, -1, -1):
        if font.getlength(shown) <= width:
            break
        end = kept // 2
        shown = name[: kept - end].rstrip() + "…" + name[len(name) - end :].lstrip()
    return shown


def _check(images, row_labels, col_labels, present) -> tuple[int, int, int, int]:
    if images.dtype != np.uint8 or images.ndim != 5 or images.shape[-1] != 3 or not images.size:
        raise UserError(
            f"sheet of {images.dtype} {list(images.shape)}: "
            "expected uint8 [rows, cols, S, S, 3] with at least one image"
        )
    rows, cols, height, width = images.shape[:4]
    for kind, labels, count in (("row", row_labels, rows), ("column", col_labels, cols)):
        if labels is not None and len(labels) != count:
            raise UserError(f"{len(labels)} {kind} labels for {count} {kind}s: expected as many")
    if present is not None and np.shape(present) != (rows, cols):
        raise UserError(f"present of shape {np.shape(present)}: expected {(rows, cols)}")
    return rows, cols, height, width
