"""What a run found, as results.json holds it and as a terminal shows it."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from maskgit_prompt.tasks.generation import pictures
from maskgit_prompt.tasks.generation.plan import Plan
from maskgit_prompt.tasks.generation.prompt_tuning import TunedModel
from maskgit_prompt.tasks.generation.score import Scorer


def summarize(
    plan: Plan,
    scorer: Scorer,
    scores: Mapping[str, Mapping[str, Any]],
    tuned: TunedModel,
    marquee: Sequence[Mapping[str, Any]],
    classes: np.ndarray,
) -> dict[str, Any]:
    """results.json, but for the model and the seconds."""
    data, run = plan.data, tuned.run
    by_score = lambda name: {method: row[name] for method, row in scores.items()}
    share = run.trainable / (run.trainable + tuned.frozen)
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
        "loss": {"train": run.loss["train"], "heldout": run.loss["heldout"]},
        "near_copies": scores["prompt"]["near_copies"],
        "marquee": marquee,
        "parameters": {"trainable": run.trainable, "frozen": tuned.frozen, "share": share},
        "steps": run.steps,
        "data": {
            "name": data.images.name,
            "classes": list(data.images.classes),
            "images": counts,
            "reference": data.reference_name,
            "generated": len(classes),
            "shown": len(pictures.shown_classes(classes)),
        },
        "warnings": scorer.warnings,
        "config": plan.config.to_dict(),
    }


def last_words(home: pathlib.Path, found: dict) -> str:
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
