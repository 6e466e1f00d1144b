"""Every number that is shown, once: label, format, which way is better, how it is measured.

results.json, a run's last words, the sentences and tables of all pages are made from `SCORES`. A
new metric is a function in this room and one entry there.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from types import EllipsisType
from typing import TYPE_CHECKING, Any

from maskgit_prompt.metrics import measures
from maskgit_prompt.metrics.formats import Format, fixed, number, percent, small_share
from maskgit_prompt.metrics.measures import Evidence, Measured

if TYPE_CHECKING:
    from maskgit_prompt.metrics.run_result import RunResult

HIGHER, LOWER = "higher", "lower"
PROMPT = "prompt"  # the images generated with the tuned prompt
Names = Sequence[str | EllipsisType]


@dataclasses.dataclass(frozen=True)
class Score:
    """One number.

    Attributes:
      label: what tables call it.
      format: its text.
      better: HIGHER or LOWER; empty where neither is.
      measure: of a set of images: a number, or several by name, or why there is none.
      item: the number's name where `measure` gives several.
      key: results.json holds what `measure` gave under KEY.ORIGIN.
      alone: under KEY, and of the tuned prompt's images only.
      read: of a run as a whole, in place of `measure`. With neither it stands in rows only.
      short: the label before an origin, as in "Fréchet untuned".
      decimals: of a distance, which has no scale of its own, in tables of many data sets; where all
        rows are of the same images, a column has the decimals that its values need.
      places: where it is shown unasked: "console", the run's own "page", "tables" of several runs.
      beside: whose images' number stands beside the prompt's on the console.
      missing: what it is called after "No", where that is not the label.
      caption: of a chart, without which way is better.
      about: a sentence for the run's own page.
    """

    label: str
    format: Format = number
    better: str = ""
    measure: Callable[[Evidence], Measured] | None = None
    item: str = ""
    key: str = ""
    alone: bool = False
    read: Callable[["RunResult"], Any] | None = None
    short: str = ""
    decimals: int | None = None
    places: tuple[str, ...] = ("console", "page", "tables")
    beside: tuple[str, ...] = ("untuned",)
    missing: str = ""
    caption: str = ""
    about: str = ""

    def label_of(self, origin: str) -> str:
        """The label of a column; origin: "" for the tuned prompt's images, "untuned", "real"."""
        return f"{self.short or self.label} {origin}" if origin else self.label

    def captioned(self, caption: str = "") -> str:
        """A chart's caption, here or as given: "Loss on held-out images; lower is better."."""
        return f"{caption or self.caption}; {self.better} is better."


@dataclasses.dataclass(frozen=True)
class Scores:
    """What was found of one set of images, by `Score.key`.

    Attributes:
      found: the number, or numbers by name. A key that is missing is not measured on such images;
        None says that it could not be.
      intervals: (low, high) of 95 %, or these by name, where they are known.
      counts: what it was made from, as {"images": 400, "real": 720}.
    """

    found: Mapping[str, Any]
    intervals: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    counts: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, measured: Mapping[str, Measured]) -> "Scores":
        """By key, as `Score.measure` gave them."""
        pick = lambda name: {k: x for k, m in measured.items() if (x := getattr(m, name))}
        values = {key: m.value for key, m in measured.items()}
        return cls(values, pick("interval"), pick("counts"))

    def value(self, score: Score) -> float | None:
        found = self.found.get(score.key)
        return found.get(score.item) if score.item and found is not None else found

    def interval(self, score: Score) -> tuple[float, float] | None:
        found = self.intervals.get(score.key)
        return found.get(score.item) if isinstance(found, Mapping) else found


def measured(evidence: Evidence) -> dict[str, Measured]:
    """All that SCORES measure, by key."""
    found = {score.key: score.measure for score in SCORES.values() if score.measure}
    return {key: measure(evidence) for key, measure in found.items()}


def left_out(key: str) -> list[str]:
    """What is missing without a key's number: "precision_recall" is precision, recall, …"""
    return [score.missing or score.label for score in SCORES.values() if score.key == key]


# --- The table ------------------------------------------------------------------------------------


def _of_neighbours(name: str, format: Format = percent, about: str = "") -> Score:
    """One of the four numbers of precision_recall.py."""
    return Score(
        name,
        format,
        HIGHER,
        measures.precision_and_recall,
        item=name,
        key="precision_recall",
        places=("page",),
        about=about,
    )


# Name -> score, in the order of the run's own page. Names are the keys of rows of several runs,
# with the origin in front where it is not the tuned prompt: "kid", "untuned_kid".
SCORES: dict[str, Score] = {
    # Measured on a set of images.
    "accuracy": Score(
        "accuracy",
        percent,
        HIGHER,
        measures.accuracy_of_generated,
        key="accuracy",
        beside=("real", "untuned"),
        caption="Share of generated images read as their class",
    ),
    "frechet": Score(
        "Fréchet distance",
        number,
        LOWER,
        measures.frechet_distance,
        key="frechet",
        short="Fréchet",
        decimals=2,
        caption="Fréchet distance to held-out real images",
    ),
    "kid": Score(
        "KID",
        number,
        LOWER,
        measures.kernel_distance,
        key="kid",
        decimals=4,
        places=("page", "tables"),
    ),
    "precision": _of_neighbours(
        "precision",
        about="Precision: the share of generated images that lie near a real one, low where images "
        "are broken. Recall: the share of real images that have a generated one near, low where "
        "kinds of images are missing. Density: how many real images a generated one is near to, "
        "about 1 where generated images lie as close together as real ones. Coverage: the share of "
        "real images with a generated one among their nearest. All in the same features.",
    ),
    "recall": _of_neighbours("recall"),
    "density": _of_neighbours("density", fixed(2)),
    "coverage": _of_neighbours("coverage"),
    "near_copies": Score(
        "near-copies",
        percent,
        LOWER,
        measures.near_copies,
        item="fraction",
        key="near_copies",
        alone=True,
        places=(),
        missing="count of near-copies",
    ),
    # Read of a run. Files call the test split "heldout", here and in results.json's loss.heldout.
    "heldout_loss": Score(
        "held-out loss",
        fixed(3),
        LOWER,
        read=lambda run: run.test_loss,
        caption="Loss on held-out images",
    ),
    "train_loss": Score("training loss", fixed(3), LOWER, read=lambda run: run.tune_loss),
    "trainable": Score("trained parameters", read=lambda run: run.trainable),
    "share": Score("share of the model", small_share, read=lambda run: run.share),
    "steps": Score("steps", read=lambda run: run.steps),
    "best_step": Score("best step", read=lambda run: run.steps),
    "seconds": Score("seconds", fixed(1), LOWER, read=lambda run: run.seconds.get("tune")),
    "tuning_seconds": Score(
        "seconds of tuning", fixed(1), LOWER, read=lambda run: run.seconds.get("tune")
    ),
    "seconds_per_image": Score(
        "seconds per image", fixed(4), LOWER, read=lambda run: run.seconds_per_image
    ),
    "classes": Score("classes", read=lambda run: len(run.data.classes)),
    "images": Score("images", read=lambda run: run.data.images["tune"]),
    "generated": Score("generated", read=lambda run: run.data.generated),
    # What rows stand for: a job's setting, a marquee's cutoff.
    "shots": Score("images per class"),
    "cutoff": Score("cutoff"),
    "calls": Score("calls of the transformer per batch", fixed(0), LOWER),
    "diversity": Score("diversity", fixed(4), HIGHER),
    "distance_to_instance": Score("distance to the instance", fixed(4), LOWER),
}

# What a row of several main jobs holds of each.
RUN_ROW = ("accuracy", "untuned_accuracy", "frechet", "untuned_frechet", "kid", ...)
RUN_ROW += ("heldout_loss", "train_loss", "near_copies", "trainable", "share")


def find(name: str) -> tuple[Score, str]:
    """The score that a row's key names, and the origin in it: "untuned_kid" is KID and "untuned".

    Raises:
      KeyError: there is none, with the names that there are.
    """
    if name in SCORES:
        return SCORES[name], ""
    origin, _, rest = name.partition("_")
    if rest in SCORES:
        return SCORES[rest], origin
    raise KeyError(f"no score {name!r} among {', '.join(SCORES)}")


def expand(names: Names) -> tuple[str, ...]:
    """Names of rows or columns, with `...` replaced by all scores of tables that are not named.

    ("accuracy", "frechet", ..., "share") is ("accuracy", "frechet", "kid", "share").
    """
    more = [
        name
        for name, score in SCORES.items()
        if score.measure and "tables" in score.places and name not in names
    ]
    found: list[str] = []
    for name in names:
        found += more if name is ... else [name]
    return tuple(found)
