"""Pieces of which all reports are made; of no values they make no piece."""

import os
from collections.abc import Mapping
from typing import Any

from PIL import Image

from maskgit_prompt.metrics.formats import number
from maskgit_prompt.report import sheets
from maskgit_prompt.report.html import Figure, Gallery, Section, Table

Picture = Image.Image | bytes | str | os.PathLike


def figure(picture: Picture | None, caption: str) -> list[Section]:
    """A picture above its caption, or nothing where there is none."""
    if picture is None:
        return []
    png = sheets.png_bytes(picture) if isinstance(picture, Image.Image) else picture
    return [Figure(png, sentence(caption))]


def gallery(pictures: Mapping[str, Picture]) -> list[Section]:
    """Pictures side by side, caption -> picture."""
    figures = [found for name, p in pictures.items() for found in figure(p, name)]
    return [Gallery(figures)] if figures else []


def flat_table(
    values: Mapping[str, Any] | None, caption: str, name: str, folded: bool = False
) -> list[Section]:
    """A table of nested values, {"a": {"b": 1}} as a row "a.b", 1."""
    rows = [{name: key, "value": text} for key, text in _flatten(values or {})]
    return [Table(rows, caption, folded=folded)] if rows else []


def shots_in_words(shots: int) -> str:
    """1 is "1 image per class", 2 "2 images per class"."""
    return f"{shots} image{'' if shots == 1 else 's'} per class"


def _flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """{"model": {"width": 256}} as [("model.width", "256")]; lists joined by commas."""
    rows = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            rows += _flatten(value, f"{prefix}{key}.")
        elif isinstance(value, (list, tuple)):
            rows.append((f"{prefix}{key}", ", ".join(map(str, value))))
        else:
            # As written in the config: a seed of 2020 is not "2,020".
            rows.append((f"{prefix}{key}", number(None) if value is None else str(value)))
    return rows


def sentence(text: str) -> str:
    """With a capital: "a sheet of A" is "A sheet of A"."""
    return text[:1].upper() + text[1:]
