"""Teaches a frozen image transformer to draw images like yours, by tuning a small prompt.

  python -m maskgit_prompt.main --config=configs/quickstart.py --workdir=DIR

runs the job of a configuration, which is a Python file. Flags set any of its values:
  --config=configs/folder.py:PATH --config.data.shots=5 --config.optimizer.learning_rate=0.01
Exit codes: 0 done, 1 failed, 2 wrong use, 143 stopped by SIGTERM, 130 stopped by Ctrl-C. A run
stopped in training saves a checkpoint first; start it again to resume. Errors are one line; --debug
adds the traceback.
"""

import importlib
import os
import sys
import traceback
from logging import WARNING, Formatter, StreamHandler, basicConfig

from absl import logging

from maskgit_prompt import console, interrupt
from maskgit_prompt.config import command_line, defaults, manual
from maskgit_prompt.devices import distributed, pages
from maskgit_prompt.errors import INTERRUPTED, Stopped, UserError


def main(argv: list[str] | None = None) -> int:
    """Runs the job and returns the exit code."""
    argv = sys.argv if argv is None else argv
    debug = any(arg in ("--debug", "--debug=true") for arg in argv)
    try:
        if text := manual.asked(argv, __doc__):
            print(text)
            return 0
        config, workdir = command_line.parse(argv)
        _quiet_logs(debug)
        distributed.initialize()
        file = defaults.CARRIED_OUT_BY.get(config.job, config.job)
        job = importlib.import_module(f"maskgit_prompt.jobs.{file}")
        with distributed.exit_at_once_on_error():
            job.run(config, workdir)
        return 0
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        return stopped.exit_code
    except UserError as error:
        if debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt as stop:
        print(str(stop) or interrupt.NOTE, file=sys.stderr)
        return INTERRUPTED


def cli() -> None:
    """main as a command, which ends after a bug's traceback, whatever other threads wait for."""
    if not manual.ASKED & set(sys.argv):
        pages.start_again()
    console.settle()
    interrupt.end_at_once()
    try:
        code = main()
    except Exception:
        traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)
    sys.exit(code)


def _quiet_logs(debug: bool) -> None:
    """Warnings as one line each, and of Orbax none: it prints a traceback beside our error."""
    logging.set_verbosity(logging.INFO if debug else logging.WARNING)
    if debug:
        return
    handler = StreamHandler()  # absl's own begins with a line about flags
    handler.setFormatter(Formatter("warning: %(message)s"))
    handler.addFilter(lambda record: "orbax" not in record.pathname)
    basicConfig(handlers=[handler], level=WARNING, force=True)
    sys.unraisablehook = _unraisable


def _unraisable(found) -> None:
    """Orbax's threads and coroutines fail again after a failure that our error tells."""
    coroutine = getattr(found.object, "cr_code", None)
    of_orbax = coroutine is not None and "orbax" in coroutine.co_filename
    if not of_orbax and str(found.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(found)


if __name__ == "__main__":
    cli()
