"""Signals at once, wherever the main thread is; Ctrl-C outside of tuning.

Python tells its main thread of a signal between two steps of Python code: a compilation may take
minutes, and in a callback of a library the exception may be lost. The bytes of a pipe arrive at
once, in a thread.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable

from maskgit_prompt.errors import INTERRUPTED

NOTE = "interrupted; what is finished is kept"


class Watch:
    """Calls told(number) in a thread for every signal that has a Python handler, until `stop`."""

    def __init__(self, told: Callable[[int], None]):
        self._told, self._pipe = told, os.pipe()
        os.set_blocking(self._pipe[1], False)
        self._before = signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while byte := os.read(self._pipe[0], 1):
            self._told(byte[0])

    def stop(self) -> None:
        """Ends the thread; what watched before watches again."""
        signal.set_wakeup_fd(self._before)
        os.close(self._pipe[1])
        self._thread.join()
        os.close(self._pipe[0])


def end_at_once() -> None:
    """From now on SIGINT ends this process with exit code 130; tuning takes it over, see Stop.

    Files are written whole or not at all, so nothing has to be cleared up.
    """
    signal.signal(signal.SIGINT, lambda *_: None)  # no KeyboardInterrupt; the thread ends it
    Watch(_end)


def _end(number: int) -> None:
    if number == signal.SIGINT:
        sys.stdout.flush()
        say(NOTE)
        os._exit(INTERRUPTED)


def say(text: str) -> None:
    """A line on stderr, below the ^C that a terminal shows."""
    sys.stderr.write(f"\n{text}\n")
    sys.stderr.flush()
