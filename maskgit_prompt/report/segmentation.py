"""report.html of a tuned segmenter."""

import os
from collections.abc import Mapping
from typing import Any

from maskgit_prompt.metrics.formats import number, percent, small_share
from maskgit_prompt.report.classification import cost
from maskgit_prompt.report.html import Heading, Section, Table, Text, write_report
from maskgit_prompt.report.pieces import Picture, figure, flat_table


def segmentation_report(
    path: str | os.PathLike, found: Mapping[str, Any], pictures: Mapping[str, Picture]
) -> None:
    """Writes the report.

    Args:
      path: the HTML file.
      found: results.json.
      pictures: by name: "overlays", "classes", "loss", "errors"; any may be missing.

    Raises:
      UserError: a picture that is missing or no PNG, or a file that cannot be written.
    """
    sections: list[Section] = [Text(summary(found), lead=True)]
    sections += figure(pictures.get("overlays"), "held-out images, their masks, and the answers")
    sections += figure(pictures.get("classes"), "colours of the classes")
    sections += [Heading("Classes"), Table(by_class(found), formats={"IoU": _share})]
    sections.append(Heading("Training"))
    sections += figure(pictures.get("loss"), "cross entropy of training batches")
    sections += figure(pictures.get("errors"), "share of wrong pixels while tuning")
    sections += cost(found)
    settings = flat_table(found["config"], "All settings", "setting", folded=True)
    title = f"Segmentation: {found['data']} on {found['backbone']}"
    write_report(path, title, [*sections, *settings])


def summary(found: Mapping[str, Any]) -> str:
    """The key numbers in words."""
    return (
        f"Mean IoU {percent(found['mean_iou'])}, pixel accuracy {percent(found['accuracy'])} on "
        f"{number(found['images']['heldout'])} held-out images (the most frequent class everywhere:"
        f" {percent(found['guess'])} of the pixels). {number(found['trainable'])} numbers were "
        f"tuned ({small_share(found['share'])} of the model, {found['method']} and a head), on "
        f"{number(found['images']['tune'])} images; everything else of {found['backbone']} stayed "
        "as it was."
    )


def by_class(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A line for each class: its IoU and its share of the held-out pixels."""
    return [
        {"class": name, "IoU": iou, "pixels": found["pixels"][name]}
        for name, iou in found["iou"].items()
    ]


def _share(value: float | None) -> str:
    return number(None) if value is None else percent(value)
