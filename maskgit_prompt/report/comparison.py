"""report.html of a comparison of methods."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from maskgit_prompt.report import curves
from maskgit_prompt.report.html import (
    Figure,
    Heading,
    Note,
    Section,
    Table,
    Text,
    aligned,
    fixed,
    number,
    percent,
    write_report,
)
from maskgit_prompt.report.pieces import Picture, flat_table, gallery, shots_in_words

_METHODS = {
    "prompt": "prompt tuning",
    "scratch": "from scratch",
    "full": "full fine-tuning",
    "untuned": "no tuning",
}


def comparison_report(
    path: str | os.PathLike,
    rows: Sequence[Mapping[str, Any]],
    pictures: Mapping[str, Picture],
    *,
    title: str = "Comparison",
    config: Mapping[str, Any] | None = None,
    warnings: Sequence[str] = (),
) -> None:
    """Writes a report of several methods trained on the same few images.

    Args:
      path: the HTML file.
      rows: one for each method and number of shots: "method", "shots" (images a class), and any of
        "accuracy", "frechet", "kid", "heldout_loss", "train_loss", "near_copies" (a fraction),
        "trainable", "seconds", "best_step"; None where a method has no such number.
      pictures: name -> PIL image, PNG bytes or PNG path; "METHOD/SHOTS" stands below the table of
        its shots, any other at the end with its name as caption.
      title: the page's title.
      config: settings, folded away at the end.
      warnings: remarks on top.

    Raises:
      UserError: a picture that is missing or no PNG, or a file that cannot be written.
    """
    pictures = dict(pictures)
    all_shots = sorted({row["shots"] for row in rows})
    sections: list[Section] = [
        Text(
            "The same images and the same number of steps for every method, each judged at its "
            "best held-out step. No single number decides: a method that memorizes its training "
            "images can score high on accuracy, and shows in held-out loss and near-copies.",
            lead=True,
        )
    ]
    sections += [Note(warning) for warning in warnings]
    sections += _leaders(rows, all_shots)
    sections += _bars(rows, all_shots)
    for shots in all_shots:
        sections.append(Heading(shots_in_words(shots)))
        chosen = [row for row in rows if row["shots"] == shots]
        sections.append(_comparison_table(chosen))
        keys = {_method(row): f"{row['method']}/{shots}" for row in chosen}
        sections += gallery(
            {
                f"{name}, {shots_in_words(shots)}": pictures.pop(k)
                for name, k in keys.items()
                if k in pictures
            }
        )
    sections += [Heading("Pictures")] if pictures else []
    sections += gallery({_METHODS.get(name, name): p for name, p in pictures.items()})
    sections += flat_table(config, "All settings", "setting", folded=True)
    write_report(path, title, sections)


_COLUMNS = {
    "accuracy": ("accuracy", percent),
    "frechet": ("Fréchet distance", number),
    "kid": ("KID", number),
    "heldout_loss": ("held-out loss", fixed(3)),
    "train_loss": ("training loss", fixed(3)),
    "near_copies": ("near-copies", percent),
    "trainable": ("trained parameters", number),
    "seconds": ("seconds", fixed(1)),
    "best_step": ("best step", number),
}


def _comparison_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    shown = [
        {"method": _method(row)} | {name: row.get(key) for key, (name, _) in _COLUMNS.items()}
        for row in rows
    ]
    formats = dict(_COLUMNS.values())
    for key in ("frechet", "kid"):
        formats[_COLUMNS[key][0]] = aligned([row.get(key) for row in rows])
    return Table(shown, formats=formats)


def _leaders(rows: Sequence[Mapping[str, Any]], all_shots: Sequence[int]) -> list[Section]:
    """A table of the best method by each measure; equally good ones are all named."""
    measures = {
        "accuracy": ("highest accuracy", max),
        "frechet": ("lowest Fréchet distance", min),
        "kid": ("lowest KID", min),
        "heldout_loss": ("lowest held-out loss", min),
    }
    table = []
    for shots in all_shots:
        line: dict[str, Any] = {"images a class": shots}
        for key, (name, best) in measures.items():
            scored = [row for row in rows if row["shots"] == shots and row.get(key) is not None]
            value = best((row[key] for row in scored), default=None)
            line[name] = ", ".join(_method(row) for row in scored if row[key] == value) or None
        table.append(line)
    return [Table(table)] if table else []


def _bars(rows: Sequence[Mapping[str, Any]], all_shots: Sequence[int]) -> list[Section]:
    sections: list[Section] = []
    for key, caption, kind in (
        ("accuracy", "Share of generated images read as their class; higher is better.", "percent"),
        ("frechet", "Fréchet distance to held-out real images; lower is better.", ""),
        ("heldout_loss", "Loss on held-out images; lower is better.", "dots"),
    ):
        groups = {
            shots_in_words(shots): {
                _method(row): row.get(key) for row in rows if row["shots"] == shots
            }
            for shots in all_shots
        }
        if any(value is not None for bars in groups.values() for value in bars.values()):
            name = _COLUMNS[key][0] + (" (%)" if kind == "percent" else "")
            chart = curves.bar_chart(groups, name, percent=kind == "percent", dots=kind == "dots")
            sections.append(Figure(chart, caption))
    return sections


def _method(row: Mapping[str, Any]) -> str:
    return _METHODS.get(row["method"], row["method"])
