"""python -m maskgit_prompt.main --config=configs/quickstart.py --workdir=DIR: runs config.job.

A configuration is a Python file; any value of it can be set on the command line:
  --config=configs/folder.py:PATH --config.data.shots=5 --config.optimizer.learning_rate=0.01
Exit codes: 0 done, 1 failed, 2 wrong use, 143 stopped by SIGTERM and 130 by Ctrl-C, both after a
save (start again to resume). Errors are one line; --debug adds the traceback.
"""

import functools
import importlib
import itertools
import os
import signal
import sys
import traceback
from logging import WARNING, Formatter, StreamHandler, basicConfig

from absl import flags, logging
from ml_collections import ConfigDict, config_flags

from maskgit_prompt import renamed
from maskgit_prompt.devices import distributed
from maskgit_prompt.errors import INTERRUPTED, Stopped, UsageError, UserError

JOBS = ("run", "vtab", "side_by_side", "compare", "sample", "pretrain", "import_weights")


def main(argv: list[str] | None = None) -> int:
    """Runs the job and returns the exit code."""
    argv = sys.argv if argv is None else argv
    if {"--help", "-h", "-help"} & set(argv[1:]):
        print(f"{__doc__}\nflags:\n{_flags(argv).get_help()}")
        return 0
    debug = any(arg in ("--debug", "--debug=true") for arg in argv)
    try:
        config, workdir = _parse(argv)
        _quiet_logs(debug)
        distributed.initialize()
        job = importlib.import_module(f"maskgit_prompt.jobs.{config.job}")
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
        again = "interrupted; the same command again goes on from what is on disk"
        print(str(stop) or again, file=sys.stderr)
        return INTERRUPTED


def cli() -> None:
    """main as a command, which ends after a bug's traceback, whatever other threads wait for."""
    try:
        code = main()
    except Exception:
        traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)
    if code == INTERRUPTED:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C ends it without a word
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
    """After a save that failed Orbax's threads find their event loop closed: our error says it."""
    if str(found.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(found)


def _flags(argv: list[str]) -> flags.FlagValues:
    """The flags, of this call alone: main() can be called again, in a test or a notebook."""
    values = flags.FlagValues()
    string = functools.partial(flags.DEFINE_string, default=None, flag_values=values)
    switch = functools.partial(flags.DEFINE_bool, default=False, flag_values=values)
    config_flags.DEFINE_config_file(
        "config", None, "Configuration file.", flag_values=values, sys_argv=argv
    )
    string("workdir", help="Folder of the run; made if it is not there.")
    switch("strict", help="Refuse broken images (config.data.strict) instead of skipping them.")
    switch("debug", help="Show the traceback of an error.")
    return values


def _parse(argv: list[str]) -> tuple[ConfigDict, str]:
    """(config, workdir) of the flags; whatever is wrong with them becomes one line."""
    values = _flags(argv)
    file = _config_file(argv)
    if not file:
        raise UsageError("no --config given, as --config=configs/quickstart.py")
    path = file.partition(":")[0]
    if not os.path.isfile(path):
        raise UsageError(
            f"no config file {path} in {os.getcwd()}; those that exist are in configs/"
        )
    # ml_collections runs a file in the module of the one before, whose names would shine through.
    sys.modules.pop("config_config", None)
    try:
        rest = values(argv)
    except UserError:
        raise
    except Exception as error:  # whatever the Python file raises, or a flag
        text = _one_line(error, file)
        current = _with_new_names(argv, text)
        if current != argv:
            return _parse(current)
        raise UsageError(text) from error
    if len(rest) > 1:
        raise UsageError(f"unexpected argument {rest[1]!r}; flags begin with --")
    config = values.config
    if not isinstance(config, ConfigDict):
        raise UsageError(f"{path}: get_config() gave a {type(config).__name__}, not a ConfigDict")
    config.job = renamed.JOBS.get(config.get("job"), config.get("job"))
    if config.get("job") not in JOBS:
        raise UsageError(f"config.job = {config.get('job')!r}, expected {', '.join(JOBS)}")
    if values.strict:
        if "strict" not in config.get("data", {}):
            raise UsageError(f"--strict: the job {config.job} reads no folder of images")
        config.data.strict = True
    workdir = values.workdir or config.get("workdir", "")
    if not workdir:
        raise UsageError("no --workdir given: name a folder for the run, as --workdir=runs/my")
    return config, workdir


def _with_new_names(argv: list[str], error: str) -> list[str]:
    """The flags with today's name of the key that the config does not have, if it had one once."""
    new = []
    for arg in argv:
        key, equals, value = arg.partition("=")
        now = renamed.KEYS.get(key.removeprefix("--config."))
        if now and key.startswith("--config.") and error.endswith(f" {key.rpartition('.')[2]}"):
            print(f"note: {key[2:]} is called config.{now} now", file=sys.stderr)
            arg = f"--config.{now}{equals}{value}"
        new.append(arg)
    return new


def _config_file(argv: list[str]) -> str:
    """What --config is given, as FILE or FILE:ARGUMENT."""
    for arg, after in itertools.pairwise([*argv, ""]):
        name, _, value = arg.partition("=")
        if name in ("--config", "-config"):
            return value or after
    return ""


def _one_line(error: Exception, file: str) -> str:
    """What went wrong with a flag or a config file, without the traceback that is put into it."""
    if "Error whilst parsing config file" in str(error):
        while error.__context__ is not None:
            error = error.__context__
        text = " ".join(str(error).split())
        return text if file in text else f"--config={file}: {text}"
    text = " ".join(str(error.args[0] if error.args else error).split())
    if isinstance(error, flags.Error):
        return text
    if isinstance(error, AttributeError) and "get_config" in text:
        return f"--config={file}: the file has no get_config(); write one that returns a ConfigDict"
    if isinstance(error, (AttributeError, KeyError)):
        text = text.replace("\\n", "; ").replace("\\'", "").strip("'\"")  # a quoted quotation
        return f"--config={file} has no key {text}"
    return f"--config={file}: {type(error).__name__}: {text}"


if __name__ == "__main__":
    cli()
