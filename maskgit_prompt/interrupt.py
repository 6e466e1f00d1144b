"""Ctrl-C outside of tuning: the process ends at once, wherever its threads are.

Python tells its main thread of a signal between two steps of Python code: during a compilation
that takes long, and in a callback of a library the exception may be lost. The bytes of a pipe
arrive at once. Files are written whole or not at all, so nothing has to be cleared up.
"""

import os
import signal
import sys
import threading

from maskgit_prompt.errors import INTERRUPTED

NOTE = "interrupted; what is finished is kept"


def end_at_once() -> None:
    """From now on SIGINT ends this process with exit code 130; tuning takes it over, see Stop."""
    signal.signal(signal.SIGINT, lambda *_: None)  # no KeyboardInterrupt; the thread ends it
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(read,), daemon=True).start()


def _watch(pipe: int) -> None:
    while byte := os.read(pipe, 1):
        if byte[0] == signal.SIGINT:
            sys.stdout.flush()
            sys.stderr.write(f"\n{NOTE}\n")
            sys.stderr.flush()
            os._exit(INTERRUPTED)
