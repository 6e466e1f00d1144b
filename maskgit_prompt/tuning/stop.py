"""Stopping a run: after SIGTERM or Ctrl-C it finishes its step and saves.

With several hosts JAX tells all of them when one gets a signal, so they stop at the same step.
"""

import os
import signal
import threading

import jax

from maskgit_prompt.errors import INTERRUPTED, TERMINATED
from maskgit_prompt.interrupt import Watch, say

_CODES = {signal.SIGTERM: TERMINATED, signal.SIGINT: INTERRUPTED}


class Stop:
    """Notes SIGTERM and SIGINT inside its context; a second SIGINT ends the process at once.

    Attributes:
      code: the exit code for the signal, 143 or 130; 0 before a signal.
    """

    def __enter__(self):
        self.code = 0
        self._before = {}
        if threading.current_thread() is not threading.main_thread():
            return self  # a notebook's worker: it gets no signals
        # With several hosts JAX handles SIGTERM and tells the others.
        wanted = (signal.SIGINT,) if jax.process_count() > 1 else (signal.SIGTERM, signal.SIGINT)
        self._before = {number: signal.signal(number, self._note) for number in wanted}
        self._interrupts = 0
        self._watch = Watch(self._told)
        return self

    def _note(self, number: int, _) -> None:
        if jax.process_count() > 1:
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            self.code = self.code or _CODES[signal.Signals(number)]

    def _told(self, number: int) -> None:
        if number != signal.SIGINT:
            return
        self._interrupts += 1
        if self._interrupts > 1:
            os._exit(INTERRUPTED)
        say("stopping after this step, with a save; Ctrl-C again ends at once")

    def __exit__(self, *_):
        if not self._before:
            return
        self._watch.stop()
        for number, before in self._before.items():
            signal.signal(number, before)
