"""The progress of a run: one line, on a terminal or in a log file, and seconds by stage."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping

from tqdm import tqdm

LOG_EVERY_SECONDS = 10.0


class _Lines:
    """A stream for tqdm that ends each update with a newline instead of a carriage return."""

    _last = ""

    def write(self, text: str) -> None:
        line = text.strip()
        if line and line != self._last:  # tqdm writes the end twice
            sys.stderr.write(line + "\n")
            self._last = line

    def flush(self) -> None:
        sys.stderr.flush()


class Progress:
    """The object that `progress` yields."""

    def __init__(self, bar: tqdm):
        self._bar = bar

    def update(self, n: int = 1, values: Mapping[str, float | str] | None = None) -> None:
        """Counts n more units done and shows values at the line's end: update(1, {"loss": 1.8251})
        shows "loss=1.825" (four significant digits)."""
        if values:
            shown = {k: v if isinstance(v, str) else f"{float(v):.4g}" for k, v in values.items()}
            # By default tqdm redraws at every postfix: one log line per step.
            self._bar.set_postfix(shown, refresh=False)
        self._bar.update(n)


@contextlib.contextmanager
def progress(
    total: int, desc: str, unit: str = "it", initial: int = 0, delay: float = 0.0
) -> Iterator[Progress]:
    """Shows the progress of a loop on stderr.

    On a terminal one line redraws itself. Elsewhere (a log file, CI) it prints a plain line at the
    start, about every ten seconds, and at the end:

        encode:  41% 820/2000 [00:10<00:14, 82.00image/s, loss=1.825]

    Args:
      total: units in all, including `initial`.
      desc: the word in front.
      unit: what is counted, e.g. "image".
      initial: units done before (a resumed run); they do not count in the rate.
      delay: show nothing in the first `delay` seconds.
    """
    common = dict(total=total, desc=desc, unit=unit, initial=initial, delay=delay)
    if sys.stderr.isatty():
        bar = tqdm(**common, file=sys.stderr, dynamic_ncols=True)
    else:
        bar = tqdm(
            **common,
            file=_Lines(),
            mininterval=LOG_EVERY_SECONDS,
            miniters=1,
            bar_format="{desc}: {percentage:3.0f}% {n_fmt}/{total_fmt} "
            "[{elapsed}<{remaining}, {rate_fmt}{postfix}]",
        )
    with bar:
        yield Progress(bar)


@contextlib.contextmanager
def bytes_progress(total: int, desc: str, initial: int = 0) -> Iterator[Callable[[int], None]]:
    """A function that counts bytes done; shown in MiB, after the first two seconds.

    initial: bytes done before, which `total` includes.
    """
    done = initial
    with progress(total // 2**20, desc, "MiB", initial // 2**20, delay=2.0) as bar:

        def update(n: int) -> None:
            nonlocal done
            before, done = done, done + n
            bar.update(done // 2**20 - before // 2**20)

        yield update


def size_text(count: int) -> str:
    """A number of bytes for messages: 1234567 gives "1.2 MB"."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


class Clock:
    """Seconds by stage."""

    def __init__(self):
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - began


class Pace:
    """Seconds per step of a loop, over the steps since the last question.

    It does not count the very first step, which compiles, or the time while it is paused.
    """

    def __init__(self):
        self._steps, self._began = -1, 0.0

    def step(self) -> None:
        """Counts a step that was taken."""
        self._steps += 1
        if self._steps == 0:
            self._began = time.perf_counter()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self._began += time.perf_counter() - began

    def rates(self, batch_size: int) -> dict[str, float]:
        """{"step_seconds", "images_per_second"}, or nothing if no step was counted."""
        now = time.perf_counter()
        steps, seconds = self._steps, now - self._began
        self._steps, self._began = 0, now
        if steps < 1:
            return {}
        return {"step_seconds": seconds / steps, "images_per_second": steps * batch_size / seconds}
