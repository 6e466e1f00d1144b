"""Makes overview.png, the picture at the top of the README, from sheets of the quickstart.

    python docs/pictures/overview.py

The sheets beside this file are samples/real.png, samples/untuned.png and samples/prompt.png of
`make quickstart`; copy them here after a new run.
"""

import pathlib

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

HERE = pathlib.Path(__file__).parent
PAPER, INK, MUTED = (250, 250, 248), (34, 36, 40), (104, 109, 117)
CELL, GAP, MARGIN = 64, 4, 20  # as report/sheets.py lays them out
COLUMNS, ROWS = 10, 4
ARROW, TITLE = 110, 128  # width between two panels; height above them
PANEL = COLUMNS * (CELL + GAP) - GAP


def cells(name: str) -> np.ndarray:
    """The images on a sheet, uint8 [rows, columns, CELL, CELL, 3]; gaps in a row are left out."""
    sheet = np.asarray(Image.open(HERE / name).convert("RGB"))
    first_row = sheet[MARGIN : MARGIN + CELL]
    drawn = (first_row != PAPER).any(-1).all(0)  # [width]: labels never fill a row's height
    left = int(np.argmax(drawn))
    columns = np.flatnonzero(drawn[left :: CELL + GAP]).max() + 1
    rows = (len(sheet) - 2 * MARGIN + GAP) // (CELL + GAP)
    step = CELL + GAP
    return np.stack(
        [
            [sheet[y : y + CELL, x : x + CELL] for x in left + step * np.arange(columns)]
            for y in MARGIN + step * np.arange(rows)
        ]
    )


def panel(images: np.ndarray) -> Image.Image:
    """Images [ROWS, COLUMNS, …] on paper."""
    step = CELL + GAP
    picture = Image.new("RGB", (PANEL, ROWS * step - GAP), PAPER)
    for i in range(ROWS):
        for j in range(COLUMNS):
            picture.paste(Image.fromarray(images[i, j]), (j * step, i * step))
    return picture


def main() -> None:
    by_class = [cells(f"quickstart_{name}.png")[:, :ROWS] for name in ("real", "generated")]
    real, generated = (np.swapaxes(images, 0, 1) for images in by_class)  # a column per class
    untuned = cells("quickstart_untuned.png")[:ROWS, :COLUMNS]
    panels = (
        ("Your images", "here: up to twenty of a class", real),
        ("The frozen model", "has never seen this style", untuned),
        ("The same model, with a prompt", "a 71 kB file, tuned in two minutes", generated),
    )
    width = 2 * MARGIN + len(panels) * PANEL + (len(panels) - 1) * ARROW
    picture = Image.new("RGB", (width, TITLE + ROWS * (CELL + GAP) - GAP + 2 * MARGIN), PAPER)
    draw = ImageDraw.Draw(picture)
    fonts = pathlib.Path(matplotlib.get_data_path(), "fonts", "ttf")
    title = ImageFont.truetype(fonts / "DejaVuSans-Bold.ttf", 38)
    text = ImageFont.truetype(fonts / "DejaVuSans.ttf", 34)
    for i, (head, note, images) in enumerate(panels):
        x = MARGIN + i * (PANEL + ARROW)
        draw.text((x, MARGIN), head, INK, title)
        draw.text((x, MARGIN + 52), note, MUTED, text)
        shown = panel(images)
        picture.paste(shown, (x, MARGIN + TITLE))
        if i:
            sign = "+→"[i - 1]
            middle = (x - ARROW // 2, MARGIN + TITLE + shown.height // 2)
            draw.text(middle, sign, MUTED, ImageFont.truetype(fonts / "DejaVuSans.ttf", 84), "mm")
    picture.save(HERE / "overview.png", optimize=True)


if __name__ == "__main__":
    main()
