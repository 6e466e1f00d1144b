"""Makes one wrong change to the code at a time and prints whether a fast test notices it.

    python -m tests.mutants                   # all of tests/mutations/, half an hour
    python -m tests.mutants marquee-reversed  # the named ones
    python -m tests.mutants --check           # only whether each still fits the code

A mutation is caught when a test fails that passes without it. Each is tried on a copy of the
repository, in a process forked from one that has imported JAX and the other large packages, but
nothing of ours. A change that makes tests run on for ever is caught, too, and counted by itself.
Exits with 1 when fewer than 95 % are caught.
"""

import argparse
import collections
import importlib
import multiprocessing
import os
import pathlib
import resource
import shutil
import signal
import sys
import tempfile
import time

from tests.mutations import MUTATIONS, Mutation

ROOT = pathlib.Path(__file__).parents[1]
ENOUGH = 0.95
FAILED = 1  # pytest: tests ran and some failed; other codes say that none ran
ENDLESS = -signal.SIGXCPU
# Seconds of processor time for a test file of one mutation, which may make an endless loop. A busy
# machine has as much time; only where tests wait for ever does the clock end them.
LIMIT, PATIENCE = 100, 20
PASSED, CAUGHT, NO_END, MISSED, BROKEN = "passed", "caught", "no end", "MISSED", "BROKEN"
LARGE = (
    "flax.nnx",
    "jax",
    "matplotlib.pyplot",
    "ml_collections",
    "optax",
    "orbax.checkpoint",
    "PIL.Image",
    "pytest",
    "safetensors.numpy",
    "sklearn.svm",
)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="mutations to make; default: all")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once")
    parser.add_argument("--check", action="store_true", help="run no test")
    args = parser.parse_args(argv)
    unknown = set(args.names) - {mutation.name for mutation in MUTATIONS}
    if unknown:
        parser.error(f"no mutation {', '.join(sorted(unknown))} in tests/mutations/")
    chosen = [m for m in MUTATIONS if not args.names or m.name in args.names]
    for mutation in chosen:
        mutated(mutation)  # before anything runs: a mutation that no longer fits is an error
    print(f"{len(chosen)} mutations fit", flush=True)
    if args.check:
        return 0
    began = time.perf_counter()
    counts: collections.Counter = collections.Counter()
    for name, ending, reason in try_all(chosen, args.jobs):
        if ending == PASSED:
            print("without a mutation all their tests pass", flush=True)
            continue
        if ending == BROKEN:
            print(f"error: {name}: {reason}", file=sys.stderr)
            return 1
        counts[ending] += 1
        print(f"{counts.total():4} {ending}  {name}  {reason}", flush=True)
    caught, seconds = counts[CAUGHT] + counts[NO_END], time.perf_counter() - began
    share = caught / len(chosen)
    endless = f", {counts[NO_END]} by tests without an end" if counts[NO_END] else ""
    print(f"{caught} of {len(chosen)} caught ({share:.1%}{endless}) in {seconds:.0f} s")
    return 0 if share >= ENOUGH else 1


def mutated(mutation: Mutation) -> str:
    """The file's text after the mutation.

    Raises:
      SystemExit: the text to replace is not in the file exactly once.
    """
    text = (ROOT / mutation.file).read_text()
    if text.count(mutation.old) != 1 or mutation.old == mutation.new:
        raise SystemExit(
            f"error: {mutation.name}: {mutation.old!r} is {text.count(mutation.old)} times in "
            f"{mutation.file}, expected once; mend tests/mutations/"
        )
    return text.replace(mutation.old, mutation.new)


def try_all(mutations: list[Mutation], jobs: int):
    """Yields (name, how it ended, the test that failed), first of no mutation at all."""
    context = multiprocessing.get_context("fork")
    todo, done = context.Queue(), context.Queue()
    texts = {mutation.name: mutated(mutation) for mutation in mutations}
    everything = sorted({test for mutation in mutations for test in mutation.tests})
    todo.put(Mutation("no mutation", "", "", "", tuple(everything)))
    for mutation in mutations:
        todo.put(mutation)
    with tempfile.TemporaryDirectory() as folder:
        workers = []
        for number in range(jobs):
            copy = pathlib.Path(folder) / str(number)
            shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "runs", "*.egg-info"))
            todo.put(None)  # ends a worker
            workers.append(context.Process(target=work, args=(copy, texts, todo, done)))
            workers[-1].start()
        try:
            for _ in range(len(mutations) + 1):
                yield done.get()
        finally:
            for worker in workers:
                if worker.is_alive():
                    os.killpg(worker.pid, signal.SIGTERM)  # the tests that it runs, too
                worker.join()


def work(copy: pathlib.Path, texts: dict[str, str], todo, done) -> None:
    """Tries mutations on a copy of the repository until there are no more."""
    os.setpgrp()
    os.chdir(copy)
    sys.path[:] = [str(copy), *(path for path in sys.path if path not in ("", str(ROOT)))]
    sys.dont_write_bytecode = True  # two mutations of a file may have one size and one second
    os.environ["PJRT_NPROC"] = "16"  # tests/conftest.py: before jax is imported
    for name in LARGE:
        importlib.import_module(name)
    for name in [name for name in sys.modules if name.split(".")[0] in ("tests", "maskgit_prompt")]:
        del sys.modules[name]
    log = copy / "log.txt"
    while (mutation := todo.get()) is not None:
        path = copy / mutation.file
        before = path.read_text() if mutation.file else None
        if before is not None:
            path.write_text(texts[mutation.name])
        code = run_tests(mutation.tests, log)
        if before is not None:
            path.write_text(before)
            ending = {FAILED: CAUGHT, ENDLESS: NO_END}.get(code, MISSED)
            done.put((mutation.name, ending, _first_failure(log)))
        else:
            reason = "its tests do not end: " if code == ENDLESS else ""
            reason += log.read_text()[-2000:]
            done.put((mutation.name, PASSED if code == 0 else BROKEN, reason))


def run_tests(tests: tuple[str, ...], log: pathlib.Path) -> int:
    """pytest's exit code, from a process of its own; ENDLESS where it does not end in time."""
    pid = os.fork()
    if pid == 0:
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        limit = LIMIT * len({test.partition("::")[0] for test in tests})
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))
        pytest = importlib.import_module("pytest")
        options = ["-q", "-x", "-p", "no:cacheprovider", "-m", "not slow"]
        os._exit(int(pytest.main([*options, *tests])))
    ends = time.monotonic() + PATIENCE * LIMIT * len(tests)
    while time.monotonic() < ends:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return ENDLESS


def _first_failure(log: pathlib.Path) -> str:
    lines = [x for x in log.read_text(errors="replace").splitlines() if x.startswith("FAILED ")]
    return lines[0].removeprefix("FAILED ").split(" - ")[0] if lines else ""


if __name__ == "__main__":
    sys.exit(main())
