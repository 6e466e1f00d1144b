"""The files of a job that attacks models: accuracy over the size of the change."""

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from maskgit_prompt.metrics import intervals
from maskgit_prompt.metrics.formats import number, percent
from maskgit_prompt.report import curves, results
from maskgit_prompt.report.html import Heading, Section, Table, Text, write_report
from maskgit_prompt.report.pieces import figure, flat_table
from maskgit_prompt.storage.files import write_whole

Row = Mapping[str, Any]
NAMES = {"fgsm": "FGSM", "pgd": "PGD"}


def row_of(
    file: str, method: str, attack: str, epsilon: float, accuracy: float, images: int
) -> dict[str, Any]:
    """One model under one attack, as results.json has it.

    Args:
      attack: of NAMES; epsilon: the largest change, in pixel values.
      accuracy: the share of `images`, a number of them, that the model gets right.
    """
    return {
        "classifier": file,
        "method": method,
        "attack": attack,
        "epsilon": epsilon,
        "accuracy": accuracy,
        "interval": intervals.of_share(accuracy, images),
    }


def write(
    home: pathlib.Path, rows: Sequence[Row], title: str, images: int, config: Mapping[str, Any]
) -> None:
    """Writes results.json, results.md and report.html.

    Raises:
      UserError: a file cannot be written.
    """
    values = {"rows": rows, "images": images, "config": config}
    results.write_json(home / "results.json", values)
    write_whole(home / "results.md", markdown(rows, title, images).encode())
    attacked_report(home / "report.html", rows, title, images, config)


def by_epsilon(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """A line for each attack and classifier, a column for each size of the change."""
    lines: dict[tuple, dict[str, Any]] = {}
    names = _names(rows)
    for row in rows:
        name = names[row["classifier"]]
        line = lines.setdefault(
            (row["attack"], row["classifier"]),
            {"attack": NAMES[row["attack"]], "classifier": name},
        )
        line[f"{row['epsilon']:g}"] = row["accuracy"]
    return list(lines.values())


def _names(rows: Sequence[Row]) -> dict[str, str]:
    """File -> its method, or method and file where two have the same."""
    methods = {row["classifier"]: row["method"] for row in rows}
    several = len(set(methods.values())) < len(methods)
    return {file: f"{m} ({file})" if several else m for file, m in methods.items()}


def markdown(rows: Sequence[Row], title: str, images: int) -> str:
    """results.md."""
    found = by_epsilon(rows)
    names = list(found[0])
    text = lambda x: percent(x) if isinstance(x, float) else str(x)
    lines = [names, ["---"] * len(names), *([text(line[name]) for name in names] for line in found)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"# {title}\n\n{_words(images)}\n\n{table}\n"


def _words(images: int) -> str:
    return (
        f"Accuracy on {number(images)} held-out images that were changed to mislead the "
        "model. Columns: the largest change of a pixel's value, of 255."
    )


def attacked_report(
    path: str | os.PathLike,
    rows: Sequence[Row],
    title: str,
    images: int,
    config: Mapping[str, Any],
) -> None:
    """Writes the report.

    Raises:
      UserError: the file cannot be written.
    """
    sections: list[Section] = [Text(_words(images), lead=True)]
    found = by_epsilon(rows)
    sizes = [name for name in found[0] if name not in ("attack", "classifier")]
    sections.append(Table(found, formats=dict.fromkeys(sizes, percent)))
    names = _names(rows)
    for attack in dict.fromkeys(row["attack"] for row in rows):
        series = {
            name: (
                [r["epsilon"] for r in rows if (r["attack"], r["classifier"]) == (attack, file)],
                [r["accuracy"] for r in rows if (r["attack"], r["classifier"]) == (attack, file)],
            )
            for file, name in names.items()
        }
        chart = curves.loss_curve(
            series, x_label="largest change of a pixel's value, of 255", y_label="accuracy"
        )
        sections += [Heading(NAMES[attack]), *figure(chart, f"accuracy under {NAMES[attack]}")]
    sections += flat_table(config, "All settings", "setting", folded=True)
    write_report(path, title, sections)
