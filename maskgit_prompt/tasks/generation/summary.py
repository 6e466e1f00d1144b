"""What a run found, as results.json holds it and as a terminal shows it."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from maskgit_prompt.metrics import reconstruction
from maskgit_prompt.metrics.formats import brackets
from maskgit_prompt.metrics.run_result import RunData, RunResult
from maskgit_prompt.metrics.scores import PROMPT, SCORES, Scores
from maskgit_prompt.tasks.generation import pictures
from maskgit_prompt.tasks.generation.plan import Plan
from maskgit_prompt.tasks.generation.prompt_tuning import TunedModel
from maskgit_prompt.tasks.generation.score import Scorer


def summarize(
    plan: Plan,
    scorer: Scorer,
    scores: Mapping[str, Scores],
    tuned: TunedModel,
    marquee: Sequence[Mapping[str, Any]],
    classes: np.ndarray,
) -> RunResult:
    """What a run found, but for its files and their making: speeds, seconds, the prompt file.

    scores: of generated images, by origin. classes: what each of them shows.
    """
    data, run, backbone = plan.data, tuned.run, plan.backbone
    return RunResult(
        scores={**scorer.of_real(), **scores},
        reconstruction=scorer.reconstruction,
        tune_loss=run.loss["train"],
        test_loss=run.loss["heldout"],
        trainable=run.trainable,
        frozen=tuned.frozen,
        steps=run.steps,
        marquee=marquee,
        backbone=backbone.name,
        transformer=backbone.part("transformer").kind,
        data=RunData(
            name=data.images.name,
            classes=data.images.classes,
            images={
                "tune": len(data.tune),
                "judge": len(data.judge),
                "test": len(data.test),
                "reference": len(data.reference),
            },
            reference=data.reference_name,
            generated=len(classes),
            shown=len(pictures.shown_classes(classes)),
            found=() if data.images.found is None else tuple(data.images.found.lines()),
        ),
        warnings=scorer.warnings,
        config=plan.config.to_dict(),
    )


def _fit_in_figures(fit: Mapping[str, Any]) -> str:
    """As "PSNR 24.4 dB, distance in features 0.14"."""
    distance = fit["feature_distance"]
    text = f"PSNR {fit['psnr']:.1f} dB"
    return text if distance is None else f"{text}, distance in features {distance:.2f}"


def last_words(home: pathlib.Path, found: RunResult) -> str:
    """What a terminal shows at the end; scores that could not be measured are left out."""
    scores = []
    digits = lambda value: f"{value:.3g}"
    for name, score in SCORES.items():
        if not score.measure or "console" not in score.places:
            continue
        origins = (PROMPT, *score.beside)
        values = {origin: found.value(name, origin) for origin in origins}
        shown = {origin: digits(x) for origin, x in values.items() if x is not None}
        if PROMPT in shown:
            others = [f"{origin} {text}" for origin, text in shown.items() if origin != PROMPT]
            words = [score.label, shown[PROMPT], brackets(found.interval(name), digits)]
            words.append(f"({', '.join(others)})" if others else "")
            scores.append(" ".join(filter(None, words)))
    lines = [", ".join(scores)] if scores else []
    if fit := found.reconstruction:
        own = f"; its own pictures {_fit_in_figures(fit['own'])}" if fit["own"] else ""
        kept = reconstruction.in_words(found.backbone, fit["keeps"])
        lines.append(f"{kept} ({_fit_in_figures(fit)}{own})")
    lines += [text for text in found.warnings if text.startswith("No ")]
    lines.append(f"report: {home / 'report.html'}")
    size = found.prompt_bytes / 1e3
    lines.append(f"prompt: {home / 'prompt.safetensors'} ({size:.0f} kB)")
    return "\n".join(lines)
