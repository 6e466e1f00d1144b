"""What is learned from a backbone: a room per task, which config.task names.

A room has a file task.py with what a job asks of it: see Task.
"""

import importlib
import os
import pathlib
import pkgutil
from contextlib import AbstractContextManager
from typing import Any, Protocol

from ml_collections import ConfigDict

from maskgit_prompt.errors import UsageError


class Task(Protocol):
    """A task as jobs see it.

    Attributes:
      PARTS: the parts of a backbone that what is tuned depends on.
    """

    PARTS: tuple[str, ...]

    def make_plan(self, config: ConfigDict, backbone: Any, mesh: Any, path: str | os.PathLike):
        """All that can be known to be wrong is raised here, before anything is written."""

    def claim(self, plan: Any, path: str | os.PathLike) -> AbstractContextManager[pathlib.Path]:
        """Makes the workdir, or checks that it is the plan's; no other run uses it meanwhile."""

    def carry_out(self, plan: Any, home: pathlib.Path, clock: Any):
        """Trains, evaluates, and writes results.json and report.html."""


def find(name: str) -> Task:
    """The task that a config.task names.

    Raises:
      UsageError: no such task.
    """
    names = [info.name for info in pkgutil.iter_modules(__path__) if info.ispkg]
    if name not in names:
        raise UsageError(f"config.task = {name!r}, expected {', '.join(names)}")
    return importlib.import_module(f"{__name__}.{name}.task")
