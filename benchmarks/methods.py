"""Ways to tune a classifier on `mini-vit`, side by side: 10 Twemoji of each of ten classes.

    python benchmarks/methods.py --out=runs/methods
    python benchmarks/methods.py --out=runs/methods --seeds 0 --methods linear deep

For every method and seed, which also chooses the images, the learning rate is the one of RATES
that reads most of the deciding images; these are not tuned on. All other images are held out.
Stopped, it goes on where it was. It writes OUT/results.csv, a row a run, and prints the table.
"""

import pathlib
import sys
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks import studying  # noqa: E402
from benchmarks.studying import Case, run_all, table  # noqa: E402

# Before they are scaled by the batch size over 256.
SMALL, LARGE = (0.05, 0.25, 1.0, 5.0), (0.25, 1.0, 2.5, 10.0)
METHODS = {
    "linear": ("linear", LARGE, ()),
    "shallow": ("prompt", LARGE, ("--config.prompt.deep=False",)),
    "deep": ("prompt", SMALL, ()),
    "bias": ("bias", SMALL, ()),
    "adapter": ("adapter", SMALL, ()),
    "lora": ("lora", SMALL, ()),
    "full": ("full", SMALL, ()),
}


def cases(methods: list[str]) -> list[Case]:
    """The runs of some of METHODS."""
    found = []
    for name in methods:
        method, rates, own = METHODS[name]
        tokens = ("--config.sweep.tokens=(10,)",) if method == "prompt" else ()
        flags = (f"--config.method={method}", f"--config.sweep.learning_rates={rates}")
        found.append(Case("methods", name, "sweep.py", (*flags, *tokens, *own)))
    return found


def read(found: dict[str, Any], home: pathlib.Path) -> dict[str, float]:
    """The row of a run."""
    (row,) = found["rows"]
    keys = ("accuracy", "validation", "learning_rate", "images", "steps")
    return {key: row[key] for key in keys}


COLUMNS = {
    "accuracy": ("held out, %", lambda x: f"{100 * x:.1f}"),
    "validation": ("deciding, %", lambda x: f"{100 * x:.1f}"),
    "learning_rate": ("learning rate", lambda x: f"{x:.2g}"),
}


def main(arguments: list[str] | None = None) -> None:
    parser = studying.parser(__doc__.partition("\n")[0])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    args = parser.parse_args(arguments)
    every = (
        "--config.sweep.weight_decays=(0.001,)",
        "--config.sweep.seeds=(0,)",
        "--config.sweep.with_judge=False",
        "--config.train.epochs=50",
        *args.flags,
    )
    rows = run_all(cases(args.methods), every, args.seeds, args.out, read)
    print(f"\n{table(rows, 'methods', COLUMNS)}")


if __name__ == "__main__":
    main()
