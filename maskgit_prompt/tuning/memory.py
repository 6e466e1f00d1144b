"""How much memory there is, whether a prompt's attention fits into it, and how much was in use."""

import math
import os
import pathlib
import resource
import sys
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


def peaks() -> dict[str, int]:
    """The most bytes that were in use at once so far.

    "host_peak_bytes" of this process, and "device_peak_bytes" of its fullest device, where the
    devices have memory of their own and count it.
    """
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
    found = {"host_peak_bytes": unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    if used := [row["peak_bytes_in_use"] for row in stats if "peak_bytes_in_use" in row]:
        found["device_peak_bytes"] = max(used)
    return found


def needed(prompt: PromptConfig, transformer: Any, rows: int, length: int) -> int:
    """Bytes that a step of training with `rows` images needs at the least, beside the weights.

    That is attention's scores of one layer, twice; one activation a layer; and where prompts are of
    every layer, they, their gradient and the keys and values they are put in front of.

    2 rows, 4 heads, 3 prompt tokens, 5 codes, 6 layers of width 8: scores 2 · 4 · 8 · 8 numbers,
    twice, and activations 6 · 2 · 8 · 8 are 1,792 numbers of 4 bytes. As a prefix, scores
    2 · 4 · 5 · 8, twice, activations 6 · 2 · 5 · 8, prompts 2 · 6 · 2 · 3 · 8, three times: 2,848.
    """
    seen = prompt.tokens + length
    asking = length if prompt.prefix else seen  # keys and values ask nothing themselves
    scores = rows * transformer.heads * asking * seen
    activations = transformer.layers * rows * asking * transformer.width
    prompts = rows * math.prod(prompt.slots) * prompt.width if prompt.depth > 1 else 0
    return 4 * (2 * scores + activations + 3 * prompts)


def check_prompt(prompt: PromptConfig, transformer: Any, rows: int, length: int) -> None:
    """Refuses a prompt that memory cannot hold, whatever else is done.

    Args:
      rows: images at once on all devices of this process; length: L, codes an image.

    Raises:
      UsageError: so many tokens need more than there is.
    """
    room, need = available(), needed(prompt, transformer, rows, length)
    if room is not None and need > room:
        raise UsageError(
            f"config.prompt.tokens = {prompt.tokens} needs at least {need / GIB:,.1f} GiB for "
            f"{rows} images at once, there are {room / GIB:,.1f} GiB; use fewer tokens, a smaller "
            "config.train.batch_size, or more config.train.micro_batches"
        )
