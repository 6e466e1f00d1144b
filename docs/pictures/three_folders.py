"""Makes three_folders.png: real pictures, what `mini` makes of them, and what `mini64` does.

    python docs/pictures/three_folders.py data/targets runs

TARGETS is what `python benchmarks/pictures.py targets TARGETS` wrote. RUNS holds the workdirs
before-NAME and after-NAME of icons, textures and birds; docs/mini.md has the commands.
"""

import argparse
import pathlib

import matplotlib
from PIL import Image, ImageDraw, ImageFont

HERE = pathlib.Path(__file__).parent
CLASSES = {
    "icons": ("clocks", "flags", "hearts", "smileys"),
    "textures": ("brick", "grass", "gravel", "tissue"),
    "birds": ("birds",),
}
HEADS = ("Real", "Before: mini, 32 × 32", "After: mini64, 64 × 64")
PAPER, INK, MUTED = (250, 250, 248), (34, 36, 40), (104, 109, 117)
EACH, CELL, GAP = 7, 64, 4
LEFT, TOP, BETWEEN = 110, 60, 40  # width of the names; height of the heads; between two panels
PANEL = EACH * (CELL + GAP) - GAP


def square(path: pathlib.Path) -> Image.Image:
    """A picture on white, in the middle of a square of CELL pixels a side."""
    with Image.open(path) as image:
        picture = image.convert("RGBA")
    side = max(picture.size)
    cell = Image.new("RGBA", (side, side), "white")
    cell.alpha_composite(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    enlarge = Image.Resampling.LANCZOS if side > CELL else Image.Resampling.NEAREST
    return cell.convert("RGB").resize((CELL, CELL), enlarge)


def files(folder: pathlib.Path, spread: bool) -> list[pathlib.Path]:
    """EACH files of a folder: evenly spread, or the first."""
    found = sorted(path for path in folder.iterdir() if path.is_file())
    return [found[i * len(found) // EACH] if spread else found[i] for i in range(EACH)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("targets", type=pathlib.Path)
    parser.add_argument("runs", type=pathlib.Path)
    args = parser.parse_args()
    rows = [(folder, kind) for folder, kinds in CLASSES.items() for kind in kinds]
    width = LEFT + len(HEADS) * PANEL + (len(HEADS) - 1) * BETWEEN + 20
    picture = Image.new("RGB", (width, TOP + len(rows) * (CELL + GAP) + 16), PAPER)
    draw = ImageDraw.Draw(picture)
    fonts = pathlib.Path(matplotlib.get_data_path(), "fonts", "ttf")
    for i, head in enumerate(HEADS):
        bold = ImageFont.truetype(fonts / "DejaVuSans-Bold.ttf", 22)
        draw.text((LEFT + i * (PANEL + BETWEEN), 20), head, INK, bold)
    for row, (folder, kind) in enumerate(rows):
        y = TOP + row * (CELL + GAP)
        plain = ImageFont.truetype(fonts / "DejaVuSans.ttf", 20)
        draw.text((14, y + CELL // 2), kind, MUTED, plain, "lm")
        real = args.targets / folder
        shown = [files(real if kind == folder else real / kind, spread=True)]
        for run in ("before", "after"):
            shown.append(files(args.runs / f"{run}-{folder}" / "images" / kind, spread=False))
        for i, chosen in enumerate(shown):
            for column, path in enumerate(chosen):
                x = LEFT + i * (PANEL + BETWEEN) + column * (CELL + GAP)
                picture.paste(square(path), (x, y))
    picture.quantize(128).save(HERE / "three_folders.png", optimize=True)


if __name__ == "__main__":
    main()
