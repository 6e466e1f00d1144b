"""Contact sheets: labelled grids of small images."""

import io
import os
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from maskgit_prompt.errors import UserError
from maskgit_prompt.files import write_whole

_PAPER = (250, 250, 248)
_INK = (34, 36, 40)
_MUTED = (104, 109, 117)
_MARGIN = 20
_GAP = 4
# Large enough to read at half size, as a report shows two sheets side by side.
_LABEL_SIZE = 20
_TITLE_SIZE = 24
_LABEL_WIDTH = 260
# Where no scale is given, images smaller than this are enlarged up to it.
_CELL = 64


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
      row_labels: a name for each row, on the left; long ones end in "…".
      col_labels: a name for each column, on top.
      scale: whole numbers enlarge by repeating pixels, fractions below 1 shrink smoothly;
        none: the largest whole number for which an image takes no more than 64 pixels, or 1.
      title: a line above all.
      present: bool [rows, cols], False where there is no image (a class with fewer of them).

    Raises:
      UserError: another dtype or shape, labels that do not fit in number, or a scale of 2.5.
    """
    rows, cols, height, width = _check(images, row_labels, col_labels, present)
    if scale is None:
        scale = max(1, _CELL // max(height, width))
    if scale <= 0 or (scale > 1 and scale != int(scale)):
        raise UserError(f"scale {scale}: expected 1, 2, 3, ... or a fraction between 0 and 1")
    cell_h, cell_w = max(1, round(height * scale)), max(1, round(width * scale))
    font = ImageFont.load_default(_LABEL_SIZE)
    title_font = ImageFont.load_default(_TITLE_SIZE)

    row_names = [_shorten(name, font, _LABEL_WIDTH) for name in row_labels or ()]
    col_names = [_shorten(name, font, cell_w + _GAP - 6) for name in col_labels or ()]
    left = _MARGIN + (max(font.getlength(n) for n in row_names) + 12 if row_names else 0)
    left = int(np.ceil(left))
    top = _MARGIN + (_TITLE_SIZE + 14 if title else 0)
    columns_at = top
    top += _LABEL_SIZE + 8 if col_names else 0
    full_width = left + cols * (cell_w + _GAP) - _GAP + _MARGIN
    if title:
        full_width = max(full_width, int(title_font.getlength(title)) + 2 * _MARGIN)
    sheet = Image.new("RGB", (full_width, top + rows * (cell_h + _GAP) - _GAP + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(sheet)

    if title:
        draw.text((_MARGIN, _MARGIN - 2), title, _INK, title_font)
    for j, name in enumerate(col_names):
        middle = left + j * (cell_w + _GAP) + cell_w // 2
        draw.text((middle, columns_at + _LABEL_SIZE), name, _MUTED, font, anchor="ms")
    resample = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS
    for i in range(rows):
        y = top + i * (cell_h + _GAP)
        if row_names:
            draw.text((left - 12, y + cell_h // 2), row_names[i], _MUTED, font, anchor="rm")
        for j in range(cols):
            if present is None or present[i, j]:
                cell = Image.fromarray(np.ascontiguousarray(images[i, j]))
                cell = cell.resize((cell_w, cell_h), resample)
                sheet.paste(cell, (left + j * (cell_w + _GAP), y))
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


def _shorten(name: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """The name, or its beginning and "…" if it is wider than `width` pixels."""
    name = str(name)
    if font.getlength(name) <= width:
        return name
    while name and font.getlength(name + "…") > width:
        name = name[:-1]
    return name.rstrip() + "…"


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
