"""The report of a run on images and texts."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from maskgit_prompt.metrics.answered import OF_KIND, SCORES
from maskgit_prompt.metrics.formats import brackets, fixed, number, small_share
from maskgit_prompt.report.html import (
    Figure,
    Gallery,
    Heading,
    Note,
    Section,
    Table,
    Text,
    write_report,
)
from maskgit_prompt.report.pieces import figure, flat_table
from maskgit_prompt.report.sheets import png_bytes

ORIGINS = {"untuned": "the model as it is", "tuned": "after tuning"}


def multimodal_report(
    path: str | os.PathLike,
    found: Mapping[str, Any],
    words: Mapping[str, str],
    examples: Sequence[Any],
    drawn: Mapping[str, bytes],
) -> None:
    """Writes the page of a run's results.json.

    Args:
      words: "tuned" and "untuned" -> the scores in words.
      examples: what the page shows: picture, asked, answer, before, meant, right of each.
      drawn: "loss": a curve.

    Raises:
      UserError: a file that cannot be written.
    """
    sections: list[Section] = [Text(summary(found, words), lead=True), _scores(found)]
    notes = dict.fromkeys(note for own in found["scores"].values() for note in own["notes"])
    sections += [Note(f"Some scores are missing: {note}") for note in notes]
    sections += _examples(found, examples)
    sections.append(Heading("Training"))
    sections += figure(drawn.get("loss"), "cross entropy in nats per token")
    sections += [Heading("Cost"), _cost(found), Heading("Settings")]
    sections += flat_table(found["search"], "Beam search, as it was used", "setting")
    sections += flat_table(found["config"], "All settings", "setting", folded=True)
    write_report(path, f"{found['title'].capitalize()}: {found['data']}", sections)


def summary(found: Mapping[str, Any], words: Mapping[str, str]) -> str:
    """The key numbers in words."""
    before = f" Before tuning: {words['untuned']}." if "untuned" in words else ""
    return (
        f"On {number(found['examples']['heldout'])} held-out examples: {words['tuned']}.{before} "
        f"{number(found['trainable'])} numbers were tuned ({small_share(found['share'])} of the "
        f"model, {found['method']}) on {number(found['examples']['tune'])} examples; everything "
        f"else of {found['backbone']} stayed as it was. Brackets hold the 95\u202f% interval."
    )


def _scores(found: Mapping[str, Any]) -> Table:
    rows, notes = [], []
    for origin, title in ORIGINS.items():
        if origin not in found["scores"]:
            continue
        own = found["scores"][origin]
        row, note = {"": title}, {}
        for name in OF_KIND[found["kind"]]:
            if name in own["values"]:
                score = SCORES[name]
                row[score.title] = own["values"][name]
                note[score.title] = brackets(own["intervals"].get(name), score.format)
        rows.append(row)
        notes.append(note)
    formats = {score.title: score.format for score in SCORES.values()}
    return Table(rows, formats=formats, notes=notes)


def _examples(found: Mapping[str, Any], examples: Sequence[Any]) -> list[Section]:
    if not examples:
        return []
    sections: list[Section] = [Heading("What it answers")]
    if found["kind"] == "boxes":
        sections.append(Text("The green box is right, the magenta one is the answer."))
    return [*sections, Gallery([Figure(png_bytes(one.picture), _caption(one)) for one in examples])]


def _caption(one: Any) -> str:
    parts = [f"{'✓' if one.right else '✗'} {one.asked} → {one.answer}"]
    if not one.right:
        parts.append(f"right: {one.meant}")
    if one.before:
        parts.append(f"before tuning: {one.before}")
    return " · ".join(parts)


def _cost(found: Mapping[str, Any]) -> Table:
    speed = found["speed"]
    rows = [
        {"what": "numbers tuned", "value": number(found["trainable"])},
        {"what": "numbers frozen", "value": number(found["frozen"])},
        {"what": "size of the file, kB", "value": number(found["file_bytes"] / 1e3)},
        {"what": "steps", "value": number(found["steps"])},
    ]
    if "step_seconds" in speed:
        rows.append({"what": "seconds a step", "value": fixed(4)(speed["step_seconds"])})
    rows += [
        {"what": f"seconds: {stage}", "value": fixed(1)(s)} for stage, s in found["seconds"].items()
    ]
    return Table(rows)
