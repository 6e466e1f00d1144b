"""How much memory is free, whether a prompt's attention fits, and how much was in use."""

import math
import os
import pathlib
import resource
import sys
from typing import Any

import jax

from maskgit_prompt.counts import counted
from maskgit_prompt.errors import UsageError
from maskgit_prompt.models.prompt import PromptConfig

GIB = 2**30


def available() -> int | None:
    """Bytes that the devices of this process have free together; None if unknown."""
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
    """The highest number of bytes in use so far.

    "host_peak_bytes" of this process, and "device_peak_bytes" of its fullest device if the devices
    have memory of their own and count it.
    """
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
    found = {"host_peak_bytes": unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    if used := [row["peak_bytes_in_use"] for row in stats if "peak_bytes_in_use" in row]:
        found["device_peak_bytes"] = max(used)
    return found


def needed(prompt: PromptConfig, transformer: Any, rows: int, length: int) -> int:
    """The least bytes that a training step with `rows` images needs beside the weights.

    These are the attention scores of one layer, twice, and one activation per layer. Prompts at
    every layer add themselves, their gradient, and the keys and values that they extend.

    2 rows, 4 heads, 3 prompt tokens, 5 codes, 6 layers of width 8: scores 2 · 4 · 8 · 8 numbers,
    twice, and activations 6 · 2 · 8 · 8 are 1,792 numbers of 4 bytes. As a prefix, scores
    2 · 4 · 5 · 8, twice, activations 6 · 2 · 5 · 8, prompts 2 · 6 · 2 · 3 · 8, three times: 2,848.
    """
    seen = prompt.tokens + length
    asking = length if prompt.prefix else seen  # keys and values have no query
    scores = rows * transformer.heads * asking * seen
    activations = transformer.layers * rows * asking * transformer.width
    prompts = rows * math.prod(prompt.slots) * prompt.width if prompt.depth > 1 else 0
    return 4 * (2 * scores + activations + 3 * prompts)


def check_prompt(prompt: PromptConfig, transformer: Any, rows: int, length: int) -> None:
    """Refuses a prompt that cannot fit into memory, whatever the other settings.

    Args:
      rows: images at once on all devices of this process; length: L, codes per image.

    Raises:
      UsageError: the prompt needs more memory than is free.
    """
    room, need = available(), needed(prompt, transformer, rows, length)
    if room is not None and need > room:
        raise UsageError(
            f"config.prompt.tokens = {prompt.tokens} needs at least {need / GIB:,.1f} GiB for "
            f"{counted(rows, 'image')} at once, but {room / GIB:,.1f} GiB are free; use fewer "
            "tokens, a smaller config.train.batch_size, or more config.train.micro_batches"
        )
