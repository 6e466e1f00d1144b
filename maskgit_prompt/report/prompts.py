"""What a tuned prompt has learned: how its classes and images lie, who looks at it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from maskgit_prompt.metrics.formats import fixed, percent
from maskgit_prompt.report import classes
from maskgit_prompt.report.curves import as_bytes, chart
from maskgit_prompt.report.html import Heading, Section, Table, Text
from maskgit_prompt.report.pieces import Picture, figure, gallery

PLACES = "prompt-places"
NEIGHBOURS = "prompt-neighbours"
ATTENTION = "prompt-attention"
PICTURES = (PLACES, NEIGHBOURS, ATTENTION)
_CAPTIONS = {
    PLACES: "prompts of classes (large) and of single images without their class (small), on "
    "their two principal axes",
    NEIGHBOURS: "the same where nearest neighbours stay near (t-SNE); distances between groups "
    "mean nothing here",
}
_SHARE = "share of the attention that goes to the prompt"
_ATTENTION = (
    "how much attention each prompt token gets where the codes of each row of the image are "
    "predicted, mean over layers, heads and images"
)


def attention_map(attention: np.ndarray, format: str = "png") -> bytes:
    """Rows of an image by prompt tokens, [layers, P, R] as tasks.generation.prompt_analysis."""
    shown = 100 * attention.mean(0).T  # [R, P]
    drawn, axes = chart("", "prompt token", "row of the image", height=3.4)
    image = axes.imshow(shown, cmap="Blues", vmin=0, aspect="auto", interpolation="nearest")
    axes.spines["bottom"].set_visible(False)
    for place, size in ((axes.set_xticks, shown.shape[1]), (axes.set_yticks, shown.shape[0])):
        ticks = np.arange(0, size, max(1, size // 16))
        place(ticks, [str(tick + 1) for tick in ticks])
    drawn.colorbar(image, ax=axes, label="% of the attention", fraction=0.04)
    return as_bytes(drawn, format)


def draw(
    places: Mapping[str, np.ndarray | None],
    labels: np.ndarray,
    names: Sequence[str],
    large: int,
    attention: np.ndarray,
) -> dict[str, bytes]:
    """The pictures of `prompt_sections` by name.

    Args:
      places: PLACES and NEIGHBOURS -> [n, 2]; None leaves that picture out.
      labels: [n], classes. large: how many of the first points are of classes.
      attention: [layers, P, R].
    """
    found = {
        name: classes.scatter(points, labels, names, large, principal=name == PLACES)
        for name, points in places.items()
        if points is not None and len(points) > 2
    }
    return found | {ATTENTION: attention_map(attention)}


def prompt_sections(
    found: Mapping[str, Any] | None, pictures: Mapping[str, Picture]
) -> list[Section]:
    """What results.json has as "prompts"; pictures: those of PICTURES that there are."""
    if not found:
        return []
    sections: list[Section] = [Heading("What the prompt learned")]
    sections += gallery({_CAPTIONS[n]: pictures[n] for n in _CAPTIONS if n in pictures})
    if alike := found.get("images_alike"):
        sections.append(
            Text(
                "The prompt of a single image, without that of its class, is nearest to one of "
                f"the same class for {percent(alike['share'])} of the images; by chance it would "
                f"be for {percent(alike['chance'])}."
            )
        )
    if nearest := found.get("nearest"):
        rows = [
            {"class": name, "nearest class": x["class"], "distance": x["distance"]}
            for name, x in nearest.items()
        ]
        about = (
            f"classes by their prompts; two lie {fixed(3)(found['distance'])} apart on average "
            "(root mean square of the difference)"
        )
        sections.append(Table(rows, about, formats={"distance": fixed(3)}, folded=len(rows) > 20))
    sections += figure(pictures.get(ATTENTION), _ATTENTION)
    layers = [
        {"layer": layer, _SHARE: share} for layer, share in enumerate(found["attention"], start=1)
    ]
    formats = {_SHARE: percent}
    sections.append(Table(layers, formats=formats))
    return sections
