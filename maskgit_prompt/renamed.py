"""Earlier names of config keys and jobs, so that old workdirs and commands still work."""

from collections.abc import Collection, Mapping
from typing import Any

KEYS = {
    "source": "backbone",
    "models.sources": "models.backbones",
    "commitment": "quantizer.commitment",
    "entropy_ratio": "quantizer.entropy",
}
JOBS = {"transfer": "run"}
# Keys added later, each with the value for the behaviour before the key existed.
ADDED = {
    "attention": "auto",
    **{f"compare.learning_rates.{method}": 1e-3 for method in ("head", "bias", "norm")},
    **{f"compare.learning_rates.last_{layers}": 1e-4 for layers in (1, 2, 4)},
    "data.fit": "crop",
    "data.full_scale": 0.0,
    "data.max_pixels": 300_000_000,
    "initial_weights": "random",
    "optimizer.decays": [],
    "optimizer.hold": 1,
    "optimizer.momentum": 0.9,
    "optimizer.name": "adamw",
    "optimizer.nesterov": False,
    "optimizer.rates": [],
    "optimizer.schedule": "cosine",
    "sample.entropy_bound": 8.0,
    "sample.guidance_begin": 0.0,
    "sample.guidance_end": 1.0,
    "sample.remask": 0.1,
    "sample.sampler": "plain",
    "sample.window": 16,
    "score.judge": "pixels",
    "score.prompts": True,
    "score.saved": 10_000,
    "task": "generation",
    "trainable": [".*"],
}


def as_today(found: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """An earlier config with the names of today.

    {"source": "mini", "job": "transfer"}, of a job that knows "backbone" and "task", is {"task":
    "generation", "backbone": "mini", "job": "run"}.

    Args:
      found: key -> value, as "data.path".
      known: keys of the job today; those that were added since are filled in.
    """
    named = {key if key in known else KEYS.get(key, key): value for key, value in found.items()}
    job = JOBS.get(found.get("job"), found.get("job"))
    return {key: value for key, value in ADDED.items() if key in known} | named | {"job": job}
