"""report.html of the main job.

It leaves out what was not measured, so that a folder with one class, or a run without a classifier,
still gets its report.
"""

import os
import pathlib
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from maskgit_prompt.metrics.formats import fixed, number
from maskgit_prompt.metrics.run_result import RunResult
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

_MARQUEE_COLUMNS = ("cutoff", "diversity", "distance_to_instance", "accuracy")
_MARQUEE = (
    "Every image begins under one instance's prompt and ends under its class's prompt; the cutoff "
    "is the share of the decoding after which only the class's prompt is left: of the steps, or "
    "with a causal transformer of the rows. At a low cutoff the class's prompt takes over at once, "
    "at a high one the instance's prompt stays longest. Cutoff 0 is the class's prompt alone."
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
    order = [name for name in origins if name in pictures]
    order += [name for name in pictures if name not in origins]
    sections += [Heading("Pictures")] if order else []
    sections += _which_classes(result) if order else []
    sections += gallery({origins.get(name, name): pictures[name] for name in order})

    sections += _scores(result, origins)
    if marquee_picture is not None or result.marquee:
        sections.append(Heading("From diversity to fidelity: the marquee header"))
        sections += figure(marquee_picture, _MARQUEE)
        sections += [table(result.marquee, _MARQUEE_COLUMNS)] if result.marquee else []
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
    everything else stayed as it was. A classifier trained on held-out real images reads 91.3 % of
    the generated images as their class (real ones: 98.1 %)." What is missing is not mentioned.
    """
    sentences = [_what_was_tuned(result)]
    accuracy = SCORES["accuracy"].format
    if (tuned := result.value("accuracy")) is not None:
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
            f"A classifier trained on held-out real images reads {accuracy(tuned)} of the "
            "generated images as their class" + (f" ({', '.join(beside)})." if beside else ".")
        )
    distance = SCORES["frechet"]
    tuned, untuned = result.value("frechet"), result.value("untuned_frechet")
    if tuned is not None:
        sentence = (
            f"The {distance.label} of the generated images to {result.data.reference} is "
            f"{distance.format(tuned)}"
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
    copies = _copies(result)
    if copies:
        share = SCORES["near_copies"].format
        sentences.append(
            f"{share(copies['fraction'])} of the generated images are near-copies of training "
            f"images (of unseen real images {share(copies['quantile'])} would be)."
        )
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


def _scores(result: RunResult, origins: Mapping[str, str]) -> list[Section]:
    """A table with a row for each origin of images."""
    shown = {
        name: score
        for name, score in SCORES.items()
        if score.measure
        and "page" in score.places
        and any(found.has(score) for found in result.scores.values())
    }
    sections: list[Section] = []
    if shown:
        rows = [
            {"origin": title} | {name: result.value(name, origin) for name in shown}
            for origin, title in origins.items()
            if origin in result.scores
        ]
        sections += [
            table(rows, ("origin", *shown)),
            Text(
                "Accuracy: share read as their class by a classifier trained on held-out real "
                f"images. Fréchet distance and KID: to {result.data.reference}, in the features of "
                "the network shipped with the backbone; lower is better. They are not FID, and "
                "compare only with numbers made the same way."
            ),
        ]
        sections += [Text(score.about) for score in shown.values() if score.about]
    copies = _copies(result)
    if copies:
        sections += _copies_in_pixels(copies)
    return [Heading("Scores"), *sections] if sections else []


def _copies(result: RunResult) -> Mapping[str, Any] | None:
    """What was found of near-copies, as metrics.neighbors.near_copies gives it."""
    prompt = result.scores.get(PROMPT)
    return None if prompt is None else prompt.found.get("near_copies")


def _copies_in_pixels(copies: Mapping[str, Any]) -> list[Section]:
    what, value = "distance to the nearest training image", "pixels, 0 to 1"
    rows = [
        {what: "median of generated images", value: copies["median_distance"]},
        {what: "median of held-out real images", value: copies["median_distance_heldout"]},
        {what: "nearer than this is a near-copy", value: copies["threshold"]},
    ]
    share = SCORES["near_copies"].format(copies["fraction"])
    text = f"Near-copies: {number(copies['count'])} ({share} of the generated images)."
    return [Table(rows, formats={value: fixed(4)}), Text(text)]


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
            f"Of {result.encoded:,} images {number(result.encoded_per_second)} a second were read "
            "and encoded by this host, compilation included."
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
