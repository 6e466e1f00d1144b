"""Prompt tuning, full tuning, from scratch and no tuning, with 2 to 20 images of each class.

    python benchmarks/pictures.py targets data/targets
    python benchmarks/few_images.py --out=runs/few_images --mnist=data/targets/mnist
    python benchmarks/few_images.py --out=runs/few_images --parts twemoji --seeds 0

The targets are the quickstart's emoji and MNIST, the backbone is `mini64`. All methods take the
same steps and are scored at the step of their smallest held-out loss; a seed also chooses the
images. A run compares the methods on a number of images. Stopped, it goes on where it was. It
writes OUT/results.csv, a row a run, and prints the tables. Not run yet.
"""

import pathlib
import sys
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks import studying  # noqa: E402
from benchmarks.studying import Case, run_all, table  # noqa: E402

SHOTS = (2, 5, 10, 20)
METHODS = ("prompt", "full", "scratch", "untuned")
PARTS = ("twemoji", "mnist")
SCORES = {"accuracy": "%", "frechet": "Fréchet"}


def cases(parts: list[str], mnist: pathlib.Path, shots: list[int]) -> list[Case]:
    """The runs of some of PARTS."""
    folder = ("--config.data.name=folder", f"--config.data.path={mnist}")
    return [
        Case(
            part,
            f"{number} images",
            "quickstart.py:compare",
            (f"--config.compare.shots=({number},)", *(folder if part == "mnist" else ())),
        )
        for part in parts
        for number in shots
    ]


def read(found: dict[str, Any], home: pathlib.Path) -> dict[str, float | None]:
    """The row of a run: "prompt/accuracy", "untuned/frechet", …"""
    return {
        f"{method}/{score}": row.get(score)
        for method, row in ((row["method"], row) for row in found["rows"])
        for score in SCORES
    }


def columns() -> dict[str, Any]:
    forms = {"accuracy": lambda x: f"{100 * x:.0f}", "frechet": lambda x: f"{x:.1f}"}
    return {
        f"{method}/{score}": (f"{method}, {unit}", forms[score])
        for score, unit in SCORES.items()
        for method in METHODS
    }


def main(arguments: list[str] | None = None) -> None:
    parser = studying.parser(__doc__.partition("\n")[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--mnist", type=pathlib.Path, default=pathlib.Path("data/targets/mnist"))
    parser.add_argument("--shots", nargs="+", type=int, default=list(SHOTS))
    parser.add_argument("--steps", type=int, default=200)
    args = parser.parse_args(arguments)
    every = (
        f"--config.train.steps={args.steps}",
        "--config.train.evaluate_every=50",
        "--config.train.tensorboard=False",
        "--config.score.per_class=20",
        *args.flags,
    )
    rows = run_all(cases(args.parts, args.mnist, args.shots), every, args.seeds, args.out, read)
    for part in args.parts:
        print(f"\n{part}\n\n{table(rows, part, columns())}")


if __name__ == "__main__":
    main()
