"""report.html of the main job.

It leaves out what was not measured, so that a folder with one class, or a run without a classifier,
still gets its report.
"""

import os
import pathlib
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from maskgit_prompt.metrics import reconstruction
from maskgit_prompt.metrics.formats import brackets, fixed, number
from maskgit_prompt.metrics.run_result import INTERVALS, RunResult
from maskgit_prompt.metrics.scores import PROMPT, SCORES
from maskgit_prompt.report.html import (
    Command,
    Heading,
    Note,
    Section,
    Table,
    Text,
    write_report,
)
from maskgit_prompt.report.pieces import Picture, figure, flat_table, gallery
from maskgit_prompt.report.tables import table

_NAMED = 12  # training images that are copied: named on the page
_MARQUEE_COLUMNS = ("cutoff", "diversity", "distance_to_instance", "accuracy")
_MARQUEE = (
    "Every image begins under one instance's prompt and ends under its class's prompt; the cutoff "
    "is the share of the decoding after which only the class's prompt is left: of the steps, or "
    "with a causal transformer of the rows. At a low cutoff the class's prompt takes over at once, "
    "at a high one the instance's prompt stays longest. Cutoff 0 is the class's prompt alone."
)
_INTERVALS = (
    "Brackets hold 95 % intervals: how far a number would move with other images of the same kind, "
    "as many of them. They say nothing of another seed, prompt or classifier; and a Fréchet "
    "distance from few images is too large, its interval with it."
)
_ABOVE_REAL = (
    "Generated images are read as their class more often than real ones, reconstructed or not. "
    "That does not make them better: a prompt draws what is typical of its class, and leaves out "
    "the hard cases that real images have."
)
_COPIES = (
    "A near-copy is nearer to one training image than held-out images are to theirs, both in "
    "pixels and in features: than all but 2 % of them. Pixels: the difference over the contrast "
    "of both, 0 for equal images, about 1 for images with nothing in common. All images went "
    "through the tokenizer, so that its blur is on both sides."
)
_LOSS = (
    "Loss while tuning. Training batches carry dropped conditions, and with a masked transformer "
    "label smoothing and random mask rates, so their losses lie higher and jump; only the other "
    "two curves compare with each other."
)


def transfer_report(
    path: str | os.PathLike,
    result: RunResult,
    pictures: Mapping[str, Picture],
    *,
    origins: Mapping[str, str],
    title: str = "Prompt tuning",
    command: str | None = None,
) -> None:
    """Writes the main job's report.

    Args:
      path: the HTML file.
      result: what was found.
      pictures: name -> PIL image, PNG bytes or PNG path. Those of origins, "marquee" and "loss"
        have their places and captions; any other name is its own caption, at the end of the
        pictures.
      origins: what images of an origin are called, in the order of rows and pictures.
      title: the page's title.
      command: how to sample again; by default with the prompt file beside the report.

    Raises:
      UserError: a picture that is missing or no PNG, or a file that cannot be written.
    """
    pictures = dict(pictures)
    sections: list[Section] = [Text(summary(result), lead=True)]
    sections += [Note(warning) for warning in result.warnings]

    marquee_picture = pictures.pop("marquee", None)
    loss_picture = pictures.pop("loss", None)
    fit_picture, pairs_picture = pictures.pop("fit", None), pictures.pop("pairs", None)
    order = [name for name in origins if name in pictures]
    order += [name for name in pictures if name not in origins]
    sections += [Heading("Pictures")] if order else []
    sections += _which_classes(result) if order else []
    captions = {**origins, **_own_resolution(result)}
    sections += gallery({captions.get(name, name): pictures[name] for name in order})

    sections += _fit(result, fit_picture)
    sections += _scores(result, origins)
    sections += _copies_and_pairs(result, pairs_picture)
    if marquee_picture is not None or result.marquee:
        sections.append(Heading("Between an image and its class: the marquee header"))
        sections += figure(marquee_picture, _MARQUEE)
        sections += _marquee(result.marquee)
    if loss_picture is not None or result.tune_loss is not None:
        sections.append(Heading("Training"))
        sections += figure(loss_picture, _LOSS)
        sections += _training(result)

    sections.append(Heading("Sample again"))
    prompt_file = pathlib.Path(path).parent / "prompt.safetensors"
    sections.append(
        Command(
            command
            or "python -m maskgit_prompt.main --config=configs/sample.py \\\n"
            f"    --config.prompt={shlex.quote(str(prompt_file))} --workdir=samples"
        )
    )
    sections += _settings(result)
    write_report(path, title, sections)


def _which_classes(result: RunResult) -> list[Section]:
    """What contact sheets leave out of many classes."""
    shown, classes = result.data.shown, len(result.data.classes)
    if shown is None or shown == classes:
        return []
    return [Text(f"{shown} of {classes} classes are shown.")]


def summary(result: RunResult) -> str:
    """The key numbers in words, e.g. "A prompt of 30,240 numbers (1.80 % of the model) was tuned;
    everything else stayed as it was. A classifier trained on other real images reads 91.3 % of the
    400 generated images as their class (real ones: 98.1 %)." What is missing is not mentioned.
    """
    sentences = [_what_was_tuned(result), _what_is_kept(result)]
    accuracy = SCORES["accuracy"].format
    if result.value("accuracy") is not None:
        beside = [
            f"{words}: {accuracy(value)}"
            for origin, words in (
                ("real", "real ones"),
                ("reconstructed", "reconstructed ones"),
                ("untuned", "without tuning"),
            )
            if (value := result.value("accuracy", origin)) is not None
        ]
        sentences.append(
            f"A classifier trained on other real images reads {_with_interval(result, 'accuracy')} "
            f"of the {_generated(result)}generated images as their class"
            + (f" ({', '.join(beside)})." if beside else ".")
        )
    distance = SCORES["frechet"]
    tuned, untuned = result.value("frechet"), result.value("untuned_frechet")
    if tuned is not None:
        sentence = (
            f"The {distance.label} of the generated images to {result.data.reference} is "
            f"{_with_interval(result, 'frechet')}"
        )
        if untuned:
            sentence += (
                f", {tuned / untuned:.2f} times that without tuning ({distance.format(untuned)})"
            )
        sentences.append(sentence + ".")
    if result.tune_loss is not None and result.test_loss is not None:
        loss = SCORES["heldout_loss"].format
        sentences.append(
            f"The loss is {loss(result.tune_loss)} on training images and "
            f"{loss(result.test_loss)} on held-out ones."
        )
    sentences.append(_how_many_copies(result))
    return " ".join(sentence for sentence in sentences if sentence)


# What the main report is made of.


def _what_was_tuned(result: RunResult) -> str:
    if result.trainable is None:
        return ""
    share = f" ({SCORES['share'].format(result.share)} of the model)"
    tuned = f"{number(result.trainable)} numbers{share}"
    parts = _parts(result.config.get("trainable") or ("prompt/.*",))
    if parts == ["prompt"]:
        return f"A prompt of {tuned} was tuned; everything else stayed as it was."
    return f"{tuned} were tuned, in {' and '.join(parts)}; everything else stayed as it was."


def _what_is_kept(result: RunResult) -> str:
    """What the tokenizer leaves of the images, where that is not all."""
    fit = result.reconstruction
    if fit is None or fit["keeps"] == "details":
        return ""
    kept = reconstruction.in_words(result.backbone, fit["keeps"])
    return f"{kept}: no prompt brings back what its tokenizer leaves out."


def _how_many_copies(result: RunResult) -> str:
    copies = _copies(result)
    if copies is None or copies["count"] is None:
        return ""
    generated = f"{_generated(result)}generated images"
    if not copies["count"]:
        return f"None of the {generated} is a near-copy of a training image."
    verb = "is a near-copy" if copies["count"] == 1 else "are near-copies"
    share = _with_interval(result, "near_copies")
    return f"{copies['count']} of the {generated} ({share}) {verb} of a training image."


def _generated(result: RunResult) -> str:
    """How many images were generated, before a noun: "400 "."""
    return "" if result.data.generated is None else f"{result.data.generated:,} "


def _with_interval(result: RunResult, name: str) -> str:
    """A number of the tuned prompt and its interval."""
    form = SCORES[name].format
    words = (form(result.value(name)), brackets(result.interval(name), form))
    return " ".join(filter(None, words))


def _own_resolution(result: RunResult) -> dict[str, str]:
    """The caption of real images, which are shown as the model sees them."""
    if result.reconstruction is None:
        return {}
    side = result.reconstruction["size"]
    return {"real": f"real images as the model sees them, {side} × {side} pixels"}


def _parts(patterns: Sequence[str]) -> list[str]:
    """The parts of the model that patterns such as ("prompt/.*", "transformer/.*") train.

    A pattern that names neither, such as ".*bias", is of both; "!transformer/.*" takes that part
    from the patterns after it, as in params.split.
    """
    known, frozen, trained = ("prompt", "transformer"), set(), set()
    for pattern in patterns:
        named = {part for part in known if part in pattern} or set(known)
        if pattern.startswith("!"):
            frozen |= {part for part in known if pattern == f"!{part}/.*"}
        else:
            trained |= named - frozen
    return [part for part in known if part in trained]


def _fit(result: RunResult, picture: Picture | None) -> list[Section]:
    """How well the backbone keeps the images, beside its own."""
    fit = result.reconstruction
    if fit is None:
        return []
    split = {"test": "held-out images", "tune": "images tuned on"}[fit["split"]]
    own = fit["own"] or {}
    rows = [{"images": f"these {split}", "number": fit["images"]}]
    rows.append({"images": own.get("of", "the backbone's own: not known")})
    for row, found in zip(rows, (fit, own), strict=True):
        row["number"] = found.get("images")
        row["PSNR, dB"] = found.get("psnr")
        row["distance in features"] = found.get("feature_distance")
    formats = {"PSNR, dB": fixed(1), "distance in features": fixed(2)}
    kept = reconstruction.in_words(result.backbone, fit["keeps"])
    about = (
        f"{kept}. Both numbers are of images and their reconstructions: PSNR in pixels, higher is "
        "nearer; the distance in the features of the network that ships with the backbone, 0 for "
        "no difference, 1 for as much as between two of the images."
    )
    caption = "What goes into the tokenizer, and what comes out: the most a prompt can reach."
    return [
        Heading("What the backbone keeps of the images"),
        *figure(picture, caption),
        Table(rows, formats=formats),
        Text(about),
    ]


def _scores(result: RunResult, origins: Mapping[str, str]) -> list[Section]:
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
    if any(INTERVALS in row for row in rows):
        sections.append(Text(_INTERVALS))
    return [Heading("Scores"), *sections]


def _how_many(result: RunResult) -> str:
    """What accuracy and distances are, and of how many images."""
    sentences = []
    counts = {origin: scores.counts for origin, scores in result.scores.items()}
    if result.value("accuracy") is not None:
        guess = SCORES["accuracy"].format(1 / max(1, len(result.data.classes)))
        real = counts.get("real", {}).get("accuracy")
        sentences.append(
            f"Accuracy: the share of {_generated(result)}generated images that are read as their "
            "class by a classifier trained on other real images"
            + (f", and of {real['images']:,} held-out images" if real else "")
            + f". Guessing would give {guess}."
        )
    far = [name for name in ("frechet", "kid") if result.value(name) is not None]
    if far:
        found = counts[PROMPT].get(far[0])
        of = f"{found['images']:,} generated images to {found['real']:,}" if found else "to"
        labels = " and ".join(SCORES[name].label for name in far)
        sentences.append(
            f"{labels}: of {of} {result.data.reference}, in the features of the network that "
            "ships with the backbone; lower is better. They are not FID, and compare only with "
            "numbers made the same way."
        )
    return " ".join(sentences)


def _above_real(result: RunResult) -> list[str]:
    """Why generated images can be read better than real ones, where they are."""
    real = [result.value("accuracy", origin) for origin in ("real", "reconstructed")]
    known = [value for value in real if value is not None]
    tuned = result.value("accuracy")
    return [_ABOVE_REAL] if tuned is not None and known and tuned > min(known) else []


def _copies(result: RunResult) -> Mapping[str, Any] | None:
    """What was found of near-copies, as metrics.neighbors.near_copies gives it."""
    prompt = result.scores.get(PROMPT)
    return None if prompt is None else prompt.found.get("near_copies")


def _copies_and_pairs(result: RunResult, picture: Picture | None) -> list[Section]:
    """How many copies there are, of which images, and the nearest pairs to judge by eye."""
    copies = _copies(result)
    if copies is None:
        return []
    sections: list[Section] = [Text(_how_many_copies(result) or "There are too few to tell.")]
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
        {what: "median of held-out images", **(copies["median_heldout"] or {})},
        {what: "a near-copy is nearer than", **(copies["threshold"] or {})},
    ]
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
    sections += [Table(rows, formats=formats), Text(_COPIES)]
    sections.append(Table(pairs, "The nearest pairs, by number and file", formats, folded=True))
    return [Heading("Near-copies"), *sections]


def _marquee(rows: Sequence[Mapping[str, Any]]) -> list[Section]:
    """A table of cutoffs, without columns that hold nothing."""
    shown = [c for c in _MARQUEE_COLUMNS if any(row.get(c) is not None for row in rows)]
    return [table(rows, shown)] if rows else []


def _training(result: RunResult) -> list[Section]:
    sections: list[Section] = []
    if result.tune_loss is not None:
        rows = [
            {"loss on": "training images", "nats a code": result.tune_loss},
            {"loss on": "held-out images", "nats a code": result.test_loss},
        ]
        sections.append(Table(rows, formats={"nats a code": SCORES["heldout_loss"].format}))
    if result.trainable is not None:
        rows = [
            {"parameters": "trainable", "number": result.trainable, "share": result.share},
            {"parameters": "frozen", "number": result.frozen},
        ]
        sections.append(Table(rows, formats={"share": SCORES["share"].format}))
    return sections


def _encoding(result: RunResult) -> list[Section]:
    """How fast images became codes, where this start encoded them."""
    if not result.encoded_per_second:
        return []
    return [
        Text(
            f"{result.encoded:,} images were encoded; this host read and encoded "
            f"{number(result.encoded_per_second)} per second, compilation included."
        )
    ]


def _settings(result: RunResult) -> list[Section]:
    sections: list[Section] = []
    if result.seconds:
        seconds = {**result.seconds, "total": sum(result.seconds.values())}
        rows = [{"stage": stage, "seconds": s} for stage, s in seconds.items()]
        formats = {"seconds": SCORES["seconds"].format}
        sections += [Heading("Time"), Table(rows, formats=formats), *_encoding(result)]
    if result.data.classes:
        sections += [Heading("Data"), *flat_table(vars(result.data), "", "data")]
    settings = flat_table(result.config, "All settings", "setting", folded=True)
    return sections + ([Heading("Settings"), *settings] if settings else [])
