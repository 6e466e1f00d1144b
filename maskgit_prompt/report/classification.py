"""report.html of a tuned classifier."""

import os
from collections.abc import Mapping
from typing import Any

from maskgit_prompt.metrics.formats import brackets, fixed, number, percent, small_share
from maskgit_prompt.report.html import Heading, Section, Table, Text, write_report
from maskgit_prompt.report.pieces import Picture, figure, flat_table

PARTS = {
    "train": "images tuned on",
    "validation": "images to decide between settings",
    "heldout": "held-out images",
}


def classification_report(
    path: str | os.PathLike, found: Mapping[str, Any], pictures: Mapping[str, Picture]
) -> None:
    """Writes the report.

    Args:
      path: the HTML file.
      found: results.json.
      pictures: by name: "wrong", "confusion", "features", "loss", "errors"; any may be missing.

    Raises:
      UserError: a picture that is missing or no PNG, or a file that cannot be written.
    """
    sections: list[Section] = [Text(summary(found), lead=True), *_accuracies(found)]
    if found["confusions"]:
        sections += [Heading("Where it is wrong"), Table(found["confusions"])]
    sections += figure(
        pictures.get("wrong"),
        "the wrong answers it was surest of: class → answer, and its probability",
    )
    sections += figure(
        pictures.get("confusion"), "held-out images of each class (rows) by answer (columns)"
    )
    if "features" in pictures:
        sections.append(Heading("Features"))
        sections += figure(
            pictures["features"],
            "features of held-out images that the head sees, on their two principal axes",
        )
    sections.append(Heading("Training"))
    sections += figure(pictures.get("loss"), "cross entropy of training batches")
    sections += figure(pictures.get("errors"), "share of wrong answers while tuning")
    sections += cost(found)
    settings = flat_table(found["config"], "All settings", "setting", folded=True)
    write_report(
        path,
        f"Classifier: {found['data']} on {found['backbone']}",
        [*sections, Heading("Settings"), Text(f"Protocol: {found['protocol']}."), *settings],
    )


def summary(found: Mapping[str, Any]) -> str:
    """The key numbers in words."""
    guess = 1 / len(found["classes"])
    return (
        f"{percent(found['accuracy']['heldout'])} {brackets(found['interval'], percent)} of the "
        f"{number(found['images']['heldout'])} held-out images are told right (guessing: "
        f"{percent(guess)}). {number(found['trainable'])} numbers were tuned "
        f"({small_share(found['share'])} of the model, {found['method']}), on "
        f"{number(found['images']['tune'])} images of {len(found['classes'])} classes; everything "
        f"else of {found['backbone']} stayed as it was. Brackets hold the 95\u202f% interval."
    )


def _accuracies(found: Mapping[str, Any]) -> list[Section]:
    rows = [
        {"of": words, "images": found["images"].get(part.replace("train", "tune")), "accuracy": x}
        for part, words in PARTS.items()
        if (x := found["accuracy"].get(part)) is not None
    ]
    rows.append({"of": "held-out images, mean over classes", "accuracy": found["by_class"]})
    if found["top5"] is not None:
        rows.append({"of": "held-out images, class among five", "accuracy": found["top5"]})
    return [Table(rows, formats={"accuracy": percent})]


def cost(found: Mapping[str, Any]) -> list[Section]:
    """What a run took, as results.json has it."""
    speed, rows = found["speed"], []
    rows.append({"what": "numbers tuned", "value": number(found["trainable"])})
    rows.append({"what": "numbers frozen", "value": number(found["frozen"])})
    rows.append({"what": "size of the file, kB", "value": number(found["file_bytes"] / 1e3)})
    rows.append({"what": "steps", "value": number(found["steps"])})
    if "step_seconds" in speed:
        rows.append({"what": "seconds a step", "value": fixed(4)(speed["step_seconds"])})
    for key, words in (
        ("device_peak_bytes", "most memory in use, device, MB"),
        ("host_peak_bytes", "most memory in use, host, MB"),
    ):
        if key in speed:
            rows.append({"what": words, "value": number(round(speed[key] / 1e6))})
    rows += [
        {"what": f"seconds: {stage}", "value": fixed(1)(s)} for stage, s in found["seconds"].items()
    ]
    return [Heading("Cost"), Table(rows)]
