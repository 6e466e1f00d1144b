"""report.html of the main job.

It leaves out what was not measured, so that a folder with one class, or a run without a classifier,
still gets its report.
"""

import os
import pathlib
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from maskgit_prompt.counts import counted
from maskgit_prompt.metrics.formats import number
from maskgit_prompt.metrics.run_result import RunResult
from maskgit_prompt.metrics.scores import SCORES
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
from maskgit_prompt.report.prompts import PICTURES, prompt_sections
from maskgit_prompt.report.scored import (
    copy_sections,
    fit_sections,
    generated,
    how_many_copies,
    kept,
    score_sections,
    with_interval,
)
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
      pictures: name -> PIL image, PNG bytes or PNG path. Those of origins, of prompts, "marquee"
        and "loss" have their places and captions; any other name is its own caption, at the end
        of the pictures.
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
    of_prompts = {name: pictures.pop(name) for name in PICTURES if name in pictures}
    order = [name for name in origins if name in pictures]
    order += [name for name in pictures if name not in origins]
    sections += [Heading("Pictures")] if order else []
    sections += _which_classes(result) if order else []
    captions = {**origins, **_own_resolution(result)}
    sections += gallery({captions.get(name, name): pictures[name] for name in order})

    sections += fit_sections(result, fit_picture)
    sections += score_sections(result, origins)
    sections += copy_sections(result, pairs_picture)
    if marquee_picture is not None or result.marquee:
        sections.append(Heading("Between an image and its class: the marquee header"))
        sections += figure(marquee_picture, _MARQUEE)
        sections += _marquee(result.marquee)
    sections += prompt_sections(result.prompts, of_prompts)
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
            f"A classifier trained on other real images reads {with_interval(result, 'accuracy')} "
            f"of the {generated(result)}generated images as their class"
            + (f" ({', '.join(beside)})." if beside else ".")
        )
        guess, interval = 1 / max(1, len(result.data.classes)), result.interval("accuracy")
        if interval and interval[0] <= guess <= interval[1]:
            sentences.append(f"Guessing, {accuracy(guess)}, lies within that interval.")
    distance = SCORES["frechet"]
    tuned, untuned = result.value("frechet"), result.value("untuned_frechet")
    if tuned is not None:
        sentence = (
            f"The {distance.label} of the generated images to {result.data.reference} is "
            f"{with_interval(result, 'frechet')}"
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
    sentences.append(how_many_copies(result))
    if any("[" in sentence for sentence in sentences):
        sentences.append("Brackets hold 95\u202f% intervals.")
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
    return f"{kept(result)}: no prompt brings back what its tokenizer leaves out."


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


def _marquee(rows: Sequence[Mapping[str, Any]]) -> list[Section]:
    """A table of cutoffs, without columns that hold nothing."""
    shown = [c for c in _MARQUEE_COLUMNS if any(row.get(c) is not None for row in rows)]
    return [table(rows, shown)] if rows else []


def _training(result: RunResult) -> list[Section]:
    sections: list[Section] = []
    if result.tune_loss is not None:
        rows = [
            {"loss on": "training images", "nats per code": result.tune_loss},
            {"loss on": "held-out images", "nats per code": result.test_loss},
        ]
        sections.append(Table(rows, formats={"nats per code": SCORES["heldout_loss"].format}))
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
    were = "was" if result.encoded == 1 else "were"
    return [
        Text(
            f"{counted(result.encoded, 'image')} {were} encoded; "
            f"this host read and encoded {number(result.encoded_per_second)} per second, "
            "compilation included."
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
