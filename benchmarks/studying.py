"""What the studies share: a grid of runs of the main program, one row a run, resumable.

A run that has its results.json is not run again; one that was stopped goes on.
"""

import argparse
import csv
import dataclasses
import io
import json
import os
import pathlib
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
SEED = "seed"


@dataclasses.dataclass(frozen=True)
class Case:
    """One line of a study's table.

    Attributes:
      part: the table that it stands in.
      name: what it is called there.
      config: of configs/, with its argument.
      flags: of the program, such as "--config.method=full".
    """

    part: str
    name: str
    config: str
    flags: tuple[str, ...] = ()


def parser(description: str) -> argparse.ArgumentParser:
    """The flags of every study: --out, --seeds and --flags."""
    found = argparse.ArgumentParser(description=description)
    found.add_argument("--out", type=pathlib.Path, required=True)
    found.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    found.add_argument("--flags", nargs="*", default=[], help="of every run")
    return found


def run_all(
    cases: Sequence[Case],
    every: Sequence[str],
    seeds: Iterable[int],
    folder: pathlib.Path,
    read: Callable[[dict[str, Any], pathlib.Path], dict[str, float]],
) -> list[dict[str, Any]]:
    """Runs all cases with all seeds, and writes results.csv after every run.

    A seed is that of the run and that of its images. Cases that differ in their names alone are run
    once.

    Args:
      every: flags of all runs, behind a case's own.
      read: (results.json, workdir) -> columns of the row.

    Returns:
      rows of "part", "name", "seed" and the columns that were read.
    """
    rows: list[dict[str, Any]] = []
    for seed in seeds:
        for case in cases:
            flags = (*case.flags, *every)
            home = folder / "runs" / _folder_of(case.config, flags, seed)
            if not (home / "results.json").exists():
                own = (f"--config.seed={seed}", f"--config.data.seed={seed}")
                _run(case.config, (*flags, *own), home, folder / "compiled")
            found = json.loads((home / "results.json").read_text())
            rows.append({"part": case.part, "name": case.name, SEED: seed} | read(found, home))
            _write(folder / "results.csv", rows)
    return rows


def _folder_of(config: str, flags: Sequence[str], seed: int) -> str:
    words = [config, *(flag.removeprefix("--config.") for flag in flags), f"seed={seed}"]
    return "_".join(words).replace("/", "-")


def _run(config: str, flags: Sequence[str], home: pathlib.Path, compiled: pathlib.Path) -> None:
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(compiled.resolve())}
    command = [sys.executable, "-m", "maskgit_prompt.main", f"--config=configs/{config}"]
    done = subprocess.run(
        [*command, f"--workdir={home.resolve()}", *flags], cwd=ROOT, env=environment
    )
    if done.returncode:
        sys.exit(f"error: {' '.join(flags)} ended with exit code {done.returncode}")


def _write(path: pathlib.Path, rows: list[dict[str, Any]]) -> None:
    from maskgit_prompt.storage.files import write_whole

    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(path, text.getvalue().encode())


def table(
    rows: Sequence[dict[str, Any]],
    part: str,
    columns: dict[str, tuple[str, Callable[[float], str]]],
) -> str:
    """A part's table in Markdown: a line a case, each figure a mean over seeds ± its deviation.

    Args:
      columns: of the rows -> (heading, how a number is written).
    """
    names = list(dict.fromkeys(row["name"] for row in rows if row["part"] == part))
    heads = ["", *(heading for heading, _ in columns.values())]
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    for name in names:
        own = [row for row in rows if (row["part"], row["name"]) == (part, name)]
        cells = [_over_seeds([row[key] for row in own], form) for key, (_, form) in columns.items()]
        lines.append(f"| {' | '.join([name, *cells])} |")
    return "\n".join(lines)


def _over_seeds(values: list[float | None], form: Callable[[float], str]) -> str:
    """[0.5, 0.7] as shares in percent: "60 ± 14"; one value, or several that are equal: "60".

    Where some have none: "60 ± 14 (2 of 3)".
    """
    there = [value for value in values if value is not None]
    if not there:
        return "—"
    text = form(statistics.fmean(there))
    if len(set(there)) > 1:
        text += f" ± {form(statistics.stdev(there))}"
    return text if len(there) == len(values) else f"{text} ({len(there)} of {len(values)})"
