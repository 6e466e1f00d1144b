"""What requirements-light.txt leaves out, made unfindable as in an environment without it."""

import sys
from typing import Any

import pytest

LEFT_OUT = (
    "array_record",
    "clu",
    "importlib_resources",
    "tensorboard",
    "tensorflow",
    "tensorflow_datasets",
)


class Hiding:
    """A finder of modules that does not find these packages."""

    def __init__(self, finder: Any, names: tuple[str, ...]):
        self.finder, self.names = finder, names

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            return None
        return self.finder.find_spec(name, path, target)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.finder, name)


def leave_out_for_good(*names: str) -> None:
    """For a process that has imported none of these packages (of LEFT_OUT) yet."""
    sys.meta_path = [Hiding(finder, names or LEFT_OUT) for finder in sys.meta_path]


def leave_out(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """The same until the test ends, whatever was imported before it."""
    names = names or LEFT_OUT
    for module in [name for name in sys.modules if name.partition(".")[0] in names]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(sys, "meta_path", [Hiding(finder, names) for finder in sys.meta_path])
