"""Makes one wrong change to the code at a time and prints whether a fast test notices it.

    python -m tests.mutants                   # all of tests/mutations.py, some ten minutes
    python -m tests.mutants marquee-reversed  # the named ones

A mutation is caught when a test fails that passes without it; the tests that a mutation names are
first run on the code as it is. Exits with 1 when fewer than 95 % are caught.
"""

import argparse
import concurrent.futures
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

from tests.mutations import MUTATIONS, Mutation

ROOT = pathlib.Path(__file__).parents[1]
ENOUGH = 0.95
FAILED = 1  # pytest: tests ran and some failed; other codes say that none ran, or that one hung
LIMIT = 600  # seconds for the tests of one mutation


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="mutations to make; default: all")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once")
    args = parser.parse_args(argv)
    unknown = set(args.names) - {mutation.name for mutation in MUTATIONS}
    if unknown:
        parser.error(f"no mutation {', '.join(sorted(unknown))} in tests/mutations.py")
    chosen = [m for m in MUTATIONS if not args.names or m.name in args.names]
    for mutation in chosen:
        mutated(mutation)  # before anything runs: a mutation that no longer fits is an error
    tests = sorted({test for mutation in chosen for test in mutation.tests})
    if run_tests(ROOT, tests) != 0:
        print("error: these tests fail without any mutation; mend them first", file=sys.stderr)
        return 1
    caught = 0
    began = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for mutation, found in zip(chosen, pool.map(try_one, chosen), strict=True):
            caught += found
            print(f"{'caught' if found else 'MISSED':<8}{mutation.name}", flush=True)
    share = caught / len(chosen)
    seconds = time.perf_counter() - began
    print(f"{caught} of {len(chosen)} caught ({share:.1%}) in {seconds:.0f} s")
    return 0 if share >= ENOUGH else 1


def mutated(mutation: Mutation) -> str:
    """The file's text after the mutation.

    Raises:
      SystemExit: the text to replace is not in the file exactly once.
    """
    text = (ROOT / mutation.file).read_text()
    if text.count(mutation.old) != 1:
        raise SystemExit(
            f"error: {mutation.name}: {mutation.old!r} is {text.count(mutation.old)} times in "
            f"{mutation.file}, expected once; mend tests/mutations.py"
        )
    return text.replace(mutation.old, mutation.new)


def try_one(mutation: Mutation) -> bool:
    """Whether the mutation's tests fail on a copy of the code that has it."""
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder) / "copy"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "runs", "*.egg-info"))
        (copy / mutation.file).write_text(mutated(mutation))
        return run_tests(copy, mutation.tests, "-x") == FAILED


def run_tests(folder: pathlib.Path, tests: tuple[str, ...] | list[str], *options: str) -> int:
    """pytest's exit code; its output is shown where no test ran."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow"]
    command += [*options, *tests]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=LIMIT)
    if done.returncode not in (0, FAILED):
        print(done.stdout[-2000:], done.stderr[-2000:], file=sys.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
