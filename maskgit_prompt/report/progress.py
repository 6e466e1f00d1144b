"""progress.html: how a run goes on, in a page that reloads itself until the run is finished."""

import os
import pathlib
from collections.abc import Mapping

from maskgit_prompt.report import curves
from maskgit_prompt.report.html import Figure, Gallery, Heading, Section, Text, write_report

RELOAD = 5  # seconds
NEWEST = 6  # sheets that are shown


def progress_page(
    path: str | os.PathLike,
    title: str,
    losses: Mapping[str, curves.Series],
    sheets: Mapping[int, pathlib.Path],
    steps: int,
) -> None:
    """Writes the page of a run that has reached the last step of `sheets`.

    Args:
      path: the HTML file.
      losses: name -> (steps, values), each with its curve; none: no chart yet.
      sheets: step -> PNG file, at least one.
      steps: of the whole run.
    """
    newest = sorted(sheets, reverse=True)[:NEWEST]
    running = newest[0] < steps
    said = f"Step {newest[0]:,} of {steps:,}."
    if running:
        said += f" The page reloads every {RELOAD} seconds; sheets and curves are drawn together."
    sections: list[Section] = [Text(said, lead=True)]
    if losses:
        sections.append(Figure(curves.loss_curve(losses), "Loss so far."))
    sections += [
        Heading("Images"),
        Text("All sheets begin with the same images or noise, so they compare. Newest first."),
        Gallery([Figure(sheets[step], f"Step {step:,}") for step in newest]),
    ]
    write_report(path, title, sections, RELOAD if running else 0)
