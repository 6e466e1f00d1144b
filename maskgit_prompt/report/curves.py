"""Loss curves and bar charts as PNG or SVG bytes, readable at 700 pixels of width."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from maskgit_prompt.errors import UsageError, UserError
from maskgit_prompt.metrics.formats import aligned

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Blue, orange, green, grey, violet, rose: apart in print and for most colour-blind readers.
COLOURS = ("#2563a8", "#d97720", "#3f8f5f", "#7d828a", "#7a5aa6", "#c2577a")
INK = "#24262a"
MUTED = "#686d75"
_RULE = "#e3e4e6"
# A curve with more points than this is drawn pale, under its running mean.
_MANY_POINTS = 100

Series = tuple[Sequence[float], Sequence[float]]


def loss_curve(
    series: Mapping[str, Series],
    marks: Mapping[str, float] | None = None,
    title: str = "",
    x_label: str = "step",
    y_label: str = "loss",
    format: str = "png",
) -> bytes:
    """Curves over steps.

    Args:
      series: name -> (steps, values), such as {"train": ..., "held-out": ...}. A long one is drawn
        pale, with the mean around each point over it.
      marks: name -> step, a dotted vertical line each, such as {"best": 300}.
      title: a line above the chart.
      format: "png" (1400 pixels wide, for 700) or "svg".

    Raises:
      UserError: no series, an empty one, or steps and values of different lengths.
      UsageError: another format.
    """
    if not series:
        raise UserError("no curves to draw: expected at least one of train and held-out")
    figure, axes = chart(title, x_label, y_label)
    for i, (name, (steps, values)) in enumerate(series.items()):
        steps, values = np.asarray(steps, np.float64), np.asarray(values, np.float64)
        if steps.shape != values.shape or steps.ndim != 1 or not len(steps):
            raise UserError(
                f"curve {name!r} of {steps.size} steps and {values.size} values: "
                "expected as many of both, and at least one"
            )
        colour = COLOURS[i % len(COLOURS)]
        if len(steps) > _MANY_POINTS:
            window = 2 * (len(steps) // 50) + 1
            axes.plot(steps, values, color=colour, linewidth=0.8, alpha=0.25)
            values = running_mean(values, window)
            name = f"{name} (mean of {window})"
        marker = "o" if len(steps) <= 30 else ""
        axes.plot(steps, values, color=colour, linewidth=1.8, marker=marker, ms=4, label=name)
    axes.margins(x=0.02)
    middle = np.mean(axes.get_xlim())
    for name, step in (marks or {}).items():
        axes.axvline(step, color=MUTED, linewidth=1, linestyle=":")
        # The name stands on the side with more room.
        side = -1 if step > middle else 1
        axes.annotate(
            name,
            (step, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(4 * side, -2),
            textcoords="offset points",
            va="top",
            ha="right" if side < 0 else "left",
            color=MUTED,
            fontsize=10,
        )
    axes.grid(axis="y", color=_RULE, linewidth=0.8)
    legend(axes, len(series))
    return as_bytes(figure, format)


def running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Mean of an odd window around each value, cut at the ends: (1, 3, 8), 3 gives (2, 4, 5.5)."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    starts = np.maximum(places - window // 2, 0)
    ends = np.minimum(places + window // 2 + 1, len(values))
    return (sums[ends] - sums[starts]) / (ends - starts)


def bar_chart(
    groups: Mapping[str, Mapping[str, float | None]],
    y_label: str,
    title: str = "",
    percent: bool = False,
    dots: bool = False,
    format: str = "png",
) -> bytes:
    """Bars side by side in groups, each with its value on top.

    Args:
      groups: group -> {bar name -> value or None for a gap}, such as
        {"2 images per class": {"prompt": 0.8, "scratch": None}}; colours follow the bar names.
      y_label: what the values are.
      percent: show 0.853 as 85%.
      dots: dots in place of bars, on an axis that need not begin at zero: for values such as
        losses, whose differences are small beside them.
      format: "png" or "svg".

    Raises:
      UserError: no groups or no bars.
      UsageError: another format.
    """
    names = list(dict.fromkeys(name for bars in groups.values() for name in bars))
    shown = [n for n in names if any(bars.get(n) is not None for bars in groups.values())]
    if not shown:
        raise UserError("no bars to draw: expected at least one group with one value")
    figure, axes = chart(title, "", y_label)
    factor = 100.0 if percent else 1.0
    width = 0.82 / len(shown)
    label = aligned([height for bars in groups.values() for height in bars.values()])
    size = 8 if len(shown) * len(groups) > 9 else 10
    for i, name in enumerate(shown):
        offset = (i - (len(shown) - 1) / 2) * width
        heights = [bars.get(name) for bars in groups.values()]
        places = [(g + offset, h * factor) for g, h in enumerate(heights) if h is not None]
        # By place among all names, so that charts of the same methods share their colours.
        colour = COLOURS[names.index(name) % len(COLOURS)]
        x, y = zip(*places, strict=True)
        if dots:
            axes.plot(x, y, "o", color=colour, ms=8, label=name)
        else:
            axes.bar(x, y, width * 0.92, color=colour, label=name)
        for place, height in places:
            text = f"{height:.0f}%" if percent else f"{height:.3f}" if dots else label(height)
            below = height < 0 and not dots
            axes.annotate(
                text,
                (place, height),
                xytext=(0, -3 if below else 7 if dots else 2),
                textcoords="offset points",
                ha="center",
                va="top" if below else "bottom",
                fontsize=size,
                color=INK,
            )
    axes.set_xticks(range(len(groups)), list(groups))
    axes.tick_params(axis="x", length=0, labelcolor=INK)
    axes.set_xlim(-0.5, len(groups) - 0.5)
    axes.margins(y=0.2 if dots else 0.12)
    if not dots:
        axes.axhline(0, color=MUTED, linewidth=0.8)
        axes.spines["bottom"].set_visible(False)
    axes.grid(axis="y", color=_RULE, linewidth=0.8)
    legend(axes, len(shown))
    return as_bytes(figure, format)


def horizontal_bars(
    groups: Mapping[str, Mapping[str, Mapping[str, float | None]]],
    x_label: str,
    title: str = "",
    percent: bool = False,
    format: str = "png",
) -> bytes:
    """Rows of bars, one below the other, for names too long to stand under upright ones.

    Args:
      groups: group -> {row -> {bar name -> value or None for a dash}}, such as
        {"natural": {"svhn": {"tuned": 12.3, "untuned": None}}}; a group's name stands above its
        rows. A row without values is one dash, and a bar name without values is left out.
      x_label: what the values are.
      percent: show 0.853 as 85%.
      format: "png" (1400 pixels wide, for 700, and as high as the rows need) or "svg".

    Raises:
      UserError: no rows.
      UsageError: another format.
    """
    lines = [line for name, rows in groups.items() for line in [(name, None), *rows.items()]]
    bars = {y: row for y, (_, row) in enumerate(lines) if row is not None}
    if not bars:
        raise UserError("no bars to draw: expected at least one group with one row")
    names = list(dict.fromkeys(name for row in bars.values() for name in row))
    shown = [n for n in names if any(row.get(n) is not None for row in bars.values())]
    valued = {y: row for y, row in bars.items() if any(x is not None for x in row.values())}
    figure, axes = chart(title, x_label, "", height=0.9 + 0.34 * len(lines))
    factor = 100.0 if percent else 1.0
    thickness = 0.84 / max(len(shown), 1)
    ends: dict[float, float | None] = dict.fromkeys(bars.keys() - valued.keys())
    for i, name in enumerate(shown):
        offset = (i - (len(shown) - 1) / 2) * thickness
        ends |= (values := {y + offset: row.get(name) for y, row in valued.items()})
        y, x = zip(*((y, x * factor) for y, x in values.items() if x is not None), strict=True)
        colour = COLOURS[names.index(name) % len(COLOURS)]
        axes.barh(y, x, thickness * 0.9, color=colour, label=name)
    label = aligned(list(ends.values()))
    for y, x in ends.items():
        axes.annotate(
            "—" if x is None else f"{100 * x:.0f}%" if percent else label(x),
            # Right of the line also where a value is below zero, clear of the row's name.
            (max(x or 0.0, 0.0) * factor, y),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=INK,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0},
        )
    axes.set_yticks(range(len(lines)), [name for name, _ in lines])
    axes.tick_params(axis="y", labelcolor=INK)
    for tick, (_, row) in zip(axes.get_yticklabels(), lines, strict=True):
        tick.set_fontweight("bold" if row is None else "normal")
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.margins(x=0.1)
    axes.axvline(0, color=MUTED, linewidth=0.8)
    axes.spines["bottom"].set_visible(False)
    axes.grid(axis="x", color=_RULE, linewidth=0.8)
    if shown:
        legend(axes, len(shown))
    else:
        axes.set_xlim(0, 1)
        axes.set_xticks([])
    return as_bytes(figure, format)


def chart(title: str, x_label: str, y_label: str, height: float = 3.9):
    """(figure, axes) in the style of all charts, 1400 pixels wide."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, height), dpi=200, layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)
    axes.tick_params(colors=MUTED, labelsize=10, length=3)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(x_label, color=INK, fontsize=11)
    axes.set_ylabel(y_label, color=INK, fontsize=11)
    if title:
        figure.suptitle(title, color=INK, fontsize=12, x=0.01, ha="left")
    return figure, axes


def legend(axes, entries: int) -> None:
    """Names of what is drawn, above the chart."""
    # Above the plot, so that it never covers a curve.
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=min(entries, 4),
        frameon=False,
        fontsize=10,
        labelcolor=INK,
        borderaxespad=0.2,
        handlelength=1.4,
    )


def as_bytes(figure: "Figure", format: str) -> bytes:
    """The chart as a file's bytes; equal charts give equal bytes.

    Raises:
      UsageError: another format than "png" and "svg".
    """
    import matplotlib

    if format not in ("png", "svg"):
        raise UsageError(f"chart format {format!r}: expected 'png' or 'svg'")
    buffer = io.BytesIO()
    # Dates and random ids would make equal charts differ.
    metadata = {"Date": None} if format == "svg" else {"Software": None}
    with matplotlib.rc_context({"svg.hashsalt": "maskgit_prompt"}):
        figure.savefig(buffer, format=format, metadata=metadata)
    return buffer.getvalue()
