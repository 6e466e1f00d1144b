"""Small images with texts, in the forms that people and the reference keep them in."""

import base64
import io
import json
import pathlib

from PIL import Image

COLOURS = {"red": (255, 0, 0), "blue": (0, 0, 255), "grey": (128, 128, 128)}
SIZES = {"red": (40, 20), "blue": (20, 30), "grey": (16, 16)}


def png(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", SIZES[colour], COLOURS[colour]).save(buffer, "PNG")
    return buffer.getvalue()


def folder(path: pathlib.Path) -> pathlib.Path:
    """A folder with red.png, blue.png and deep/grey.png."""
    (path / "deep").mkdir(parents=True, exist_ok=True)
    for colour in COLOURS:
        where = path / "deep" if colour == "grey" else path
        (where / f"{colour}.png").write_bytes(png(colour))
    return path


def csv_of(path: pathlib.Path, *lines: str, name: str = "train.csv") -> pathlib.Path:
    (path / name).write_text("\n".join(["image,text,target", *lines]) + "\n")
    return path


def json_of(path: pathlib.Path, *objects: dict) -> pathlib.Path:
    (path / "train.jsonl").write_text("".join(json.dumps(o) + "\n" for o in objects))
    return path


def tsv_of(path: pathlib.Path, *lines: tuple, encode=base64.urlsafe_b64encode) -> pathlib.Path:
    """Cells that are colours in bytes, as b"red", become their images in base64."""
    cell = lambda c: encode(png(c.decode())).decode() if isinstance(c, bytes) else c
    file = path / "val.tsv"
    file.write_text("".join("\t".join(map(cell, line)) + "\n" for line in lines))
    return file
