"""A sweep of 4 learning rates x 3 weight decays: side by side in one program, and one by one.

    python benchmarks/classify.py --out=classify.json
    python benchmarks/classify.py --small            # a few seconds, to see that it runs

The embedded encoder on scikit-learn's digits, ten of each. Each way runs in a process of its own,
in turn, as often as --pairs says; medians of the seconds of the whole sweep are compared,
compilation included.
"""

import argparse
import json
import pathlib
import statistics
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks import measuring  # noqa: E402

RATES, DECAYS = (0.25, 1.0, 2.5, 10.0), (0.0, 1e-4, 1e-2)
METHODS = ("linear", "prompt", "bias")


def sweep(method: str, together: int, epochs: float, small: bool) -> dict:
    """Seconds of a sweep's grid with `together` runs in one program, and its accuracies."""
    import itertools
    import tempfile

    from maskgit_prompt import backbones, config
    from maskgit_prompt.devices import sharding
    from maskgit_prompt.tasks.classification.inputs import source
    from maskgit_prompt.tasks.classification.plan import make_plan
    from maskgit_prompt.tasks.classification.sweep import carry_out
    from maskgit_prompt.tuning.together import Run

    settings = config.sweep()
    settings.method, settings.train.epochs = method, epochs
    settings.data.fractions.tune, settings.data.fractions.judge = 0.3, 0.2
    if small:
        settings.data.shots, settings.train.batch_size = 2, 4
    mesh, backbone = sharding.make_mesh(), backbones.load_for(settings, "", "encoder")
    with tempfile.TemporaryDirectory() as folder:
        plan = make_plan(settings, backbone, mesh, folder)
    rows = plan.data.judge[: 8 if small else 100]
    runs = [Run(rate, decay, 0) for rate, decay in itertools.product(RATES, DECAYS)]
    began, accuracies = time.perf_counter(), []
    for first in range(0, len(runs), together):
        # As runs alone would, each program reads the images and computes features for itself.
        some = runs[first : first + together]
        accuracies += carry_out(plan, source(plan), some, rows, method)[1]
    return {"seconds": time.perf_counter() - began, "accuracies": accuracies}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--epochs", type=float, default=20.0)
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--one", nargs=2, metavar=("METHOD", "TOGETHER"))
    args = parser.parse_args(arguments)
    epochs = 1.0 if args.small else args.epochs
    if args.one:
        method, together = args.one
        print(json.dumps(sweep(method, int(together), epochs, args.small)))
        return
    number, rows = len(RATES) * len(DECAYS), []
    for method in ("linear",) if args.small else args.methods:
        found = {1: [], number: []}
        for _ in range(args.pairs):
            for together in found:
                flags = ["--one", method, str(together), f"--epochs={epochs}"]
                flags += ["--small"] if args.small else []
                found[together].append(measuring.in_a_process(__file__, flags))
        alone, side = (statistics.median(x["seconds"] for x in found[n]) for n in (1, number))
        same = [found[n][0]["accuracies"] for n in (1, number)]
        rows.append(
            {
                "method": method,
                "one by one": round(alone, 2),
                "side by side": round(side, 2),
                "ratio": round(side / alone, 3),
                "largest difference of accuracies": max(
                    abs(a - b) for a, b in zip(*same, strict=True)
                ),
            }
        )
        print(rows[-1], flush=True)
    if args.out:
        measuring.write_json(args.out, {"runs": number, "epochs": epochs, "rows": rows})


if __name__ == "__main__":
    main()
