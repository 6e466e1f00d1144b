"""Finds what the files of a package define, so that a new file needs no entry in a list."""

import importlib
import pkgutil
from types import ModuleType
from typing import Any


def brought(package: ModuleType, attribute: str) -> dict[str, Any]:
    """x.name -> x, for every file in the package with an x called `attribute`, such as KIND.

    Raises:
      ValueError: two have the same name, a bug of ours.
    """
    found: dict[str, Any] = {}
    for info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        one = getattr(module, attribute, None)
        if one is None:
            continue
        if one.name in found:
            raise ValueError(
                f"two files in {package.__name__} bring a {attribute} called {one.name!r}; rename "
                f"that of {info.name}.py"
            )
        found[one.name] = one
    return found
