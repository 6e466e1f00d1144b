"""Whole jobs in this process, through `main`, small enough for a test."""

import dataclasses
import pathlib

import numpy as np
import pytest
from PIL import Image

from maskgit_prompt import main

ROOT = pathlib.Path(__file__).parents[2]
QUICKSTART = f"--config={ROOT}/configs/quickstart.py:digits"
FOLDER = f"--config={ROOT}/configs/folder.py"
SAMPLE = f"--config={ROOT}/configs/sample.py"

# Few steps of few images.
TINY = (
    "--config.train.steps=4",
    "--config.train.batch_size=8",
    "--config.train.save_every=2",
    "--config.train.log_every=1",
    "--config.train.evaluate_every=2",
    "--config.prompt.tokens=2",
    "--config.sample.steps=2",
    "--config.sample.batch_size=8",
    "--config.score.per_class=3",
    "--config.score.rounds=2",
)
# The same with a causal transformer, which draws code by code and not in steps.
TINY_CAUSAL = tuple(flag for flag in TINY if not flag.startswith("--config.sample.steps="))


@dataclasses.dataclass(frozen=True)
class Done:
    """How a run ended: exit code and what it printed."""

    code: int
    out: str
    err: str

    def error(self) -> str:
        """The one line of a run that failed."""
        assert "Traceback" not in self.err
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        assert self.err.rstrip("\n").endswith(lines[0])
        return lines[0]


def run(capsys: pytest.CaptureFixture, *flags: str) -> Done:
    capsys.readouterr()
    code = main.main(["maskgit_prompt", *flags])
    return Done(code, *capsys.readouterr())


def write_images(folder: pathlib.Path, kind: str = "png", **classes: int) -> pathlib.Path:
    """FOLDER/CLASS/0.png, 1.png, …: so many a class; of class "flat" in the folder itself."""
    rng = np.random.default_rng(0)
    for name, count in classes.items():
        place = folder if name == "flat" else folder / name
        place.mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 256, (16, 16, 3), np.uint8)
            Image.fromarray(pixels).save(place / f"{number}.{kind}")
    return folder
