"""results.json: strict JSON, written whole or not at all, and read back by its own rules."""

import json
import math
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from maskgit_prompt.errors import UserError
from maskgit_prompt.metrics.run_result import RunResult
from maskgit_prompt.storage.files import read_json, write_whole


def write_json(path: str | os.PathLike, results: Mapping[str, Any]) -> None:
    """Writes results as strict JSON with sorted keys, so that equal results are equal bytes.

    numpy scalars become numbers, arrays and tuples lists, paths strings, integer keys strings.

    Raises:
      UserError: a NaN or infinite number, a value JSON cannot hold, or two keys that become one
        string, each naming the key as in "accuracy.prompt" or "marquee[2].cutoff"; or a file that
        cannot be written.
    """
    text = json.dumps(to_json(results), indent=2, sort_keys=True, allow_nan=False)
    write_whole(path, (text + "\n").encode())


def to_json(value: Any, key: str = "") -> Any:
    """The value in plain dicts, lists, strings, numbers, bools and None.

    {"a": (np.float32(0.5), np.int64(3))} becomes {"a": [0.5, 3]}.

    Raises:
      UserError: as write_json.
    """
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, (np.generic, np.ndarray)) and value.dtype.kind in "bifuU":
        return to_json(value.tolist(), key)
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise UserError(
                f"results key {key!r} is {value}: expected a finite number; "
                "store null where there is no value"
            )
        return value
    if isinstance(value, pathlib.PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return _dict_to_json(value, key)
    if isinstance(value, (list, tuple)):
        return [to_json(item, f"{key}[{i}]") for i, item in enumerate(value)]
    raise UserError(
        f"results key {key!r} is a {type(value).__name__}: "
        "expected numbers, strings, lists and dicts; convert it first"
    )


def _dict_to_json(value: Mapping, key: str) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, item in value.items():
        path = f"{key}.{name}" if key else str(name)
        if isinstance(name, bool) or not isinstance(name, (str, int, np.integer)):
            raise UserError(f"results key {path!r} is a {type(name).__name__}: expected a string")
        if str(name) in result:
            raise UserError(f"results key {path!r} stands twice: expected each name once")
        result[str(name)] = to_json(item, path)
    return result


def read_run(folder: pathlib.Path) -> RunResult:
    """What the main job wrote into a folder.

    Raises:
      UserError: results.json is damaged or cannot be read.
    """
    path = folder / "results.json"
    way_out = f"delete {folder / 'report.html'} and {path.name}, and start that run again"
    found = read_json(path, way_out)
    try:
        return RunResult.from_json(found)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error!r}); {way_out}") from error
