"""What a main job found, with numbers that are all different: exchanged ones show."""

from typing import Any


def main_job() -> dict[str, Any]:
    """A results.json; a new one at each call."""
    near = {"density": 1.1, "coverage": 0.9}
    return {
        "accuracy": {"real": 0.95, "reconstructed": 0.85, "prompt": 0.75, "untuned": 0.15},
        "frechet": {"prompt": 12.0, "untuned": 48.0},
        "kid": {"prompt": 0.02, "untuned": 0.3},
        "precision_recall": {
            "prompt": {"precision": 0.6, "recall": 0.4, **near},
            "untuned": {"precision": 0.2, "recall": 0.1, **near},
        },
        "loss": {"train": 1.5, "heldout": 2.5},
        "near_copies": {
            "count": 3,
            "fraction": 0.03,
            "threshold": 0.08,
            "quantile": 0.05,
            "median_distance": 0.16,
            "median_distance_heldout": 0.12,
        },
        "marquee": [
            {"cutoff": 0.0, "diversity": 0.25, "distance_to_instance": 0.5, "accuracy": 0.7},
            {"cutoff": 0.4, "diversity": 0.125, "distance_to_instance": 0.375, "accuracy": 0.65},
        ],
        "parameters": {"trainable": 30, "frozen": 570, "share": 0.05},
        "steps": 7,
        "seconds": {"load": 1.0, "tune": 20.0, "sample": 4.0},
        "seconds_per_image": 0.25,
        "model": {"name": "tiny", "transformer": "causal"},
        "data": {
            "name": "pets",
            "classes": ["cat", "dog"],
            "images": {"tune": 6, "judge": 9, "test": 12, "reference": 15},
            "reference": "held-out real images",
            "generated": 18,
            "shown": 2,
        },
        "warnings": [],
        "config": {"seed": 2020, "trainable": ["prompt/.*"]},
    }
