"""Sections of what was measured: what the backbone keeps of the images, scores, near-copies."""

from collections.abc import Mapping
from typing import Any

from maskgit_prompt.metrics import reconstruction
from maskgit_prompt.metrics.formats import brackets, fixed
from maskgit_prompt.metrics.neighbors import QUANTILE
from maskgit_prompt.metrics.run_result import RunResult
from maskgit_prompt.metrics.scores import PROMPT, SCORES
from maskgit_prompt.report.html import Heading, Section, Table, Text
from maskgit_prompt.report.pieces import Picture, figure
from maskgit_prompt.report.tables import in_brackets, table

_NAMED = 12  # training images that are copied: named on the page
_BIAS = "A Fréchet distance from few images is too large, and its interval with it."
_ABOVE_REAL = (
    "That does not make them better: a prompt draws what is typical of its class, and leaves out "
    "the hard cases that real images have."
)
_DISTANCES = (
    "A pixel distance of 0 means equal images, 1 images with nothing in common, whatever their "
    "contrast. All went through the tokenizer, so that its blur is on both sides."
)
_COPIES = (
    f"A near-copy is nearer to a training image than {100 - 100 * QUANTILE:.0f}\u202f% of held-out "
    f"images are to theirs, in pixels as well as in features. {_DISTANCES}"
)


def kept(result: RunResult) -> str:
    """What the backbone keeps of the images, for a sentence."""
    keeps = result.reconstruction["keeps"]
    return reconstruction.in_words(f"The backbone {result.backbone}", keeps)


def how_many_copies(result: RunResult) -> str:
    """A sentence, or "" where that cannot be told."""
    copies = _copies(result)
    if copies is None or copies["count"] is None:
        return ""
    of = f"of the {generated(result)}generated images"
    if not copies["count"]:
        return f"None {of} is a near-copy of a training image."
    verb = "is a near-copy" if copies["count"] == 1 else "are near-copies"
    share = with_interval(result, "near_copies")
    return f"{copies['count']:,} {of} ({share}) {verb} of a training image."


def generated(result: RunResult) -> str:
    """How many images were generated, before a noun: "400 "."""
    return "" if result.data.generated is None else f"{result.data.generated:,} "


def with_interval(result: RunResult, name: str) -> str:
    """A number of the tuned prompt and its interval."""
    form = SCORES[name].format
    words = (form(result.value(name)), brackets(result.interval(name), form))
    return " ".join(filter(None, words))


def fit_sections(result: RunResult, picture: Picture | None) -> list[Section]:
    """How well the backbone keeps the images, beside its own."""
    fit = result.reconstruction
    if fit is None:
        return []
    split = {"test": "held-out images", "tune": "images tuned on"}[fit["split"]]
    own = fit["own"] or {}
    images = {f"these {split}": fit, own.get("of", "the backbone's own: not known"): own}
    rows = [
        {
            "reconstructions of": name,
            "images": found.get("images"),
            "PSNR, dB": found.get("psnr"),
            "distance in features": found.get("feature_distance"),
        }
        for name, found in images.items()
    ]
    formats = {"PSNR, dB": fixed(1), "distance in features": fixed(2)}
    about = (
        f"{kept(result)}. PSNR compares the pixels of an image and its reconstruction: higher is "
        "nearer. The distance is that between the two in the features of the backbone's own "
        "network: 0 means the same, 1 as far apart as two different images of the set."
    )
    caption = (
        f"{split} as they go into the tokenizer, and as they come out: the decoder draws no "
        "finer detail than this."
    )
    return [
        Heading("What the backbone keeps of the images"),
        *figure(picture, caption),
        Table(rows, formats=formats),
        Text(about),
    ]


def score_sections(result: RunResult, origins: Mapping[str, str]) -> list[Section]:
    """A table with a row for each origin of images."""
    shown = {
        name: score
        for name, score in SCORES.items()
        if score.measure
        and "page" in score.places
        and any(result.value(name, origin) is not None for origin in result.scores)
    }
    if not shown:
        return []
    rows = [
        result.row(tuple(shown), origin) | {"origin": title}
        for origin, title in origins.items()
        if origin in result.scores
    ]
    abouts = [score.about for score in shown.values() if score.about]
    sections = [table(rows, ("origin", *shown)), Text(_how_many(result))]
    sections += [Text(text) for text in (*_above_real(result), *abouts)]
    if words := in_brackets(rows):
        sections.append(Text(f"{words} {_BIAS}" if "frechet" in shown else words))
    return [Heading("Scores"), *sections]


def _how_many(result: RunResult) -> str:
    """What accuracy and distances are, and of how many images."""
    sentences = []
    counts = {origin: scores.counts for origin, scores in result.scores.items()}
    if result.value("accuracy") is not None:
        guess = SCORES["accuracy"].format(1 / max(1, len(result.data.classes)))
        real = counts.get("real", {}).get("accuracy")
        sentences.append(
            f"Accuracy: the share of {generated(result)}generated images that are read as their "
            "class by a classifier trained on other real images"
            + (f", and of {real['images']:,} held-out images" if real else "")
            + f". Guessing would give {guess}."
        )
    far = [name for name in ("frechet", "kid") if result.value(name) is not None]
    if far:
        found = counts[PROMPT].get(far[0])
        of = f"{generated(result)}generated images to"
        if found:
            of = f"{found['images']:,} generated images to {found['real']:,}"
        labels = " and ".join(SCORES[name].label for name in far)
        sentences.append(
            f"{labels}: of {of} {result.data.reference}, in the features of the network that "
            "ships with the backbone; lower is better. Published FID and KID have other features: "
            "compare only with numbers made the same way."
        )
    return " ".join(sentences)


def _above_real(result: RunResult) -> list[str]:
    """Why generated images can be read better than real ones, where they are."""
    tuned = result.value("accuracy")
    below = [
        words
        for origin, words in (("real", "real ones"), ("reconstructed", "reconstructed ones"))
        if None not in (tuned, value := result.value("accuracy", origin)) and tuned > value
    ]
    if not below:
        return []
    return [
        f"Generated images are read as their class more often than {' and '.join(below)}. "
        + _ABOVE_REAL
    ]


def _copies(result: RunResult) -> Mapping[str, Any] | None:
    """What was found of near-copies, as metrics.neighbors.near_copies gives it."""
    prompt = result.scores.get(PROMPT)
    return None if prompt is None else prompt.found.get("near_copies")


def copy_sections(result: RunResult, picture: Picture | None) -> list[Section]:
    """How many copies there are, of which images, and the nearest pairs to judge by eye."""
    copies = _copies(result)
    if copies is None:
        return []
    sections: list[Section] = [Text(how_many_copies(result) or f"Not counted: {copies['reason']}.")]
    if copies["copied"]:
        named = [f"{name} ({count})" for name, count in list(copies["copied"].items())[:_NAMED]]
        more = len(copies["copied"]) - len(named)
        named += [f"{more:,} more"] if more else []
        sections.append(Text(f"Copied are {', '.join(named)}."))
    caption = "The nearest pairs: generated images, and below each its nearest training image."
    sections += figure(picture, caption)
    what = "distance to the nearest training image"
    rows = [
        {what: "median of generated images", **copies["median"]},
    ]
    if copies["median_heldout"]:
        rows.append({what: "median of held-out images", **copies["median_heldout"]})
    if copies["threshold"]:
        rows.append({what: "a near-copy is nearer than", **copies["threshold"]})
    formats = {"pixel": fixed(3), "feature": fixed(3)}
    pairs = [
        {
            "generated image": pair["generated"],
            "its nearest training image": pair["image"],
            "pixel": pair["pixel"],
            "feature": pair["feature"],
            "near-copy": pair["copy"] if copies["count"] is not None else None,
        }
        for pair in copies["pairs"]
    ]
    about = _COPIES if copies["count"] is not None else _DISTANCES
    sections += [Table(rows, formats=formats), Text(about)]
    sections.append(Table(pairs, "The nearest pairs, by number and file", formats, folded=True))
    return [Heading("Near-copies"), *sections]
