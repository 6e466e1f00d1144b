"""What --help and --helpfull print: flags, configs, and every key with its default and meaning.

Configs are described by the first line of their docstrings, keys by the comments beside their
defaults in defaults.py, so that nothing is written twice. Neither imports JAX.
"""

import ast
import inspect
import io
import re
import textwrap
import tokenize
from typing import Any

import maskgit_prompt
from maskgit_prompt.config import (
    classification,
    command_line,
    defaults,
    evaluation,
    keys,
    multimodal,
    named_data,
    pretraining,
    segmentation,
    studies,
)

HELP = ("--help", "-help", "-h")
FULL = ("--helpfull", "-helpfull")
VERSION = ("--version", "-version")
ASKED = {*HELP, *FULL, *VERSION}
FLAGS = """\
flags:
  --config=FILE[:ARGUMENT]  the configuration; configs/NAME.py works in any folder
  --config.KEY=VALUE        sets one of its values; for a list, repeat the flag for each element
  --workdir=DIR             folder of the run; created if it does not exist
  --strict                  refuse a folder with broken images instead of skipping them
  --debug                   show the traceback of an error
  --version                 print the version
  --helpfull                list every key with its default; with --config=FILE, those of FILE"""
WHERE = (
    "Every key is explained in docs/configuration.md of the repository; --helpfull lists them all."
)
WIDTH = 100


def asked(argv: list[str], doc: str) -> str:
    """The text that the flags ask for; empty where they ask for none.

    doc: what stands above it.

    Raises:
      UsageError: --helpfull of a config that is wrong.
    """
    if set(FULL) & set(argv[1:]):
        return full(command_line.config_file(argv))
    if set(HELP) & set(argv[1:]):
        return f"{doc.strip()}\n\n{configs()}\n\n{FLAGS}\n\n{WHERE}"
    if set(VERSION) & set(argv[1:]):
        return f"maskgit_prompt {maskgit_prompt.__version__}"
    return ""


def configs() -> str:
    """The configs that come with the package, a line each."""
    lines, found = [], sorted(command_line.shipped().glob("*.py"))
    width = max((len(path.name) for path in found), default=0)
    for path in found:
        doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        lines.append(f"  configs/{path.name:<{width}} {doc.partition(chr(10))[0]}")
    return "\n".join(["configs:", *lines])


def full(file: str) -> str:
    """All keys of a config file, or without one those of all jobs."""
    if file:
        config = command_line.load(file)
        return _section(f"{file}, job {config.job}:", keys.flat(config), meanings(config.job))
    parts, seen = [], {}
    for job, make in defaults.JOBS.items():
        found = keys.flat(make())
        new = {key: x for key, x in found.items() if key not in seen or seen[key] != x}
        title = f"job {job}, as in --config={keys.FILES[job]}"
        parts.append(
            _section(title + (", beside those above:" if seen else ":"), new, meanings(job))
        )
        seen |= found
    return "\n\n".join(parts)


def _section(title: str, found: dict[str, Any], meaning: dict[str, str]) -> str:
    lines = [title]
    for key, value in found.items():
        said = of_key(key, meaning)
        if value is None:  # what that stands for is said once for the section
            said = f"{said}. {meaning[key.rpartition('.')[0]]}"
        text = textwrap.wrap(said, WIDTH - 6)
        lines += [f"  --config.{key}={value!r}", *(f"      {line}" for line in text)]
    return "\n".join(lines)


# --- Meanings -------------------------------------------------------------------------------------


FILES = (
    defaults, named_data, classification, segmentation, multimodal, pretraining, evaluation,
    studies,
)  # fmt: skip


def meanings(job: str) -> dict[str, str]:
    """key -> the comment beside its default, for the keys of a job that have one."""
    source = "".join(map(inspect.getsource, FILES))
    functions = {f.name: f for f in ast.parse(source).body if isinstance(f, ast.FunctionDef)}
    reader = _Reader(functions, _comments(source))
    for name in STORIES[job]:
        reader.read(functions[name], "")
    return reader.found


def of_key(key: str, meaning: dict[str, str]) -> str:
    """The meaning of a key, or of the section that it is in; empty where neither has one."""
    while key and key not in meaning:
        key = key.rpartition(".")[0]
    return meaning.get(key, "")


# The functions of these files that make the config of a job; what these call is followed.
STORIES = {
    "run": ("transfer",),
    "classify": ("classify",),
    "segment": ("segment",),
    "masks": ("masks",),
    "multimodal": ("ask",),
    "answer": ("answer",),
    "attack": ("ask", "attack"),
    "vtab": ("transfer", "vtab"),
    "vtab_folder": ("vtab_folder",),
    "side_by_side": ("transfer", "side_by_side"),
    "compare": ("transfer", "compare"),
    "sample": ("sample",),
    "sample_study": ("sample_study",),
    "evaluate": ("evaluate",),
    "predict": ("predict",),
    "robustness": ("classify", "robustness"),
    "sweep": ("classify", "sweep"),
    "pretrain": ("training", "pretrain"),
    "import_weights": ("import_weights",),
}


def _comments(source: str) -> dict[int, str]:
    """line -> its comment: at its end, or in the lines above it that hold nothing else."""
    found: dict[int, str] = {}
    above: list[str] = []
    code = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        line, text = token.start[0], token.string.lstrip("# ")
        if token.type == tokenize.COMMENT and token.line.lstrip().startswith("#"):
            above.append(text)
        elif token.type == tokenize.COMMENT:
            found[line] = text
        elif token.type in (tokenize.NAME, tokenize.STRING, tokenize.OP) and line > code:
            if above and token.string not in "]})":
                found.setdefault(line, " ".join(above))
            above, code = [], token.end[0]
    return found


class _Reader:
    """Finds which key each dict entry and each assignment to `config` stands for."""

    def __init__(self, functions: dict[str, ast.FunctionDef], comments: dict[int, str]):
        self._functions, self._comments = functions, comments
        self.found: dict[str, str] = {}

    def read(self, node: ast.AST, prefix: str) -> None:
        """Takes the comments of a piece of code whose keys begin with a prefix."""
        if isinstance(node, ast.Assign):
            target = ast.unparse(node.targets[0])
            if re.fullmatch(r"config(\.\w+)+", target):
                key = target.removeprefix("config.")
                self._take(key, node.lineno)
                prefix = f"{key}."
        if isinstance(node, ast.Dict):
            for name, value in zip(node.keys, node.values, strict=True):
                if isinstance(name, ast.Constant):
                    self._take(f"{prefix}{name.value}", name.lineno)
                    self.read(value, f"{prefix}{name.value}.")
            return
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            called = self._functions.get(node.func.id)
            if called is not None:
                self.read(called, prefix)
        for child in ast.iter_child_nodes(node):
            self.read(child, prefix)

    def _take(self, key: str, line: int) -> None:
        if line in self._comments:
            self.found.setdefault(key, self._comments[line])
