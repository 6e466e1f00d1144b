"""Earlier names of config keys and jobs, so that old workdirs and commands still work."""

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
