"""Whether a prompt's attention fits into memory, told before anything is run."""

import os
import pathlib
from typing import Any

import jax

from maskgit_prompt.errors import UsageError
from maskgit_prompt.models.prompt import PromptConfig

GIB = 2**30


def available() -> int | None:
    """Bytes that the devices of this process can still take together; None where unknown."""
    if jax.default_backend() == "cpu":  # all devices share the machine's
        meminfo = pathlib.Path("/proc/meminfo")
        if meminfo.exists():
            rows = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
            return int(rows["MemAvailable"].split()[0]) * 1024
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    if not all("bytes_limit" in found for found in stats):
        return None
    return sum(found["bytes_limit"] - found["bytes_in_use"] for found in stats)


def needed(prompt: PromptConfig, transformer: Any, rows: int, length: int) -> int:
    """Bytes that `rows` images need at the least, in training: no more than attention's scores of
    one layer, twice, and one activation a layer.

    2 rows, 4 heads, 3 prompt tokens and 5 codes, 6 layers of width 8, float32: scores
    2 · 4 · 8 · 8 · 4 bytes, twice, and 6 · 2 · 8 · 8 · 4 bytes give 7,168.
    """
    seen = prompt.tokens + length
    asking = length if prompt.prefix else seen  # keys and values ask nothing themselves
    scores = rows * transformer.heads * asking * seen * 4
    return 2 * scores + transformer.layers * rows * asking * transformer.width * 4


def check_prompt(prompt: PromptConfig, transformer: Any, rows: int, length: int, key: str) -> None:
    """Refuses a prompt that memory cannot hold, whatever else is done.

    Args:
      rows: images at once on all devices of this process; length: L, codes an image.
      key: the setting that `rows` comes from, for the message.

    Raises:
      UsageError: so many tokens need more than there is.
    """
    room, need = available(), needed(prompt, transformer, rows, length)
    if room is not None and need > room:
        raise UsageError(
            f"config.prompt.tokens = {prompt.tokens} needs at least {need / GIB:,.1f} GiB for "
            f"{rows} images at once, there are {room / GIB:,.1f} GiB; use fewer tokens or a "
            f"smaller {key}"
        )
