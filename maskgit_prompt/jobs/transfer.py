"""The main job: images -> codes -> tuned prompt -> samples -> scores -> report.

1. Load the frozen source model.
2. Find the images; part them into those to tune on, to train the judge on, to score against.
3. Encode them once.
4. Tune the prompt.
5. Generate images of every class, and a marquee from an instance's prompt to its class's.
6. Score them, beside real, reconstructed and untuned ones.
7. Write prompt.safetensors, results.json, report.html and samples/.
"""

import contextlib
import csv
import dataclasses
import hashlib
import io
import json
import os
import pathlib
import shlex
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from maskgit_prompt import (
    distributed,
    params,
    prompt_file,
    settings,
    sharding,
    source_writer,
    tune,
    workdir,
)
from maskgit_prompt import source as sources
from maskgit_prompt.data import augment, parts, splits
from maskgit_prompt.data.parts import Parts
from maskgit_prompt.encode import Encoded, encode_once
from maskgit_prompt.errors import UserError
from maskgit_prompt.files import write_whole
from maskgit_prompt.metrics import diversity
from maskgit_prompt.models.prompt import NONE, PromptConfig
from maskgit_prompt.report import pictures, results
from maskgit_prompt.report.transfer import transfer_report
from maskgit_prompt.sampling import Sampler, make_prompts, unconditional
from maskgit_prompt.score import Scorer


class Clock:
    """Seconds by stage."""

    def __init__(self):
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - began


def run(config: ConfigDict, path: str) -> None:
    clock = Clock()

    # 1-2. Source model and images.
    workdir.check(path, config)  # before all images are looked at
    with clock("load"):
        mesh = sharding.make_mesh(**config.mesh)
        source = sources.load_for(config)
        data, cfg = plan(config, source, mesh, path)
    home = claim(config, path, data)
    carry_out(config, home, source, mesh, data, cfg, clock)


def carry_out(
    config: ConfigDict,
    home: pathlib.Path,
    source: sources.Source,
    mesh,
    data: Parts,
    cfg: PromptConfig,
    clock: Clock,
    untuned: np.ndarray | None = None,
) -> np.ndarray:
    """All that follows the plan, in a workdir that was claimed.

    untuned: what this gave for another task on the source model: of as many images they are taken.
    """
    # 3. Codes.
    if config.data.shots:
        save_choice(home, data)
    with clock("encode"):
        stored = encode(config, source, data, home)

    # 4. The prompt.
    with clock("tune"):
        codes = tuning_codes(config, data, stored)
        tuned = tune.tune(config, source, cfg, codes, home, mesh)

    # 5. Images.
    classes = classes_to_draw(config, data)
    key = sharding.make_key(config.seed + 2, mesh)
    with clock("sample"):
        sampler = Sampler(
            source, mesh, config.sample, config.dtype, tuned.transformer, cfg, config.attention
        )
        prompts = make_prompts(cfg, tuned.prompt)
        uncond = unconditional(config.sample, prompts)
        generated = sampler.images(prompts(classes)[:, None], key, uncond=uncond)
        per_image = sampler.seconds_per_image
    with clock("untuned"):
        if untuned is None or len(untuned) != len(classes):
            untuned = untuned_images(config, source, len(classes), mesh)
    with clock("judge"):
        scorer = make_scorer(config, source, data, stored, sampler.decode, mesh)
    with clock("marquee"):
        strip, marquee = marquee_of(config, data, stored, sampler, prompts, uncond, mesh, scorer)

    # 6. Scores.
    with clock("score"):
        scores = {"prompt": scorer(generated, classes), "untuned": scorer(untuned, classes)}
        found = summarize(scorer, scores, tuned, marquee, data, classes, config)
    found["encoding"] = {
        "images": len(stored),
        "images_per_second": stored.images_per_second,
    }
    found["model"] = {"name": source.name, "transformer": source.part("transformer").kind}
    found["seconds_per_image"] = per_image

    # 7. Files.
    with clock("report"):
        prompt_path, again = save_prompt(config, source, data, cfg, tuned, found, home, mesh)
        cutoffs = config.score.marquee_cutoffs
        drawn = pictures.draw(data, scorer, generated, classes, untuned, tuned, strip, cutoffs)
        pictures.save(home, drawn)
    found["prompt_file"] = {"name": prompt_path.name, "bytes": prompt_path.stat().st_size}
    found["seconds"] = {stage: round(s, 2) for stage, s in clock.seconds.items()}
    if tuned.resumed == tuned.steps and (home / "results.json").exists():
        # A finished run was started again: this start tuned nothing.
        old = json.loads((home / "results.json").read_text())
        found["seconds"]["tune"] = old["seconds"]["tune"]
    results.write_json(home / "results.json", found)
    transfer_report(
        home / "report.html",
        found,
        {name: picture for name, picture in drawn.items() if name != "glance"},
        title=f"Prompt tuning: {data.images.name} on {source.name}",
        command=again,
    )
    if distributed.is_first():
        print(_last_words(home, found))
    return untuned


def plan(config: ConfigDict, source: sources.Source, mesh, path) -> tuple[Parts, PromptConfig]:
    """The images by part, and the prompt's sizes; raises for all that can be known to be wrong.

    path: the workdir, not touched but for what is kept of a large set of files.
    """
    settings.check_before(config, source, mesh)
    size = source.part("tokenizer").cfg.image_size
    data = parts.load(config.data, size, codes_folder(config, path))
    data = data.thinned(config.score.most, config.data.seed)
    cfg = settings.prompt_config(config, source, len(data.images.classes), len(data.tune))
    settings.check_settings(config, source, cfg)
    return data, cfg


def claim(config: ConfigDict, path: str | os.PathLike, data: Parts) -> pathlib.Path:
    """Makes the workdir, or checks that it is of this config and these images and labels.

    Called once the plan stands, so that a mistyped path claims no workdir.
    """
    home = workdir.prepare(path, config)
    found = {}
    for part, rows in (("tuned on", data.tune), ("held out", data.test)):
        digest = hashlib.sha256(data.images.subset(rows).fingerprint.encode())
        digest.update(data.labels(rows).tobytes())
        found[part] = digest.hexdigest()[:16]
    workdir.bind(home, found)
    return home


def save_choice(home: pathlib.Path, data: Parts) -> None:
    """chosen.csv: the images that the prompt is tuned on and their classes."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("file", "class"))
    for row, label in zip(data.tune, data.labels(data.tune), strict=True):
        rows.writerow((data.images.ids[row], data.images.classes[label]))
    write_whole(home / "chosen.csv", text.getvalue().encode())


# --- 3. Codes ------------------------------------------------------------------------------------


def codes_folder(config: ConfigDict, path) -> pathlib.Path:
    """Where codes are kept: config.data.codes, or in the workdir."""
    return pathlib.Path(config.data.codes) if config.data.codes else pathlib.Path(path) / "codes"


def encode(config: ConfigDict, source: sources.Source, data: Parts, home: pathlib.Path) -> Encoded:
    """The codes of what is tuned on and of what is held out."""
    view_fn = None
    if config.data.views > 1:
        view_fn = augment.random_crop_flip(config.data.crop, config.data.flip)
    views = dict(views=config.data.views, view_fn=view_fn, seed=config.data.seed)
    return encode_once(
        data.images,
        ((data.tune, views), (data.test, {})),
        source.part("tokenizer"),
        codes_folder(config, home),
        config.dtype,
    )


def tuning_codes(config: ConfigDict, data: Parts, stored: Encoded) -> tune.TuningCodes:
    """What tuning sees: codes and labels, no pixels."""
    labels = data.labels(data.tune)
    return tune.TuningCodes(
        codes=stored.of(data.tune),
        labels=labels,
        scored=splits.thin(labels, config.score.most, config.data.seed),
        heldout=stored.plain(data.test) if len(data.test) else np.zeros([0, 1], np.int32),
        heldout_labels=data.labels(data.test),
    )


# --- 5. Images -----------------------------------------------------------------------------------


def classes_to_draw(config: ConfigDict, data: Parts) -> np.ndarray:
    """The class of each image that is generated, int32, increasing.

    config.score.per_class of each class; or config.score.images in all, no more than there are
    reference images, in the proportions that classes have among these: what distances to them ask
    for. Classes without an image to tune on are left out: nothing was learnt of them.
    """
    classes = len(data.images.classes)
    counts = np.full(classes, config.score.per_class)
    if config.score.images:
        law = np.bincount(data.labels(data.reference), minlength=classes)
        counts = splits.shares(min(config.score.images, law.sum()), law / max(1, law.sum()))
    counts[np.bincount(data.labels(data.tune), minlength=classes) == 0] = 0
    if not counts.sum():
        raise UserError(
            f"{data.images.name}: no class has images both to tune on and among the "
            f"{data.reference_name}; choose other splits, or config.score.images = 0"
        )
    return np.repeat(np.arange(classes, dtype=np.int32), counts)


def make_scorer(config, source: sources.Source, data: Parts, stored, decode, mesh) -> Scorer:
    scorer = Scorer(source, data, stored, decode, mesh, config.score.most, config.data.seed)
    missing = len(data.images.classes) - len(np.unique(data.labels(data.tune)))
    if missing:
        scorer.warnings.append(
            f"{missing} of {len(data.images.classes)} classes have no image to tune on: none of "
            "theirs are generated."
        )
    return scorer


def untuned_images(config: ConfigDict, source: sources.Source, count: int, mesh) -> np.ndarray:
    """What the source model makes of classes of its own, drawn at random: uint8 [n, S, S, 3]."""
    sampler = Sampler(source, mesh, config.sample, config.dtype, attention=config.attention)
    own = np.full(count, NONE)
    if sampler.classes:
        own = np.random.default_rng(config.seed).integers(sampler.classes, size=count)
    key = sharding.make_key(config.seed + 2, mesh)
    return sampler.images(sampler.class_prompts(own), key, what="untuned")


def marquee_of(
    config: ConfigDict, data: Parts, stored, sampler: Sampler, prompts, uncond, mesh, scorer: Scorer
):
    """Images under headers [an instance's prompt, its class's prompt], one instance a class.

    Of more than pictures.SHEET_ROWS classes some, evenly chosen.

    Returns:
      (instances and their images [classes, 1 + cutoffs, S, S, 3] or None,
       [{"cutoff", "diversity", "distance_to_instance", "accuracy"}]); the first row, of cutoff 0,
       is of the class's prompt alone.
    """
    num = config.score.marquee_images
    if not num or not config.prompt.instances:
        return None, []
    labels = data.labels(data.tune)
    classes = pictures.shown_classes(labels)
    instances = np.array([np.argmax(labels == c) for c in classes])  # the first image of each class
    originals = sampler.decode(stored.plain(data.tune[instances]))
    first = prompts(classes, instances)
    headers = np.stack([first, prompts(classes)], axis=1)  # [C, 2, depth, P, D]
    headers = np.repeat(headers, num, axis=0)
    owner = np.repeat(np.arange(len(classes)), num)
    drawn = np.repeat(classes, num)
    rows, columns = [], [originals]
    for cutoff in (0.0, *config.score.marquee_cutoffs):
        # The same key at every cutoff: what differs is the header alone.
        key = sharding.make_key(config.seed + 3, mesh)
        made = sampler.images(
            headers if cutoff else headers[:, 1:],
            key,
            uncond=uncond,
            cutoff=cutoff or 1.0,
            what=f"marquee {cutoff:g}",
        )
        spread = diversity.pairwise_distance_by_class(made, owner) if num > 1 else None
        nearness = diversity.distance_to_by_class(made, owner, originals, np.arange(len(classes)))
        rows.append(
            {
                "cutoff": float(cutoff),
                "diversity": spread,
                "distance_to_instance": nearness,
                "accuracy": scorer.accuracy(made, drawn),
            }
        )
        columns.append(made[::num])
    return np.stack(columns, axis=1), rows


# --- 6. Scores -----------------------------------------------------------------------------------


def summarize(
    scorer: Scorer, scores, tuned, marquee, data: Parts, classes: np.ndarray, config
) -> dict[str, Any]:
    """results.json, but for the model and the seconds."""
    by_score = lambda name: {method: row[name] for method, row in scores.items()}
    share = tuned.trainable / (tuned.trainable + tuned.frozen)
    counts = {
        "tune": len(data.tune),
        "judge": len(data.judge),
        "test": len(data.test),
        "reference": len(data.reference),
    }
    return {
        "accuracy": scorer.of_real() | by_score("accuracy"),
        "frechet": by_score("frechet"),
        "kid": by_score("kid"),
        "precision_recall": by_score("precision_recall"),
        "loss": {"train": tuned.loss["train"], "heldout": tuned.loss["heldout"]},
        "near_copies": scores["prompt"]["near_copies"],
        "marquee": marquee,
        "parameters": {"trainable": tuned.trainable, "frozen": tuned.frozen, "share": share},
        "steps": tuned.steps,
        "data": {
            "name": data.images.name,
            "classes": list(data.images.classes),
            "images": counts,
            "reference": data.reference_name,
            "generated": len(classes),
            "shown": len(pictures.shown_classes(classes)),
        },
        "warnings": scorer.warnings,
        "config": config.to_dict(),
    }


# --- 7. Files ------------------------------------------------------------------------------------


def save_prompt(
    config: ConfigDict, source: sources.Source, data: Parts, cfg, tuned, found, home, mesh
) -> tuple[pathlib.Path, str]:
    """Writes prompt.safetensors; returns its path and the command that samples from it again.

    Where config.trainable changed the transformer, too, a prompt is of use on that one alone: the
    folder source/ is then written beside it, and is the backbone that the prompt file names.
    """
    name = config.source
    model = {"transformer": source.part("transformer").tree, "prompt": tuned.prompt}
    trained, _ = params.split(model, config.trainable)
    if "transformer" in trained:
        part = source.part("transformer")
        part = dataclasses.replace(part, tree=sharding.tree_to_host(tuned.transformer, mesh))
        changed = {**source.parts, "transformer": part}
        changed = dataclasses.replace(source, name=f"{source.name}, tuned", parts=changed)
        source, name = source_writer.save(changed, home / "source"), str(home / "source")
    path = home / "prompt.safetensors"
    rows = data.tune if cfg.instances else data.tune[:0]
    prompt_file.save(
        path,
        prompt_file.PromptFile(
            cfg=cfg,
            tree=tuned.prompt,
            classes=data.images.classes,
            instances=tuple(data.images.ids[row] for row in rows),
            instance_classes=tuple(data.labels(rows).tolist()),
            source=source.name,
            fingerprint=source.fingerprint,
            sample=config.sample.to_dict(),
            scores={name: found[name] for name in ("accuracy", "frechet", "kid", "loss")},
        ),
    )
    command = ["python", "-m", "maskgit_prompt.main", "--config=configs/sample.py"]
    command += [f"--config.prompt={path}", f"--workdir={home / 'more'}"]
    if name:
        command.append(f"--config.source={name}")
    return path, shlex.join(command)


def _last_words(home: pathlib.Path, found: dict) -> str:
    """What a terminal shows at the end; scores that could not be measured are left out."""
    scores = []
    for name, key, beside in (
        ("accuracy", "accuracy", ("real", "untuned")),
        ("Fréchet distance", "frechet", ("untuned",)),
    ):
        shown = {k: f"{v:.3g}" for k, v in found[key].items() if v is not None}
        if "prompt" in shown:
            others = [f"{other} {shown[other]}" for other in beside if other in shown]
            scores.append(f"{name} {shown['prompt']}" + (f" ({', '.join(others)})" * bool(others)))
    lines = [", ".join(scores)] if scores else []
    lines.append(f"report: {home / 'report.html'}")
    size = found["prompt_file"]["bytes"] / 1e3
    lines.append(f"prompt: {home / 'prompt.safetensors'} ({size:.0f} kB)")
    return "\n".join(lines)
