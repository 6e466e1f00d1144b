"""What is learned from a backbone: one room per task; config.task names it.

A room has a file task.py with the functions that jobs call: see Task.
"""

import importlib
import os
import pathlib
from contextlib import AbstractContextManager
from typing import Any, Protocol

from ml_collections import ConfigDict

from maskgit_prompt.errors import UsageError


class Task(Protocol):
    """A task as jobs see it.

    Attributes:
      PARTS: the parts of a backbone that the tuned parameters depend on; the last is prompted.
    """

    PARTS: tuple[str, ...]

    def make_plan(self, config: ConfigDict, backbone: Any, mesh: Any, path: str | os.PathLike):
        """Raises every error that can be known before anything is written."""

    def claim(self, plan: Any, path: str | os.PathLike) -> AbstractContextManager[pathlib.Path]:
        """Makes the workdir, or checks that it belongs to the plan; no other run may use it."""

    def carry_out(self, plan: Any, home: pathlib.Path, clock: Any):
        """Trains, evaluates, and writes results.json and report.html."""


def names() -> list[str]:
    """The rooms that are tasks: those with a file task.py."""
    rooms = (pathlib.Path(path) for path in __path__)
    return sorted(file.parent.name for room in rooms for file in room.glob("*/task.py"))


def find(name: str) -> Task:
    """The task named by config.task.

    Raises:
      UsageError: no such task.
    """
    if name not in names():
        raise UsageError(f"config.task = {name!r}, expected {', '.join(names())}")
    return importlib.import_module(f"{__name__}.{name}.task")
