"""The command line: which config file, which values of it are changed, where the run goes.

1. Find the config file, in the working folder or among those that come with the package.
2. Run it, and hold its keys to those of its job.
3. Set what flags change, naming the key that was meant where there is none of that name.
4. Expand paths.
"""

import ast
import functools
import os
import pathlib
import re
import sys

from absl import flags
from ml_collections import ConfigDict, config_flags

import maskgit_prompt
from maskgit_prompt import renamed
from maskgit_prompt.config import defaults, keys, paths
from maskgit_prompt.errors import UsageError, UserError

OVERRIDE = re.compile(r"--?(?:no)?config\.([^=]*)(?:=(.*))?", re.DOTALL)


def parse(argv: list[str]) -> tuple[ConfigDict, str]:
    """(config, workdir) of a command line; argv[0] is the program.

    Raises:
      UsageError: whatever is wrong with it, in one line.
    """
    argv = flags.FlagValues().read_flags_from_files(argv, force_gnu=False)
    file, argv = _split(argv)
    if not file:
        raise UsageError("no --config given, as --config=configs/quickstart.py")
    config = load(file)
    own_job = config.job
    argv = _overrides(argv, config, file)
    try:
        values = define_flags(argv, config)
        rest = values(argv)
    except flags.UnrecognizedFlagError as error:
        text = _one_line(error, file).partition(". Did you mean")[0]
        near = keys.meant(error.flagname, keys.flat(config))
        flag = f"; did you mean --config.{near[0]}?" if near else ""
        raise UsageError(text + flag) from error
    except flags.IllegalFlagValueError as error:
        raise UsageError(_of_type(error, config)) from error
    except Exception as error:  # whatever else a flag raises
        raise UsageError(_one_line(error, file)) from error
    if len(rest) > 1:
        raise UsageError(f"unexpected argument {rest[1]!r}; flags begin with --")
    config.job = _job(config)
    keys.check(config, file, own_job)
    if values.strict:
        if "strict" not in config.get("data", {}):
            raise UsageError(f"--strict: the job {config.job} reads no folder of images")
        config.data.strict = True
    paths.expand(config)
    workdir = paths.local("--workdir", values.workdir or config.get("workdir", ""))
    if not workdir:
        raise UsageError("no --workdir given: name a folder for the run, as --workdir=runs/my")
    return config, workdir


def define_flags(argv: list[str], config: ConfigDict) -> flags.FlagValues:
    """The flags, of this call alone: main() can be called again, in a test or a notebook."""
    values = flags.FlagValues()
    string = functools.partial(flags.DEFINE_string, default=None, flag_values=values)
    switch = functools.partial(flags.DEFINE_bool, default=False, flag_values=values)
    config_flags.DEFINE_config_dict(
        "config", config, "Configuration file.", flag_values=values, sys_argv=argv
    )
    string("workdir", help="Folder of the run; made if it is not there.")
    switch("strict", help="Refuse broken images (config.data.strict) instead of skipping them.")
    switch("debug", help="Show the traceback of an error.")
    return values


def config_file(argv: list[str]) -> str:
    """What --config is given, as FILE or FILE:ARGUMENT; empty without it."""
    return _split(argv)[0]


def _split(argv: list[str]) -> tuple[str, list[str]]:
    """(what --config is given, argv without it).

    Raises:
      UsageError: two of them.
    """
    files, rest, args = [], [], iter(argv)
    for arg in args:
        name, equals, value = arg.partition("=")
        if name in ("--config", "-config"):
            files.append(value if equals else next(args, ""))
        else:
            rest.append(arg)
    if len(files) > 1:
        raise UsageError(f"--config is given twice, {files[0]} and {files[1]}: give one")
    return (files or [""])[0], rest


# --- Config files ---------------------------------------------------------------------------------


def shipped() -> pathlib.Path:
    """The folder of the configs that come with the package: in it, or in a clone beside it."""
    package = pathlib.Path(maskgit_prompt.__file__).parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def find(path: str) -> str:
    """The file of a path; configs/NAME.py is the package's where the working folder has none.

    Raises:
      UsageError: there is no such file.
    """
    path = paths.local("--config", path)
    if os.path.isfile(path):
        return path
    *folders, name = pathlib.PurePath(path).parts or ("",)
    if folders == ["configs"] and (shipped() / name).is_file():
        return str(shipped() / name)
    own = sorted(file.name for file in shipped().glob("*.py"))
    raise UsageError(
        f"no config file {path} in {os.getcwd()}; those that exist everywhere are in configs/: "
        f"{', '.join(own)}"
    )


def load(file: str) -> ConfigDict:
    """The config of FILE or FILE:ARGUMENT, its keys checked.

    Raises:
      UsageError: no such file, or one that cannot be run or gives something else.
    """
    path, colon, argument = file.partition(":")
    found = f"{find(path)}{colon}{argument}"
    # ml_collections runs a file in the module of the one before, whose names would shine through.
    sys.modules.pop("config_config", None)
    values = flags.FlagValues()
    argv = ["", f"--config={found}"]
    config_flags.DEFINE_config_file("config", None, "", flag_values=values, sys_argv=argv)
    try:
        values(argv)
    except UserError:
        raise
    except Exception as error:  # whatever the Python file raises
        raise UsageError(_one_line(error, file)) from error
    config = values.config
    if not isinstance(config, ConfigDict):
        raise UsageError(f"{path}: get_config() gave a {type(config).__name__}, not a ConfigDict")
    with config.unlocked():
        config.job = _job(config)
    keys.check(config, path, config.job)
    return config


def _job(config: ConfigDict) -> str:
    """The config's job by today's name.

    Raises:
      UsageError: there is none of that name.
    """
    job = config.get("job")
    job = renamed.JOBS.get(job, job)
    if job not in defaults.JOBS:
        raise UsageError(f"config.job = {job!r}, expected {', '.join(defaults.JOBS)}")
    return job


# --- Flags ----------------------------------------------------------------------------------------


def _overrides(argv: list[str], config: ConfigDict, file: str) -> list[str]:
    """The flags with today's names of keys, and values that are names as text.

    Raises:
      UsageError: a key that the config does not have; the one that was meant is named.
    """
    known, new = keys.flat(config), []
    sections = {key[: end.start()] for key in known for end in re.finditer(r"\.", key)}
    args = iter(argv)
    for arg in args:
        match = OVERRIDE.fullmatch(arg)
        if not match:
            new.append(arg)
            continue
        key, value = match.groups()
        now = renamed.KEYS.get(key)
        if key not in known and now in known:
            print(f"note: config.{key} is called config.{now} now", file=sys.stderr)
            arg, key = arg.replace(f"config.{key}", f"config.{now}", 1), now
        if key not in known and key not in sections:
            raise UsageError(f"--config={file} has no key {key}{keys.hint(key, known)}")
        if key in sections:
            own = [name for name in known if name.startswith(f"{key}.")]
            raise UsageError(
                f"--config.{key} is a group of keys: give one of them, as --config.{own[0]}=VALUE"
            )
        if key in keys.NAMES and isinstance(known[key], tuple):
            value = next(args, "") if value is None else value
            arg = f"--config.{key}={names(value)!r}"
        new.append(arg)
    return new


def names(text: str) -> tuple[str, ...]:
    """The names in the value of a flag: a tuple of them as Python writes it, else one as it stands.

    "1.10" gives ("1.10",), "big cat" ("big cat",), "'cat'" ("cat",), "('a', 1.10)" ("a", "1.10").
    """
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return (text,)
    if isinstance(node, ast.Tuple | ast.List) and text.strip()[0] in "([":
        parts = [(item, ast.get_source_segment(text.strip(), item) or "") for item in node.elts]
    else:
        parts = [(node, text)]
    is_text = lambda item: isinstance(item, ast.Constant) and isinstance(item.value, str)
    return tuple(item.value if is_text(item) else written for item, written in parts)


def _of_type(error: flags.IllegalFlagValueError, config: ConfigDict) -> str:
    """What is said of a value of a wrong type."""
    match = re.match(r"flag --config\.([^=]+)=(.*?): ", str(error), re.DOTALL)
    expected = keys.TYPES.get(type(keys.flat(config).get(match[1]))) if match else None
    return f"config.{match[1]} = {match[2]!r}, expected {expected}" if expected else str(error)


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
