"""python -m maskgit_prompt.main --config=configs/quickstart.py --workdir=DIR: runs config.job.

A configuration is a Python file; any value of it can be set on the command line:
  --config=configs/folder.py:PATH --config.data.shots=5 --config.optimizer.learning_rate=0.01
Exit codes: 0 done, 1 failed, 2 wrong use, 143 stopped by SIGTERM after a save (start again to
resume). Errors are one line; --debug adds the traceback.
"""

import importlib
import sys

from absl import flags, logging
from ml_collections import config_flags

from maskgit_prompt.errors import Stopped, UsageError, UserError

JOBS = ("transfer", "compare", "sample", "pretrain")
STOPPED = 143  # 128 + SIGTERM: what a shell reports for a process that SIGTERM ended

_CONFIG = config_flags.DEFINE_config_file("config", None, "Configuration file.", lock_config=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; made if it is not there.")
_DEBUG = flags.DEFINE_bool("debug", False, "Show the traceback of an error.")


def main(argv: list[str] | None = None) -> int:
    """Runs the job and returns the exit code."""
    argv = sys.argv if argv is None else argv
    if {"--help", "-h", "-help"} & set(argv[1:]):
        print(_help())
        return 0
    debug = any(arg in ("--debug", "--debug=true") for arg in argv)
    try:
        _parse(argv)
        config, workdir = _CONFIG.value, _WORKDIR.value
        if workdir is None:
            workdir = config.get("workdir", "")
        if not workdir:
            raise UsageError("no --workdir given: name a folder for the run, as --workdir=runs/my")
        if config.get("job") not in JOBS:
            raise UsageError(f"config.job = {config.get('job')!r}, expected {', '.join(JOBS)}")
        logging.set_verbosity(logging.INFO if debug else logging.WARNING)
        job = importlib.import_module(f"maskgit_prompt.jobs.{config.job}")
        job.run(config, workdir)
        return 0
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        return STOPPED
    except UserError as error:
        if debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; start again to resume from the last checkpoint", file=sys.stderr)
        return 130


def _help() -> str:
    return f"{__doc__}\nflags:\n" + flags.FLAGS.module_help(sys.modules[__name__])


def _parse(argv: list[str]) -> None:
    """Reads flags and the config file; whatever is wrong with them becomes one line."""
    try:
        rest = flags.FLAGS(argv)
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(" ".join(str(error).split())) from error
    except (OSError, ImportError, SyntaxError) as error:
        raise UsageError(f"--config: {error}; expected a Python file with get_config()") from error
    if len(rest) > 1:
        raise UsageError(f"unexpected argument {rest[1]!r}; flags begin with --")
    if _CONFIG.value is None:
        raise UsageError("no --config given, as --config=configs/quickstart.py")


if __name__ == "__main__":
    sys.exit(main())
