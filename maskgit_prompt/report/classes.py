"""Charts of classes: which are taken for which, and how their features lie."""

from collections.abc import Sequence

import numpy as np

from maskgit_prompt.report.curves import COLOURS, INK, MUTED, as_bytes, chart, legend

NAMED = 40  # classes of a matrix whose names can be read
COLOURED = len(COLOURS)  # classes of a scatter that have a colour of their own


def confusion(counts: np.ndarray, names: Sequence[str], format: str = "png") -> bytes:
    """A matrix of classes (rows) and answers (columns), each row in shares of its images.

    Args:
      counts: [C, C]; names: of the classes, which stand at the axes of at most NAMED.
      format: "png" or "svg".
    """
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    classes = len(counts)
    figure, axes = chart("", "answer", "class", height=6.2)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    axes.spines["bottom"].set_visible(False)
    if classes <= NAMED:
        size = 10 if classes <= 15 else 6
        axes.set_xticks(range(classes), names, rotation=90, fontsize=size)
        axes.set_yticks(range(classes), names, fontsize=size)
    if classes <= 15:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                colour = "white" if shares[row, column] > 0.5 else INK
                axes.text(
                    column, row, f"{count}", ha="center", va="center", color=colour, fontsize=9
                )
    return as_bytes(figure, format)


def scatter(
    places: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    large: int = 0,
    principal: bool = True,
    format: str = "png",
) -> bytes:
    """Images as dots, each class in a colour and a mark of its own.

    Args:
      places: [n, 2]; labels: [n].
      large: how many of them, from the first on, are drawn large and with a rim.
      principal: the plane is that of the principal axes.
    """
    marks = "osD^vPX*"
    axes_names = ("first principal axis", "second principal axis") if principal else ("", "")
    figure, axes = chart("", *axes_names, height=4.6)
    is_large = np.arange(len(places)) < large
    for i, label in enumerate(np.unique(labels)):
        for chosen, size in ((is_large, 90), (~is_large, 14)):
            if not (chosen := chosen & (labels == label)).any():
                continue
            axes.scatter(
                *places[chosen].T,
                s=size,
                color=COLOURS[i % COLOURED],
                marker=marks[i // COLOURED % len(marks)],
                edgecolors=INK,
                linewidths=0 if size == 14 else 1,
                alpha=0.8,
                label=names[label] if i < 24 and size == (90 if large else 14) else None,
            )
    axes.tick_params(labelcolor=MUTED)
    legend(axes, min(24, len(np.unique(labels))))
    return as_bytes(figure, format)
