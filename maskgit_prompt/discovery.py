"""What the files of a package bring, so that a new file is enough and no list has to name it."""

import importlib
import pkgutil
from types import ModuleType
from typing import Any


def brought(package: ModuleType, attribute: str) -> dict[str, Any]:
    """x.name -> x, of every file in the package that has an x under `attribute`, such as KIND.

    Raises:
      ValueError: two of them have one name: a bug of ours.
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
