"""Plans and examples for tests of the task, on the tiny encoder-decoder."""

import numpy as np

from maskgit_prompt import config as defaults
from maskgit_prompt.data.examples import Examples
from maskgit_prompt.devices import sharding
from maskgit_prompt.tasks.multimodal import plan
from maskgit_prompt.tasks.multimodal.plan import Plan
from tests import tiny

FEW = {
    "data.tune_num": 12,
    "data.test_num": 6,
    "data.size": 32,
    "train.batch_size": 8,
    "train.steps": 4,
    "prompt.encoder": 3,
    "prompt.decoder": 2,
    "search.beams": 2,
}


def config(**changes):
    found = defaults.ask()
    found.update_from_flattened_dict(FEW | changes)
    return found


def make_plan(path, **changes) -> Plan:
    """A plan of drawn scenes; changes: keys with "__" for the dot."""
    changes = {key.replace("__", "."): value for key, value in changes.items()}
    return plan.make_plan(config(**changes), tiny.multimodal(), sharding.make_mesh(), path / "run")


def examples(*rows: tuple[tuple[str, ...], tuple[str, ...]], sizes=None) -> Examples:
    """Grey images of 8 x 8 pixels with (texts, targets), image i of grey i."""
    texts, targets = zip(*rows, strict=True)
    return Examples(
        name="made",
        texts=texts,
        targets=targets,
        weights=tuple((1.0,) * len(right) for right in targets),
        rows=tuple(f"made.csv, line {i + 2}" for i in range(len(rows))),
        sizes=np.full((len(rows), 2), 64) if sizes is None else np.array(sizes),
        fingerprint="f",
        read=lambda chosen: np.stack([np.full((8, 8, 3), i, np.uint8) for i in chosen]),
    )
