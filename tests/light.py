"""What requirements-light.txt leaves out, made unfindable as in an environment without it."""

import sys

import pytest

LEFT_OUT = (
    "array_record",
    "clu",
    "importlib_resources",
    "tensorboard",
    "tensorflow",
    "tensorflow_datasets",
)
# As the first line of a program. Python takes None in sys.modules as a module that is not there.
PROGRAM = f"import sys; sys.modules.update(dict.fromkeys({LEFT_OUT}))"


def leave_out(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Each import of these modules, or of all of LEFT_OUT, raises ModuleNotFoundError."""
    for name in names or LEFT_OUT:
        monkeypatch.setitem(sys.modules, name, None)
