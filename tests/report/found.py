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
            "reason": None,
            "quantile": 0.02,
            "threshold": {"pixel": 0.08, "feature": 0.9},
            "median": {"pixel": 0.16, "feature": 1.6},
            "median_heldout": {"pixel": 0.12, "feature": 1.2},
            "copied": {"cat/1.png": 2, "dog/2.png": 1},
            "pairs": [
                {"generated": 5, "training": 1, "image": "cat/1.png"}
                | {"pixel": 0.01, "feature": 0.1, "copy": True},
                {"generated": 4, "training": 0, "image": "cat/0.png"}
                | {"pixel": 0.11, "feature": 0.5, "copy": False},
            ],
        },
        "intervals": {
            "accuracy": {"real": [0.91, 0.97], "prompt": [0.66, 0.83], "untuned": [0.1, 0.2]},
            "frechet": {"prompt": [11.0, 13.5], "untuned": [45.0, 52.0]},
            "kid": {"prompt": [0.01, 0.035], "untuned": [0.25, 0.36]},
            "precision_recall": {
                "prompt": {"precision": [0.55, 0.65], "recall": [0.3, 0.5]}
                | {"density": [0.9, 1.3], "coverage": [0.8, 0.95]},
            },
            "near_copies": [0.005, 0.09],
        },
        "counts": {
            "accuracy": {"real": {"images": 12}, "prompt": {"images": 18}},
            "frechet": {"prompt": {"images": 18, "real": 15}},
            "kid": {"prompt": {"images": 18, "real": 14}},
            "precision_recall": {},
            "near_copies": {"images": 18, "training": 6, "heldout": 11},
        },
        "reconstruction": {
            "images": 12,
            "size": 16,
            "psnr": 19.5,
            "feature_distance": 0.35,
            "split": "test",
            "keeps": "shapes",
            "own": {"images": 500, "size": 16, "psnr": 24.5, "feature_distance": 0.15}
            | {"of": "drawn pictures that it was not trained on", "command": "python x.py"},
        },
        "prompts": {"attention": [0.25]},
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
            "found": ["sizes: 8 x 8 pixels, all alike"],
        },
        "warnings": [],
        "config": {"seed": 2020, "trainable": ["prompt/.*"]},
    }
