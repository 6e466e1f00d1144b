"""A study of prefixes on `mini-ofa`: their sizes, other methods, learning rates, convergence.

    python benchmarks/prefixes.py --out=runs/prefixes
    python benchmarks/prefixes.py --out=runs/prefixes --parts sizes methods --seeds 0 1 2

The task is how many things a scene shows, which `mini-ofa` was never asked: 500 examples to tune
on, 200 held out. A run takes 40 seconds on two cores, all parts with three seeds half an hour.
Stopped, it goes on where it was. It writes OUT/results.csv, a row a run, and prints the tables.
"""

import json
import pathlib
import sys
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks import studying  # noqa: E402
from benchmarks.studying import Case, run_all, table  # noqa: E402

SIZES = {
    "16 + 16 tokens in all layers": {},
    "2 + 2 tokens": {"prompt__encoder": 2, "prompt__decoder": 2},
    "64 + 64 tokens": {"prompt__encoder": 64, "prompt__decoder": 64},
    "the first layers": {"prompt__layers": "bottom-1"},
    "the last layers": {"prompt__layers": "top-1"},
    "made by an MLP of 144": {"prompt__reparameterize": 144},
}
# The first of each method's rates is the one of the other parts.
RATES = {
    "prompt": (0.03, 0.01, 0.1),
    "full": (0.001, 0.0003, 0.003),
}
METHODS = {
    "prompt": RATES["prompt"][0],
    "adapter": 0.003,
    "lora": 0.003,
    "bias": 0.003,
    "bias_ofa": 0.01,
    "full": RATES["full"][0],
}
REACHED = 0.5  # held-out loss in nats per token, of two each; guessing among five answers is 0.8
PARTS = ("sizes", "methods", "rates")


def flags(**values: Any) -> tuple[str, ...]:
    """flags(prompt__encoder=2) -> ("--config.prompt.encoder=2",)."""
    return tuple(f"--config.{key.replace('__', '.')}={value}" for key, value in values.items())


def cases(parts: list[str]) -> list[Case]:
    """The runs of some of PARTS."""
    found = []
    if "sizes" in parts:
        for name, sizes in SIZES.items():
            found.append(_case("sizes", name, "prompt", METHODS["prompt"], **sizes))
    if "methods" in parts:
        found += [_case("methods", name, name, rate) for name, rate in METHODS.items()]
    if "rates" in parts:
        for method, rates in RATES.items():
            for rate in rates:
                found.append(_case("rates", f"{method}, {rate:g}", method, rate))
    return found


def _case(part: str, name: str, method: str, rate: float, **sizes: Any) -> Case:
    own = flags(method=method, optimizer__learning_rate=rate, **sizes)
    return Case(part, name, "multimodal.py", own)


def read(found: dict[str, Any], home: pathlib.Path) -> dict[str, float | None]:
    """The row of a run; "reached": the first step whose held-out loss is at most REACHED."""
    lines = [json.loads(line) for line in (home / "metrics.jsonl").read_text().splitlines()]
    losses = [(line["step"], line["evaluated_heldout"]) for line in lines if _held(line)]
    reached = next((step for step, loss in losses if loss <= REACHED), None)
    seconds = found["speed"]["step_seconds"]
    return {
        "accuracy": found["scores"]["tuned"]["values"]["accuracy"],
        "loss": found["loss"],
        "trainable": found["trainable"],
        "share": found["share"],
        "reached": reached,
        "seconds_to_it": None if reached is None else reached * seconds,
        "step_seconds": seconds,
        "memory": found["speed"]["host_peak_bytes"],
    }


def _held(line: dict[str, float]) -> bool:
    return "evaluated_heldout" in line


COLUMNS = {
    "trainable": ("trained", lambda x: f"{x:,.0f}"),
    "accuracy": ("right answers, %", lambda x: f"{100 * x:.1f}"),
    "loss": ("held-out loss, nats", lambda x: f"{x:.3f}"),
    "reached": (f"steps to {REACHED} nats", lambda x: f"{x:.0f}"),
    "seconds_to_it": ("seconds to it", lambda x: f"{x:.0f}"),
    "step_seconds": ("ms a step", lambda x: f"{1e3 * x:.0f}"),
    "memory": ("peak GB", lambda x: f"{x / 1e9:.2f}"),
}


def main(arguments: list[str] | None = None) -> None:
    parser = studying.parser(__doc__.partition("\n")[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--steps", type=int, default=500)
    args = parser.parse_args(arguments)
    every = flags(
        train__steps=args.steps,
        train__evaluate_every=50,
        train__tensorboard=False,
        score__untuned=False,
    )
    rows = run_all(cases(args.parts), (*every, *args.flags), args.seeds, args.out, read)
    for part in args.parts:
        print(f"\n{part}\n\n{table(rows, part, COLUMNS)}")


if __name__ == "__main__":
    main()
